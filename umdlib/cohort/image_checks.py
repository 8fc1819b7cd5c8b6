"""Checks of one image and its reference: units, voxel size, sides, places and volumes of structures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from umdlib.cohort.manifest import Case
from umdlib.cohort.names import read_names
from umdlib.images import geometry
from umdlib.images.formats import label_names
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import ORGANS

# voxels of the sample on which everything but volumes is measured
_SAMPLE = 2_000_000

# Usual volumes of adults in ml (the ranges of the synthetic cohort and its sources: ICRP 89 and others),
# and the factor beyond them that age, build and disease may account for.
VOLUMES_ML: dict[str, tuple[float, float]] = {
    "liver": (1050, 2200),
    "kidney_left": (110, 215),
    "kidney_right": (105, 210),
    "brain": (1150, 1600),
    "heart": (480, 920),
    "spleen": (90, 330),
    "aorta": (100, 260),
    "lung": (1800, 6000),
    "colon": (300, 1300),
    "urinary_bladder": (80, 400),
    "pancreas": (45, 130),
    "esophagus": (26, 52),
    "stomach": (170, 480),
}
VOLUME_FACTOR = 3.0
# what is filled and emptied has no least volume
_HOLLOW = ("urinary_bladder", "stomach", "colon")

# (structure, axis, other): its centre lies farther right (0), in front (1) or up (2) than the other's.
_ORDER: tuple[tuple[str, int, str], ...] = (
    ("liver", 0, "spleen"),
    ("kidney_right", 0, "kidney_left"),
    ("liver", 0, "stomach"),
    ("liver", 1, "kidney_right"),
    ("brain", 2, "heart"),
    ("brain", 2, "lung"),
    ("brain", 2, "liver"),
    ("lung", 2, "liver"),
    ("heart", 2, "liver"),
    ("heart", 2, "kidney_left"),
    ("lung", 2, "urinary_bladder"),
    ("liver", 2, "urinary_bladder"),
    ("spleen", 2, "urinary_bladder"),
    ("kidney_right", 2, "urinary_bladder"),
    ("kidney_left", 2, "urinary_bladder"),
    ("stomach", 2, "urinary_bladder"),
)
ORDER_MM = 10.0
_DIRECTIONS = (("right of", "left of"), ("in front of", "behind"), ("above", "below"))

# CT: air is -1000 HU by definition; what lies lower is padding of one value, or not HU
LEAST_HU, SHARE_BELOW = -1100.0, 0.01
TOP_HU = 4500.0
_LEAST_RANGE_HU = 100.0
# PET: 99.9 % of the voxels lie below
TOP_SUV, LEAST_TOP_SUV = 500.0, 0.1
SPACING_MM = (0.2, 12.0)
FIELD_MM = 2500.0


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    Attributes
    ----------
    kind
        ``fault``: it cannot be right, or cannot be read. ``doubt``: it is not plausible, look at it.
        ``note``: worth knowing.
    check
        Name of the check.
    subject, session, modality
        Where; `modality` is empty for a pair, all three for a cohort.
    value, limit
        The number that was measured and the one that it passed; NaN where there is none.
    message
        One sentence.
    """

    kind: str
    check: str
    subject: str
    session: str
    modality: str
    message: str
    value: float = float("nan")
    limit: float = float("nan")


@dataclass(frozen=True)
class Facts:
    """Facts of one case that the checks keep once its images are closed.

    Attributes
    ----------
    shape, spacing_mm
        Of the image.
    fingerprint
        The same for the same voxels, whatever the file.
    volumes_ml, centres_mm, cut
        Per structure that is present: volume, centre (RAS+, mm), whether it reaches the image's border.
    grid
        (4, 4) affine of the sample.
    values, labels
        (I, J, K) intensities and labels of every n-th voxel; `labels` is None without a reference.
    """

    case: Case
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    fingerprint: str
    volumes_ml: dict[str, float]
    centres_mm: dict[str, np.ndarray]
    cut: dict[str, bool]
    grid: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(repr=False)

    def finding(self, kind: str, check: str, message: str, value=float("nan"), limit=float("nan")) -> Finding:
        """A finding of this case."""
        c = self.case
        return Finding(kind, check, c.subject, c.session, c.modality, message, float(value), float(limit))

    @property
    def pair(self) -> str:
        """What a message calls the pair that this case belongs to."""
        return f"{self.case.subject} {self.case.session}"

    def pair_finding(self, kind: str, check: str, message: str, value: float, limit: float) -> Finding:
        """A finding of the pair that this case belongs to."""
        c = self.case
        return Finding(kind, check, c.subject, c.session, "", message, float(value), float(limit))


def read_facts(case: Case) -> Facts:
    """Read a case and keep what the checks need.

    Raises
    ------
    InputError
        As `Case.read` does.
    """
    image, reference = (case.read_image(), None) if case.reference is None else case.read()
    return facts_of(case, image, reference)


def facts_of(case: Case, image: Volume, reference: LabelMap | None = None) -> Facts:
    """Facts of a case in memory that the checks use."""
    step = _steps(image.shape)
    part = tuple(slice(None, None, s) for s in step)
    grid = image.affine @ np.diag([*step, 1.0])
    values = np.ascontiguousarray(image.data[part], np.float32)
    digest = hashlib.sha256(repr(image.shape).encode() + values.tobytes()).hexdigest()
    volumes, centres, cut, labels = {}, {}, {}, None
    if reference is not None:
        labels = np.ascontiguousarray(reference.data[part])
        volumes, centres, cut = _structures(case, reference, grid, labels)
    return Facts(case, image.shape, image.spacing_mm, digest, volumes, centres, cut, grid, values, labels)


def _steps(shape: tuple[int, int, int]) -> list[int]:
    """Every how many voxels along each axis, so that about `_SAMPLE` are left."""
    step = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(shape, step, strict=True)]) > _SAMPLE:
        left = [n / s for n, s in zip(shape, step, strict=True)]
        step[int(np.argmax(left))] += 1
    return step


def _structures(
    case: Case, reference: LabelMap, grid: np.ndarray, labels: np.ndarray
) -> tuple[dict, dict, dict]:
    """Volume, centre and cut of each structure: all voxels are counted, centres are of the sample."""
    data = reference.data
    top = max(s.value for s in case.structures) + 1
    counts = np.zeros(top, np.int64)
    for k in range(data.shape[2]):  # plane by plane: bincount makes eight bytes of each voxel
        counts += np.bincount(data[:, :, k].ravel("K"), minlength=top)
    border = set()
    for axis in range(3):
        for index in (0, -1):
            border.update(np.flatnonzero(np.bincount(data.take(index, axis=axis).ravel())).tolist())
    voxel_ml = float(np.prod(reference.spacing_mm)) / 1000
    volumes, centres, cut = {}, {}, {}
    for s in (s for s in case.structures if counts[s.value]):
        volumes[s.name], cut[s.name] = counts[s.value] * voxel_ml, s.value in border
        where, affine = np.argwhere(labels == s.value), grid
        if not len(where):  # smaller than the steps of the sample
            where, affine = np.argwhere(data == s.value), reference.affine
        centres[s.name] = geometry.to_world(affine, where.mean(axis=0))
    return volumes, centres, cut


def image_findings(facts: Facts) -> Iterator[Finding]:
    """Findings of one case."""
    yield from _grid_findings(facts)
    yield from {"HU": _hu_findings, "SUV": _suv_findings}.get(facts.case.unit, lambda f: ())(facts)
    if facts.labels is None:
        return
    if not facts.volumes_ml:
        message = f"Reference {facts.case.reference} holds no structure."
        yield facts.finding("fault", "empty", message, 0, 1)
    yield from _name_findings(facts)
    yield from _volume_findings(facts)
    yield from _place_findings(facts)


def _grid_findings(facts: Facts) -> Iterator[Finding]:
    """Voxels and fields that no scanner of people has."""
    low, high = min(facts.spacing_mm), max(facts.spacing_mm)
    shown = " x ".join(f"{s:.3g}" for s in facts.spacing_mm)
    if low < SPACING_MM[0] or high > SPACING_MM[1]:
        value, limit = (low, SPACING_MM[0]) if low < SPACING_MM[0] else (high, SPACING_MM[1])
        message = f"Voxels of {facts.case.image} measure {shown} mm: is the header's unit right?"
        yield facts.finding("doubt", "spacing", message, value, limit)
    extent = max(n * s for n, s in zip(facts.shape, facts.spacing_mm, strict=True))
    if extent > FIELD_MM:
        message = f"Image {facts.case.image} is {extent:.0f} mm long: is the header's unit right?"
        yield facts.finding("doubt", "field", message, extent, FIELD_MM)


def _hu_findings(facts: Facts) -> Iterator[Finding]:
    """CT that is not in Hounsfield units."""
    values, name = facts.values, facts.case.image
    least = float(values.min())
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    if high - low < _LEAST_RANGE_HU:
        message = (
            f"Image {name} runs from {low:.3g} to {high:.3g} (99.8 % of its voxels), too little for HU: is it "
            "z-scored or scaled?"
        )
        yield facts.finding("fault", "hu", message, high - low, _LEAST_RANGE_HU)
        return
    if least >= 0:
        message = f"Image {name} has no value below {least:.0f} HU: is an offset still in it?"
        yield facts.finding("fault", "hu", message, least, 0)
        return
    below = values[values < LEAST_HU]
    padding = float((below == least).sum())
    share = (below.size - padding) / values.size
    if share > SHARE_BELOW:
        message = (
            f"{100 * share:.1f} % of {name} lies below {LEAST_HU:.0f} HU (down to {least:.0f}), where only padding "
            "is: is it scaled?"
        )
        yield facts.finding("fault", "hu", message, share, SHARE_BELOW)
    elif high > TOP_HU:
        message = f"Image {name} reaches {high:.0f} HU (99.9 % lie below), more than bone: is it scaled?"
        yield facts.finding("doubt", "hu", message, high, TOP_HU)


def _suv_findings(facts: Facts) -> Iterator[Finding]:
    """PET that is not in SUV, by its range alone."""
    top, name = float(np.percentile(facts.values, 99.9)), facts.case.image
    if top > TOP_SUV:
        message = f"Image {name} reaches {top:.0f} in SUV: is it activity (Bq/ml)?"
        yield facts.finding("fault", "suv", message, top, TOP_SUV)
    elif top < LEAST_TOP_SUV:
        message = f"Image {name} reaches only {top:.2g} in SUV (99.9 % lie below): is it scaled?"
        yield facts.finding("fault", "suv", message, top, LEAST_TOP_SUV)
    mean, spread = float(facts.values.mean()), float(facts.values.std())
    if abs(mean) < 0.02 and abs(spread - 1) < 0.02:
        message = f"Image {name} has mean {mean:.3f} and spread {spread:.3f}: it is z-scored, not in SUV."
        yield facts.finding("fault", "suv", message, mean, 0.02)


def _name_findings(facts: Facts) -> Iterator[Finding]:
    """Values that the reference's own header calls another organ than the cohort does."""
    within = label_names(facts.case.reference)
    if not within:
        return
    names, organs = read_names(), {s.name for s in ORGANS}
    wrong = []
    for s in facts.case.structures:
        meant = names.of_name(within.get(s.value, s.name))
        if s.name in facts.volumes_ml and s.name in organs and meant not in (None, s.name):
            wrong.append(f"{s.value} {within[s.value]} (here {s.name})")
    if wrong:
        message = (
            f"Reference {facts.case.reference} says itself that its values are {', '.join(wrong[:3])}"
            f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}: is the dseg.tsv right, or missing?"
        )
        yield facts.finding("doubt", "names", message, len(wrong), 0)


def _volume_findings(facts: Facts) -> Iterator[Finding]:
    """Structures far from the volume that their name promises."""
    for name, volume in facts.volumes_ml.items():
        if name not in VOLUMES_ML:
            continue
        low, high = VOLUMES_ML[name][0] / VOLUME_FACTOR, VOLUMES_ML[name][1] * VOLUME_FACTOR
        least = 0 if facts.cut[name] or name in _HOLLOW else low
        if not least <= volume <= high:
            limit = least if volume < least else high
            message = (
                f"Structure {name} of {facts.case.reference} has {volume:.4g} ml, {low:.0f} to "
                f"{high:.0f} are plausible: is it another structure?"
            )
            yield facts.finding("doubt", "volume", message, volume, limit)


def _place_findings(facts: Facts) -> Iterator[Finding]:
    """Structures on the wrong side of others."""
    for name, axis, other in _ORDER:
        if name not in facts.centres_mm or other not in facts.centres_mm:
            continue
        apart = float(facts.centres_mm[name][axis] - facts.centres_mm[other][axis])
        if apart < -ORDER_MM:
            expected, found = _DIRECTIONS[axis]
            message = (
                f"The {name} of {facts.case.reference} lies {-apart:.0f} mm {found} the {other}, not {expected} it: "
                "are the labels swapped or the image mirrored?"
            )
            yield facts.finding("doubt", "place", message, apart, -ORDER_MM)
