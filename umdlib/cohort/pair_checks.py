"""Checks of a pair: do its two images show one body in one place, and its two references the same organs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from umdlib.cohort.body_checks import body_findings, outline_findings
from umdlib.cohort.image_checks import Facts, Finding
from umdlib.cohort.overlay import Overlay, overlay_of
from umdlib.images import geometry, masks

# A pair is moved where the median over its structures is farther than this and than two voxels of PET:
# breathing moves single organs by so much, not the median.
SHIFT_MM, SHIFT_VOXELS = 10.0, 2.0
OVERLAP = 0.5
# DSC below which two references of one structure do not agree, and which share of them may not.
AGREEMENT, SHARE_APART = 0.75, 0.5
# A structure whose two masks meet in no more than this lies elsewhere.
ELSEWHERE = 0.05
_SPREAD_MM = 20.0
_MIRRORED = ("left to right", "front to back", "upside down")


def pair_findings(structural: Facts, pet: Facts) -> Iterator[Finding]:
    """Findings of the two cases of one examination."""
    overlay = overlay_of(structural, pet)
    share = float(overlay.inside.mean())
    apart = _boxes_apart(structural, pet)
    if apart > 0 or share == 0:
        message = f"The two images of {pet.pair} do not meet: their fields lie {apart:.0f} mm apart."
        yield pet.pair_finding("fault", "overlap", message, apart, 0)
        return
    found = [*body_findings(structural, pet, overlay), *_reference_findings(structural, pet, overlay)]
    yield from found
    if all(f.kind == "note" for f in found):
        yield from outline_findings(structural, pet, overlay)


def _reference_findings(structural: Facts, pet: Facts, overlay: Overlay) -> Iterator[Finding]:
    """Findings of the two references, where both images have one."""
    if structural.labels is None or pet.labels is None:
        return
    common = [n for n in structural.volumes_ml if n in pet.volumes_ml]
    missing = sorted(set(structural.volumes_ml) ^ set(pet.volumes_ml))
    whole = [n for n in missing if not (structural.cut.get(n) or pet.cut.get(n))]
    if whole and common:
        message = f"Only one of the two references of {pet.pair} holds {', '.join(whole)}."
        yield pet.pair_finding("note", "missing", message, len(whole), 0)
    if not common:
        message = f"The two references of {pet.pair} share no structure."
        yield pet.pair_finding("doubt", "missing", message, 0, 1)
        return
    yield from _place_findings(structural, pet, overlay, common)


def _boxes_apart(a: Facts, b: Facts) -> float:
    """Largest gap between the two fields along a world axis, mm; negative where they meet on all."""
    ends = []
    for facts in (a, b):
        corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in facts.values.shape])).reshape(3, -1).T
        world = geometry.to_world(facts.grid, corners)
        ends.append((world.min(axis=0), world.max(axis=0)))
    (low_a, high_a), (low_b, high_b) = ends
    return float(np.maximum(low_a - high_b, low_b - high_a).max())


def _place_findings(structural: Facts, pet: Facts, overlay: Overlay, common: list[str]) -> Iterator[Finding]:
    """Mirrored, moved, swapped and disagreeing references."""
    values = {s.name: s.value for s in pet.case.structures}
    centres = _centres(structural, pet, overlay, common, values)
    mirrored = _mirrored(*centres)
    if mirrored is not None:
        axis, slope = mirrored
        message = (
            f"PET of {pet.pair} is mirrored against the structural image, {_MIRRORED[axis]}: its structures "
            f"run the other way (slope {slope:.2f})."
        )
        yield pet.pair_finding("fault", "mirrored", message, slope, 0)
        return
    shift, uncertainty = _shift(*centres, max(geometry.spacing_mm(overlay.grid)))
    distance = float(np.linalg.norm(shift))
    limit = max(SHIFT_MM, SHIFT_VOXELS * max(pet.spacing_mm))
    if distance > limit:
        right, front, up = shift
        message = (
            f"PET of {pet.pair} is {distance:.0f} ± {uncertainty:.0f} mm away from the structural image (median "
            f"of {len(common)} structures: {right:+.0f} right, {front:+.0f} front, {up:+.0f} up), at most "
            f"{limit:.0f} is expected."
        )
        yield pet.pair_finding("doubt", "shift", message, distance, limit)
        return
    agreement = {n: _agreement(overlay, values[n]) for n in common}
    moved = [n for n in common if agreement[n][0] < ELSEWHERE and agreement[n][1] > ELSEWHERE]
    for name in moved:
        there = centres[1][common.index(name)]
        distances = np.linalg.norm(centres[0] - there, axis=1)
        nearest = common[int(distances.argmin())]
        message = (
            f"The {name} of PET of {pet.pair} lies {distances[common.index(name)]:.0f} mm from that of the "
            f"structural image, {distances.min():.0f} mm from its {nearest} (DSC {agreement[name][0]:.2f}): "
            "swapped labels?"
        )
        yield pet.pair_finding("doubt", "swapped", message, agreement[name][0], ELSEWHERE)
    apart = [n for n in common if agreement[n][0] < min(AGREEMENT, agreement[n][1])]
    if len(apart) > SHARE_APART * len(common):
        median = float(np.median([agreement[n][0] for n in apart]))
        shown = ", ".join(f"{n} {agreement[n][0]:.2f}" for n in apart[:5])
        message = (
            f"The two references of {pet.pair} agree to DSC {median:.2f} only (median of {len(apart)} "
            f"of {len(common)} structures: {shown}), less than a shift by one voxel costs."
        )
        yield pet.pair_finding("doubt", "agreement", message, median, AGREEMENT)


def _centres(
    structural: Facts, pet: Facts, overlay: Overlay, common: list[str], values: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) centres of the common structures in mm, on both images.

    In the field that both share, so that a structure cut by one of them is compared as far as both
    show it; of the whole images where less than half of a structure lies in that field.
    """
    pairs = []
    for name in common:
        found = []
        for labels in (overlay.reference, overlay.prediction):
            (box,) = masks.bounding_boxes(labels, [values[name]])
            if box is None:
                found.append(None)
                continue
            middle = np.argwhere(labels[box] == values[name]).mean(axis=0) + [part.start for part in box]
            found.append(geometry.to_world(overlay.grid, middle))
        whole = np.count_nonzero(pet.labels == values[name])
        seen = np.count_nonzero(overlay.prediction == values[name]) / max(1, whole)
        if found[0] is None or found[1] is None or seen < OVERLAP:
            found = [structural.centres_mm[name], pet.centres_mm[name]]
        pairs.append(found)
    both = np.array(pairs)
    return both[:, 0], both[:, 1]


def _mirrored(structural: np.ndarray, pet: np.ndarray) -> tuple[int, float] | None:
    """Axis along which the centres run the other way, and the slope; None where none does."""
    if len(structural) < 3:
        return None
    a, b = (c - np.median(c, axis=0) for c in (structural, pet))
    for axis in range(3):
        spread = np.sqrt((a[:, axis] ** 2).mean())
        slope = float((a[:, axis] @ b[:, axis]) / max(a[:, axis] @ a[:, axis], 1e-9))
        if spread > _SPREAD_MM and slope < -0.3:
            return axis, slope
    return None


def _shift(structural: np.ndarray, pet: np.ndarray, voxel_mm: float) -> tuple[np.ndarray, float]:
    """Median displacement of PET in mm, and its standard error: from the spread over structures, and half
    a voxel of the sample for each.
    """
    moved = pet - structural
    median = np.median(moved, axis=0)
    spread = 1.4826 * np.median(np.abs(moved - median), axis=0)
    return median, float(np.hypot(np.linalg.norm(spread), voxel_mm / 2) / np.sqrt(len(moved)))


def _agreement(overlay: Overlay, value: int) -> tuple[float, float]:
    """DSC of the two masks of a structure, and the least that the first has with itself moved by one voxel."""
    boxes = [masks.bounding_boxes(labels, [value])[0] for labels in (overlay.reference, overlay.prediction)]
    if None in boxes:
        return 0.0, 0.0
    both = tuple(
        slice(max(0, min(a.start, b.start) - 1), max(a.stop, b.stop) + 1) for a, b in zip(*boxes, strict=True)
    )
    a, b = overlay.reference[both] == value, overlay.prediction[both] == value
    dice = 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
    ahead, behind = slice(1, None), slice(None, -1)
    moved = []
    for axis in range(3):
        first, second = ((slice(None),) * axis + (part,) for part in (ahead, behind))
        moved.append(np.count_nonzero(a[first] & a[second]))
    return float(dice), float(min(moved) / np.count_nonzero(a))
