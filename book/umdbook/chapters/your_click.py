"""What does your click find? A viewer whose networks answer in the page."""

from __future__ import annotations

from umdbook.names import title
from umdlib.cohort.manifest import Case, Cohort
from umdlib.viewer.browser_networks import AGREES, browser_network
from umdlib.viewer.cases import first_pairs, read_viewer
from umdlib.viewer.pair import Pair
from umdlib.weights import card

__all__ = ["AGREES"]
NETWORKS = ("clicknet_structural", "clicknet_pet", "clicknet_both")
STRUCTURES = ("liver", "kidney_left", "spleen")  # shown first, the first that a cohort has


def examination(cohort: Cohort, subject: str = "") -> tuple[Case, Case]:
    """The images to click in: the subject's first examination, or the first of the cohort.

    InputError: A subject without a pair; no pair at all.
    """
    return first_pairs(cohort, subject)[0]


def grid_mm() -> float:
    """Voxel edge of the grid on which the networks work."""
    return card.read(NETWORKS[0]).architecture["spacing_mm"]


def viewer(cohort: Cohort, pair: tuple[Case, Case], structure: str = "") -> Pair:
    """Both images with the reference, and this project's three networks to ask.

    InputError: A structure that the cohort does not have, with the nearest name.
    """
    names = [s.name for s in cohort.structures]
    first = next((s for s in STRUCTURES if s in names), names[0])
    shown = cohort.structure(structure or first)
    return read_viewer(
        pair,
        structure=shown.name,
        outline="reference",
        name="your-click",
        networks=tuple(browser_network(name, title(name)) for name in NETWORKS),
        caption=f"{pair[0].subject} on {pair[0].modality} and PET with the reference of the "
        f"{shown.title.lower()}. Load the networks, then click inside any structure, in either image.",
    )
