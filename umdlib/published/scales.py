"""What the values of a metric can be at all: the lowest and the highest in each unit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from umdlib.errors import InputError, unknown_name


@dataclass(frozen=True)
class _Scale:
    """Range of a metric in its own unit.

    Attributes
    ----------
    low, high
        Lowest and highest value; infinite where there is no limit.
    unit
        Unit in which they hold: ``fraction``, ``mm``, ``s``, ``ml`` or ``count``.
    words
        Pattern by which a heading names the metric.
    """

    low: float
    high: float
    unit: str
    words: str


_SHARE, _LENGTH = (0.0, 1.0, "fraction"), (0.0, math.inf, "mm")
SCALES: dict[str, _Scale] = {
    "surface_dice": _Scale(*_SHARE, r"\bnsd\b|\bnsc\b|surface dice|surface dsc|normali[sz]ed surface"),
    "dice": _Scale(*_SHARE, r"\bm?dscs?\b|\bm?dice\b|\bf1\b"),
    "iou": _Scale(*_SHARE, r"\bm?iou\b|jaccard"),
    "sensitivity": _Scale(*_SHARE, r"sensitivity|recall|\btpr\b"),
    "specificity": _Scale(*_SHARE, r"specificity|\btnr\b"),
    "precision": _Scale(*_SHARE, r"precision|\bppv\b"),
    "auc": _Scale(*_SHARE, r"\bauc\b|\bauroc\b"),
    "accuracy": _Scale(*_SHARE, r"\bacc(uracy)?\b"),
    "hd95": _Scale(*_LENGTH, r"\bm?hd\s?95\b|\b95\s?%?\s?hd\b|hausdorff|\bhd\b"),
    "assd": _Scale(*_LENGTH, r"\bassd\b|\bm?asd\b|\bmsd\b|surface distance"),
    "rvd": _Scale(-1.0, math.inf, "fraction", r"\brvd\b|relative volume"),
    "voe": _Scale(*_SHARE, r"\bvoe\b|overlap error"),
    "volume": _Scale(0.0, math.inf, "ml", r"\bvol(ume)?s?\b|\bf[pn]v\b"),
    "seconds": _Scale(0.0, math.inf, "s", r"seconds|\btime\b|runtime"),
    "count": _Scale(0.0, math.inf, "count", r"\bcount\b|number of"),
}
PER_CENT = "per cent"


def scale_of(metric: str, unit: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a metric in a unit.

    A fraction may be printed in per cent; where the unit was not stated both are possible. A metric
    that is not in `SCALES` has no limits.

    Examples
    --------
    >>> scale_of("dice", "fraction"), scale_of("dice", "per cent"), scale_of("hd95", "mm")
    ((0.0, 1.0), (0.0, 100.0), (0.0, inf))
    """
    scale = SCALES.get(metric) or SCALES.get(re.sub(r"_(tau)?\d.*$", "", metric))
    if scale is None:
        return -math.inf, math.inf
    factor = 100.0 if scale.unit == "fraction" and unit in (PER_CENT, "unstated") else 1.0
    return scale.low * factor, scale.high * factor


def metric_named(text: str) -> str | None:
    """Return the metric that a heading names, None if it names none.

    Examples
    --------
    >>> metric_named("HD95 (mm)"), metric_named("Surface Dice"), metric_named("nnU-Net"), metric_named("hd95_liver")
    ('hd95', 'surface_dice', None, 'hd95')
    """
    text = text.replace("_", " ")
    return next((name for name, s in SCALES.items() if re.search(s.words, text, re.IGNORECASE)), None)


def check_metric(name: str) -> str:
    """Return the metric's own name for a user's word for it.

    Examples
    --------
    >>> check_metric("DSC"), check_metric("hd95")
    ('dice', 'hd95')
    """
    if name in SCALES:
        return name
    found = metric_named(name)
    if found is None:
        raise unknown_name("metric", name, SCALES)
    return found


def check_unit(metric: str, unit: str) -> str:
    """Return `unit` if the metric can be printed in it."""
    own = SCALES[metric].unit
    possible = (own, PER_CENT) if own == "fraction" else (own,)
    unit = PER_CENT if unit in ("%", "percent", "per_cent") else unit
    if unit not in possible:
        raise InputError(f"Invalid unit '{unit}' of {metric}. Must be {' or '.join(possible)}.")
    return unit
