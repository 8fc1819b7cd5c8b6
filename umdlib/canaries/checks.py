"""Canaries: checks that a segmenter is wired right, before any of its scores is believed.

A collapsed score is first a suspected bug of the adapter. Each check is a pure function on arrays
or score tables and returns findings, a `Finding` per suspicion; none means no alarm. A finding is
a suspicion, not a proof.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import scipy

from umdlib.images.cropped import Boxed, boxed

# How much better another reading must be before it counts, in mean Dice over structures.
CLEARLY = 0.10
# A best alternative below this says nothing: two poor numbers.
LEAST = 0.30
# What the sums of a ceiling and of a score may differ by in rounding.
_ROUNDING = 1e-6
# Predictions of different structures this alike are one mask.
SAME = 0.95
# A prediction larger than this many references is a leak: poor, but not wired wrong.
_LEAK = 3.0
# A mask that covers this share of a reference reaches into it.
_TOUCHED = 0.1
# A structure that never exceeds this in any subject, while others work, is dead,
_DEAD = 0.02
# unless its masks lie within this many voxels of the references (a thin structure is easily missed), or
NEAR = 2
# a system that misses as often as this one does elsewhere would show one by chance this often.
_CHANCE = 0.01

FAULTS: dict[str, str] = {
    "reads_reference": "the prediction changes when only the reference changes",
    "ignores_partner": "a system that sees two images gives the same masks with another second one",
    "not_repeatable": "the same call gives another mask",
    "swapped_structures": "another order of the structures fits clearly better",
    "one_mask": "the masks of different structures are one and the same",
    "always_empty": "every mask of every subject is empty",
    "dead_structure": "a structure is never found in any subject, while others are",
    "flipped": "a flip of the prediction fits clearly better",
    "permuted_axes": "another order of the prediction's axes fits clearly better",
    "shifted": "a shift of the prediction fits clearly better",
    "control_missed": "a known result was not reproduced",
    "above_ceiling": "a score is higher than the part of the image that the system looks at allows",
}


@dataclass(frozen=True)
class Finding:
    """One suspicion.

    Attributes
    ----------
    segmenter, fault
        Whose, and which of `FAULTS`.
    structure
        Where it is one structure's or a group's, in words; else empty.
    modality
        Where it was seen.
    observed, alternative
        Mean Dice as it stands, and under the reading that fits better; NaN where neither applies.
    detail
        One sentence.
    """

    segmenter: str
    fault: str
    structure: str = ""
    modality: str = ""
    observed: float = np.nan
    alternative: float = np.nan
    detail: str = ""


def wiring_matrix(
    predictions: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Dice of each prediction (rows) against every reference (columns) of one case.

    Parameters
    ----------
    predictions, references
        Boolean masks (I, J, K) by structure, on one grid.

    Returns
    -------
    pandas.DataFrame
        Square where both hold the same structures; NaN where both masks are empty.
    """
    rows, columns = _boxed(predictions), _boxed(references)
    cells = {n: [p.dice(reference) for p in rows.values()] for n, reference in columns.items()}
    return pd.DataFrame(cells, index=list(rows))


def _check_wiring(
    matrices: Sequence[pd.DataFrame],
    segmenter: str,
    modality: str = "",
    *,
    leaking: frozenset[str] = frozenset(),
    near: Sequence[frozenset[str]] = (),
) -> list[Finding]:
    """Swapped structures and dead ones, from the wiring matrices of several subjects.

    The best one-to-one assignment of predictions to references (Hungarian method) is compared
    with the identity, on the mean matrix over subjects. Only structures present in some
    reference take part; those in `leaking` are never called dead. `near` holds, per subject,
    structures whose masks lie beside their references: they are missed there, but not lost.
    """
    mean = _mean_matrix(matrices)
    if mean.empty:
        return []
    moved, swaps = _swaps(mean, segmenter, modality)
    # what a swap explains is not dead as well
    rest = [n for n in mean.index if n not in moved | leaking]
    works = any(mean.loc[n, n] >= LEAST for n in mean.index)
    return [*swaps, *(_dead(_hits(matrices, near), rest, segmenter, modality) if works else [])]


def _check_one_mask(
    predictions: Sequence[Mapping[str, np.ndarray]],
    references: Sequence[Mapping[str, np.ndarray]],
    segmenter: str,
    modality: str = "",
) -> list[Finding]:
    """One mask for several structures, in every subject.

    `predictions` holds, per subject, boolean masks by structure. Two structures count as one mask
    where their predictions' Dice is at least `SAME` in all subjects that have both. Clicks in
    neighbours whose border a region grower does not see rightly give one mask: a pair whose mask
    reaches into both references counts only where *all* structures share it.
    """
    predictions, references = ([_boxed(m) for m in side] for side in (predictions, references))
    names = sorted({n for masks in predictions for n in masks})
    alike, leaks = [], []
    for a, b in itertools.combinations(names, 2):
        values = [m[a].dice(m[b]) for m in predictions if a in m and b in m]
        values = [v for v in values if v == v]
        if values and min(values) >= SAME:
            covered = _covers_both(predictions, references, a, b)
            (leaks if covered else alike).append((a, b, float(np.mean(values))))
    if len(alike) + len(leaks) == len(names) * (len(names) - 1) // 2 > 1:
        alike += leaks
    if not alike:
        return []
    involved = ", ".join(sorted({n for a, b, _ in alike for n in (a, b)}))
    mean = float(np.mean([v for *_, v in alike]))
    detail = f"{involved} share one mask (mean Dice among them {mean:.2f})."
    return [Finding(segmenter, "one_mask", involved, modality, alternative=mean, detail=detail)]


def check_orientation(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], segmenter: str, modality: str = ""
) -> list[Finding]:
    """A flip, an order of axes or a shift under which predictions fit clearly better.

    Parameters
    ----------
    pairs
        (prediction, reference) boolean masks (I, J, K) of several structures and subjects; pairs
        with an empty member are left out. Flips and orders of axes act on the whole volume; an
        order of axes is only tried where it keeps the shape. A shift is the difference of the
        centres of mass, common to all pairs.

    Notes
    -----
    Structures near the middle of an image look alike under a flip: the mean over structures
    decides, and the gain must be `CLEARLY`.
    """
    full = _full(pairs)
    if not full:
        return []
    observed, tried = _mean_dice(full), _tried(full)
    best = max(tried, key=tried.get, default=None)
    if best is None or tried[best] < max(observed + CLEARLY, LEAST):
        return []
    fault, _, reading = best.partition(" ")
    detail = f"Mean Dice {observed:.2f} over {len(full)} masks, {tried[best]:.2f} with {reading}."
    return [Finding(segmenter, fault, "", modality, observed, tried[best], detail)]


def readings(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Mean Dice of masks as they stand, and of the best flip, order of axes or shift; 0 without pairs."""
    full = _full(pairs)
    if not full:
        return 0.0, 0.0
    return _mean_dice(full), max(_tried(full).values(), default=0.0)


def swap_gain(matrices: Sequence[pd.DataFrame]) -> float:
    """By how much (mean Dice over those it moves) the best assignment of structures exceeds the identity.

    0 where the identity is the best, or where the best fits poorly.
    """
    before, after, *_ = _assigned(np.nan_to_num(_mean_matrix(matrices).to_numpy()))
    return float((after - before).mean()) if after.size and after.mean() >= LEAST else 0.0


def likeness(
    predictions: Sequence[Mapping[str, np.ndarray]], references: Sequence[Mapping[str, np.ndarray]]
) -> float:
    """Dice of the two most alike masks of different structures, the smallest over subjects.

    A pair whose masks reach into both references in every subject is a leak and left out.
    """
    predictions, references = ([_boxed(m) for m in side] for side in (predictions, references))
    names = sorted({n for masks in predictions for n in masks})
    found = [0.0]
    for a, b in itertools.combinations(names, 2):
        values = [v for m in predictions if a in m and b in m and (v := m[a].dice(m[b])) == v]
        if values and not _covers_both(predictions, references, a, b):
            found.append(min(values))
    return max(found)


def check_control(
    value: float, expected: float, tolerance: float, segmenter: str, what: str
) -> list[Finding]:
    """Whether a known number was reproduced within a tolerance; NaN never is.

    Examples
    --------
    >>> check_control(0.93, 0.94, 0.02, "litemedsam", "CT liver")
    []
    """
    if abs(value - expected) <= tolerance:
        return []
    detail = f"{what}: {value:.3f} instead of {expected:.3f} ± {tolerance:.3f}."
    return [Finding(segmenter, "control_missed", what, "", value, expected, detail)]


def check_ceilings(scores: pd.DataFrame, segmenter: str, modality: str = "") -> list[Finding]:
    """Scores above the ceiling of a system that looks at a part of the image only.

    The ceiling is a bound: with a share s of the structure where the system looks, no mask of voxels there has
    a Dice above 2 s / (1 + s). A score above it was made with something that the record does not name.

    Examples
    --------
    >>> rows = pd.DataFrame({"segmenter": ["a", "a"], "modality": ["CT", "CT"], "structure": ["liver", "lung"],
    ...                      "subject": ["s", "s"], "dice": [0.7, 0.9], "ceiling": [0.8, 0.8]})
    >>> [f.structure for f in check_ceilings(rows, "a")]
    ['lung']
    """
    if "ceiling" not in scores:
        return []
    rows = scores[scores["segmenter"].eq(segmenter)]
    rows = rows[rows["modality"].eq(modality)] if modality else rows
    above = rows[rows["dice"] > rows["ceiling"] + _ROUNDING]
    if above.empty:
        return []
    worst = above.loc[(above["dice"] - above["ceiling"]).idxmax()]
    structures, dice, ceiling = ", ".join(dict.fromkeys(above["structure"])), worst["dice"], worst["ceiling"]
    detail = (
        f"{len(above)} of {rows['ceiling'].notna().sum()} scores exceed what its part of the image allows, most of "
        f"all {worst['structure']} of {worst['subject']}: {dice:.3f} instead of at most {ceiling:.3f}."
    )
    return [Finding(segmenter, "above_ceiling", structures, modality, float(dice), float(ceiling), detail)]


def check_masks(
    predictions: Sequence[Mapping[str, np.ndarray]],
    references: Sequence[Mapping[str, np.ndarray]],
    segmenter: str,
    modality: str = "",
) -> list[Finding]:
    """Wiring, one mask and orientation, from the masks of several subjects on their own grids.

    Once a whole-volume fault explains the scores (orientation, one mask), the wiring matrix of
    the same masks says nothing and is not judged.
    """
    predictions, references = ([_boxed(m) for m in side] for side in (predictions, references))
    if predictions and not any(m.size for p in predictions for m in p.values()):
        detail = f"No voxel in {len(predictions)} subjects: were its weights loaded?"
        return [Finding(segmenter, "always_empty", "", modality, 0.0, detail=detail)]
    pairs = [(p[n], r[n]) for p, r in zip(predictions, references, strict=True) for n in r if n in p]
    found = _check_one_mask(predictions, references, segmenter, modality)
    found += [] if found else check_orientation(pairs, segmenter, modality)
    if not found:
        matrices = [wiring_matrix(p, r) for p, r in zip(predictions, references, strict=True)]
        near = [_near_misses(p, r, m) for p, r, m in zip(predictions, references, matrices, strict=True)]
        found += _check_wiring(
            matrices, segmenter, modality, leaking=_leaking(predictions, references), near=near
        )
    return found


def to_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Findings as a table, one row each, with the fault in words; columns also where empty."""
    columns = [*Finding.__dataclass_fields__]
    table = pd.DataFrame([asdict(f) for f in findings], columns=columns)
    table.insert(2, "meaning", table["fault"].map(FAULTS).astype(object))
    return table


def flagged(findings: Sequence[Finding] | pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Faults by segmenter: what every table shades."""
    table = findings if isinstance(findings, pd.DataFrame) else to_table(findings)
    groups = table.groupby("segmenter", sort=True)["fault"]
    return {name: tuple(sorted(set(faults))) for name, faults in groups}


def _boxed(masks: Mapping[str, np.ndarray | Boxed]) -> dict[str, Boxed]:
    """Masks of a case as what lies in their boxes."""
    return {name: boxed(mask) for name, mask in masks.items()}


def _full(pairs: Sequence[tuple]) -> list[tuple[Boxed, Boxed]]:
    """Pairs without an empty member, in their boxes."""
    both = [(boxed(p), boxed(r)) for p, r in pairs]
    return [(p, r) for p, r in both if p.size and r.size]


def _covers_both(
    predictions: Sequence[Mapping[str, Boxed]], references: Sequence[Mapping[str, Boxed]], a: str, b: str
) -> bool:
    """Whether the masks of two structures reach into their references in every subject."""
    return all(
        m[n].share(r[n]) >= _TOUCHED
        for m, r in zip(predictions, references, strict=True)
        for n in (a, b)
        if n in m and n in r and r[n].size
    )


def _tried(pairs: list[tuple[Boxed, Boxed]]) -> dict[str, float]:
    """Mean Dice under every other reading of predictions."""
    return {name: _mean_dice([(move(p), r) for p, r in pairs]) for name, move in _readings(pairs).items()}


def _leaking(
    predictions: Sequence[Mapping[str, Boxed]], references: Sequence[Mapping[str, Boxed]]
) -> frozenset[str]:
    """Structures whose predictions are over `_LEAK` times as large as their references."""
    sizes: dict[str, list[float]] = {}
    for p, r in zip(predictions, references, strict=True):
        for n in r:
            if n in p and r[n].size:
                sizes.setdefault(n, []).append(p[n].size / r[n].size)
    return frozenset(n for n, ratios in sizes.items() if np.mean(ratios) > _LEAK)


def _mean_matrix(matrices: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean over subjects of the structures that occur on both sides, NaN ignored."""
    if not matrices:
        return pd.DataFrame()
    stacked = pd.concat(matrices, keys=range(len(matrices)))
    mean = stacked.groupby(level=1, sort=False).mean()
    both = [n for n in mean.index if n in mean.columns and mean[n].notna().any()]
    return mean.loc[both, both]


def _assigned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Dice before and after the best one-to-one assignment of those that it moves; their rows and columns.

    What fits nothing either way (an empty mask) says nothing and does not move.
    """
    rows, columns = scipy.optimize.linear_sum_assignment(-values)
    before, after = np.diag(values), values[rows, columns]
    moved = (rows != columns) & ((after > 0) | (before > 0))
    return before[moved], after[moved], rows[moved], columns[moved]


def _swaps(mean: pd.DataFrame, segmenter: str, modality: str) -> tuple[set[str], list[Finding]]:
    """A clearly better assignment of predictions to references, and whom it moves."""
    before, after, rows, columns = _assigned(np.nan_to_num(mean.to_numpy()))
    if not after.size or after.mean() < max(before.mean() + CLEARLY, LEAST):
        return set(), []
    if (after - before).max() < CLEARLY:
        return set(), []
    names = list(mean.index)
    fits = [i for i, value in enumerate(after) if value >= LEAST]
    swaps = ", ".join(f"{names[rows[i]]} → {names[columns[i]]}" for i in fits)
    values = float(before.mean()), float(after.mean()), f"Asked for → fits: {swaps}."
    return {names[r] for r in rows}, [Finding(segmenter, "swapped_structures", swaps, modality, *values)]


def _near_misses(predictions: Mapping, references: Mapping, matrix: pd.DataFrame) -> frozenset[str]:
    """Structures whose mask misses the reference but comes within `NEAR` voxels of it."""
    names = [n for n in references if n in predictions and matrix.loc[n, n] < _DEAD]
    return frozenset(n for n in names if _beside(predictions[n], references[n]))


def _beside(prediction: Boxed, reference: Boxed) -> bool:
    """Whether some voxel of a mask is within `NEAR` voxels of the reference, along each axis."""
    if not reference.size:
        return False
    wide = reference.padded(NEAR)
    around = scipy.ndimage.maximum_filter(wide.part, 2 * NEAR + 1, mode="constant")
    return prediction.common(replace(wide, part=around)) > 0


def _hits(matrices: Sequence[pd.DataFrame], near: Sequence[frozenset[str]]) -> list[pd.Series]:
    """Dice by structure of each subject, without what is undefined; a near miss counts as `LEAST`."""
    found = []
    for at, m in enumerate(matrices):
        both = [n for n in m.index if n in m.columns]
        values = pd.Series({n: m.loc[n, n] for n in both}, dtype=float).dropna()
        if near:
            values[values.index.isin(near[at])] = LEAST
        found.append(values)
    return found


def _dead(hits: Sequence[pd.Series], names: Sequence[str], segmenter: str, modality: str) -> list[Finding]:
    """Structures of `names` below `_DEAD` in every subject."""
    best = {n: max((h[n] for h in hits if n in h.index), default=np.nan) for n in names}
    dead = [n for n, v in best.items() if v < _DEAD]
    if not dead or _chance(hits, dead, names) > _CHANCE:
        return []
    top, lost = float(max(best[n] for n in dead)), ", ".join(dead)
    detail = f"{lost}: never above {_DEAD:g} in {len(hits)} subjects, while others work."
    return [Finding(segmenter, "dead_structure", lost, modality, top, detail=detail)]


def _chance(hits: Sequence[pd.Series], dead: list[str], names: Sequence[str]) -> float:
    """How many structures would be missed in every subject by chance alone, expected.

    The rate of misses is that of the other structures, one more miss and one more hit than seen.
    """
    others = [n for n in names if n not in dead]
    values = np.array([h[n] for h in hits for n in others if n in h.index])
    rate = ((values < _DEAD).sum() + 1) / (values.size + 2)
    return float(len(names) * rate ** len(hits))


def _readings(pairs: list[tuple[Boxed, Boxed]]) -> dict[str, Callable[[Boxed], Boxed]]:
    """Other readings of a prediction: name -> what to do to it."""
    moves: dict[str, Callable[[Boxed], Boxed]] = {}
    for axes in itertools.chain.from_iterable(itertools.combinations(range(3), k) for k in (1, 2, 3)):
        label = ", ".join("IJK"[a] for a in axes)
        moves[f"flipped axes {label} reversed"] = partial(Boxed.flipped, axes=axes)
    for order in itertools.permutations(range(3)):
        turned = [(tuple(p.shape[a] for a in order), r.shape) for p, r in pairs]
        if order == (0, 1, 2) or any(shape != wanted for shape, wanted in turned):
            continue
        label = "".join("IJK"[a] for a in order)
        moves[f"permuted_axes axes in the order {label}"] = partial(Boxed.permuted, order=order)
    shift = _common_shift(pairs)
    if np.abs(shift).max() >= 1:
        moves[f"shifted a shift by {tuple(shift.tolist())} voxels"] = partial(Boxed.shifted, by=shift)
    return moves


def _common_shift(pairs: list[tuple[Boxed, Boxed]]) -> np.ndarray:
    """Median over pairs of the difference of the centres of mass, whole voxels."""
    differences = [r.centre() - p.centre() for p, r in pairs]
    return np.rint(np.median(differences, axis=0)).astype(int)


def _mean_dice(pairs: list[tuple[Boxed, Boxed]]) -> float:
    """Mean Dice of pairs without empty members."""
    return float(np.mean([p.dice(r) for p, r in pairs]))
