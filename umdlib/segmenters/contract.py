"""The contract that every segmenter keeps: types of the call and of its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.weights.record import Weights


class Segment(Protocol):
    """The call of a loaded segmenter.

    (1) The mask is boolean, on the image's grid. (2) Same image, prompt, previous mask, partner and device
    give the same mask. (3) It never sees a reference and touches no file but its weights. (4) Where its record
    names a `partner`, and only there, it is also given ``partner``, the other image of the examination on
    its own grid; any other is called without it and need not name it.
    An instance may keep what it encoded of the last image, by identity of ``image.data``. It may have
    two further methods, which change no mask: ``foresee(image, prompts)``, given the coming prompts of an
    image so that it can encode parts of it together, and ``prepare(image)``, called from another thread
    for the image that comes next, to do there what needs no device.
    """

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K) of ``prompt.structure`` on the image's grid."""
        ...


@dataclass(frozen=True)
class Segmenter:
    """One system: what it is, what it needs, and how it is loaded.

    Attributes
    ----------
    name
        Identifier in tables and on the command line.
    title
        Name shown to a reader.
    summary
        One sentence: what it does.
    load
        ``load(device) -> Segment``; imports late; raises InputError where something is missing.
    prompts
        Kinds it takes: of ``click``, ``negative_click``, ``slice_click`` (points in every slice), ``box``,
        ``slice_box``, ``scribble``, ``lasso``, ``initial_mask``, ``text``, ``class``.
    version
        Of the adapter: part of the content key of its predictions; raised when masks may change.
    settings
        What else a prediction depends on (thresholds, tile size), as a flat mapping.
    packages
        Import names it needs beyond the base installation.
    extra
        Optional extra that installs them, ``""`` if none.
    weights
        Files it needs in the weights folder.
    modalities
        Modalities it was made or trained for; informative.
    paper, code_licence, trained_on
        For the card in the book.
    deterministic
        Whether rule (2) holds to the bit on one device.
    native
        What its official script does that the common prompt does not, in words.
    grid
        Grid, spacing and crop it computes on.
    users
        What its users report, with the place of the report.
    tiny
        ``tiny() -> Segment``: the same adapter around a small network with random weights, for
        tests on any machine; None where the segmenter itself is small.
    structures
        Names that it knows where it takes classes or texts; empty means any.
    external
        Whether it runs out of process, in an environment of its own.
    conditions
        (session, modality) pairs that it has weights for, each its own; ``load`` is then called
        with the pair after the device. Empty: one set of weights for all images.
    partner
        Modalities of the second image that it sees beside the one it segments, ``("CT", "PET")`` for
        whichever of the two it does not segment; empty for a system that sees one image.
    reach
        ``reach(image, prompt, wanted)``: boolean voxels that the system can mark for a prompt when its
        network is right about the mask `wanted` wherever it looks; None for all of the image.
    """

    name: str
    title: str
    summary: str
    load: Callable[..., Segment]
    prompts: frozenset[str]
    version: str = "1"
    settings: dict = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    extra: str = ""
    weights: tuple[Weights, ...] = ()
    modalities: tuple[str, ...] = ("CT", "MR", "PET")
    paper: str = ""
    code_licence: str = ""
    trained_on: str = ""
    deterministic: bool = True
    native: str = ""
    grid: str = ""
    users: str = ""
    tiny: Callable[[], Segment] | None = None
    structures: tuple[str, ...] = ()
    external: bool = False
    conditions: tuple[tuple[str, str], ...] = ()
    partner: tuple[str, ...] = ()
    reach: Callable[[Volume, Prompt, np.ndarray], np.ndarray] | None = None
