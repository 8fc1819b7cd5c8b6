"""Is a cohort believable: volumes, intensities, noise, sharpness, displacement, measured from files."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy

from umdlib.cohort.manifest import Case, Cohort
from umdlib.images.orientation import canonical
from umdlib.images.volume import LabelMap, Volume
from umdlib.synthetic.literature import ranges_table
from umdlib.synthetic.truth import truth

FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))
MEASURES: dict[str, str] = {
    "liver_cov": "noise in the liver (CoV)",
    "fwhm_mm": "edge width (mm)",
    "dome_mm": "dome (mm)",
}
_SKIN_VOXELS = 2  # stripped from a structure before its intensity is read, against partial volume


def unlike(pairs: list[tuple[Case, Case]], table: pd.DataFrame, n: int = 3) -> list[tuple[Case, Case]]:
    """`n` pairs of unlike size: the lightest for their height, the heaviest, then from the middle.

    Parameters
    ----------
    pairs
        To choose from. The heaviest is of another session than the lightest where there are two.
    table
        The cohort's table; where it gives no ``height_cm`` and ``weight_kg``, the first `n` pairs
        are taken.

    Examples
    --------
    >>> unlike([], pd.DataFrame())
    []
    """
    columns = ["height_cm", "weight_kg"]
    if not pairs or not set(columns) <= set(table):
        return pairs[:n]
    size = table.drop_duplicates("subject").set_index("subject")[columns]
    size = size.apply(pd.to_numeric, errors="coerce")
    index = (size["weight_kg"] / (size["height_cm"] / 100) ** 2).fillna(np.inf)
    order = sorted(pairs, key=lambda p: (index.get(p[0].subject, np.inf), p[0].subject))
    others = [p for p in order if p[0].session != order[0][0].session]
    middle = (len(order) - 1) / 2
    rest = sorted(order, key=lambda p: abs(order.index(p) - middle))
    picked = [order[0], (others or order)[-1]]
    picked += [p for p in rest if p not in picked]
    return picked[: min(n, len(order))]


def interior(mask: np.ndarray) -> np.ndarray:
    """The mask without its outer voxels; without one layer, or as it is, where nothing is left."""
    for layers in (_SKIN_VOXELS, 1):
        inner = np.pad(mask, layers).astype(np.uint8)
        for axis in range(3):
            inner = scipy.ndimage.minimum_filter1d(inner, 2 * layers + 1, axis=axis)
        inner = inner[(slice(layers, -layers),) * 3] > 0
        if inner.sum() >= 20:
            return inner
    return mask


def boxed(labels: LabelMap, value: int) -> tuple[slice, ...] | None:
    """Index box of a structure; None where it is absent."""
    boxes = scipy.ndimage.find_objects(labels.data, max_label=value)
    return boxes[value - 1]


def organ_table(cases: Iterable[Case]) -> pd.DataFrame:
    """Volume and intensity of every structure of every case.

    Returns
    -------
    pandas.DataFrame
        subject, session, modality, unit, structure, volume_ml, mean, sd: the last two over the
        interior, NaN where the structure is absent.
    """
    rows = []
    for case in cases:
        image, labels = case.read()
        voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
        boxes = scipy.ndimage.find_objects(labels.data, max_label=max(s.value for s in case.structures))
        for structure in case.structures:
            row = {
                "subject": case.subject,
                "session": case.session,
                "modality": case.modality,
                "unit": case.unit,
                "structure": structure.name,
                "volume_ml": 0.0,
                "mean": np.nan,
                "sd": np.nan,
            }
            box = boxes[structure.value - 1]
            if box is not None:
                mask = labels.data[box] == structure.value
                values = image.data[box][interior(mask)].astype(float)
                row |= {"volume_ml": mask.sum() * voxel_ml, "mean": values.mean(), "sd": values.std()}
            rows.append(row)
    return pd.DataFrame(rows)


def range_table(organs: pd.DataFrame) -> pd.DataFrame:
    """Measured medians and extremes per structure beside the literature's range.

    Returns
    -------
    pandas.DataFrame
        quantity (``volume_ml``, ``CT`` in HU, ``PET`` in SUV), structure, n_subjects, median, lowest,
        highest, range_low, range_high, inside (share of the subjects within the range), source. Empty
        where the literature records know none of the structures.
    """
    rows = []
    for record in ranges_table().itertuples():
        part = organs[organs["structure"] == record.structure]
        if record.quantity == "volume_ml":
            values = part[part["modality"] != "PET"]["volume_ml"]
        else:
            values = part[part["modality"] == record.quantity]["mean"]
        values = values[values.notna() & (part.loc[values.index, "volume_ml"] > 0)]
        if len(values):
            inside = float(values.between(record.low, record.high).mean())
            seen = len(values), values.median(), values.min(), values.max()
            about = record.low, record.high, inside, record.source
            rows.append((record.quantity, record.structure, *seen, *about))
    columns = "quantity structure n_subjects median lowest highest range_low range_high inside source"
    return pd.DataFrame(rows, columns=columns.split())


_PROFILE_MM, _RAYS = 10.0, 500  # half length of the profiles across an edge; directions, evenly spread


def edge_fwhm(image: Volume, mask: np.ndarray) -> float:
    """Sharpness of an image at the edge of a hot, roundish structure: width (mm) of its point spread.

    Rays from the middle find the surface at half height, so that neither displacement nor filling
    counts; the mean profile along the surface's normals is fitted by an error function.

    Returns
    -------
    float
        Full width at half maximum; NaN if the structure is absent, or not at least three times
        hotter than what surrounds it.
    """
    box = scipy.ndimage.find_objects(mask.astype(np.uint8))
    if not box:
        return float("nan")
    step = np.array(image.spacing_mm)
    pad = np.ceil(3 * _PROFILE_MM / step).astype(int)
    box = tuple(slice(max(b.start - p, 0), b.stop + p) for b, p in zip(box[0], pad, strict=True))
    data, mask = image.data[box].astype(np.float32), mask[box]
    high, low = np.percentile(data[mask], 80), np.percentile(data[~mask], 40)
    if high < 3 * max(low, 1e-6):
        return float("nan")
    middle = np.array(scipy.ndimage.center_of_mass(np.where(mask, np.maximum(data - low, 0), 0))) * step
    surface = _surface_points(data, step, middle, _spread_directions(_RAYS), (high + low) / 2)
    if len(surface) < _RAYS // 4:
        return float("nan")
    slope = [
        scipy.ndimage.gaussian_filter(data, 1.0, order=[int(i == n) for i in range(3)]) for n in range(3)
    ]
    normal = -np.stack([at(g, surface, step) / d for g, d in zip(slope, step, strict=True)], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    x = np.arange(-_PROFILE_MM, _PROFILE_MM + 0.1, 0.5)
    lines = at(data, surface[:, None] + x[:, None] * normal[:, None], step)
    start = (high, low, 0.0, 3.0)
    fitted, _ = scipy.optimize.curve_fit(_edge_profile, x, np.median(lines, axis=0), start, maxfev=4000)
    return float(abs(fitted[3]) * FWHM_PER_SD)


def _edge_profile(x, top, bottom, middle, sd):
    """A step from `top` to `bottom` blurred by a Gaussian."""
    return bottom + (top - bottom) * scipy.special.erfc((x - middle) / (np.sqrt(2) * sd)) / 2


def _spread_directions(n: int) -> np.ndarray:
    """`n` unit vectors (n, 3) evenly over the sphere (a golden spiral)."""
    z = 1 - (2 * np.arange(n) + 1) / n
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)


def at(data: np.ndarray, points_mm: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Cubic interpolation at points (..., 3) in mm from the first voxel."""
    index = np.moveaxis(points_mm / step, -1, 0)
    return scipy.ndimage.map_coordinates(data, index, order=3, mode="nearest")


def _surface_points(data, step, middle, directions, level: float) -> np.ndarray:
    """Points (n, 3) in mm where rays from `middle` first fall below `level`; rays that never do are left out."""
    radius = np.arange(0, 90.0, 1.0)
    lines = at(data, middle + radius[:, None] * directions[:, None], step)
    below = lines < level
    first = np.argmax(below, axis=1)
    good = below.any(axis=1) & (first > 0)
    i, n = np.flatnonzero(good), first[good]
    share = (lines[i, n - 1] - level) / (lines[i, n - 1] - lines[i, n])
    return middle + (radius[n - 1] + share)[:, None] * directions[i]


def dome_shift_mm(pet: Volume, labels: LabelMap, liver: int, lung: int) -> float:
    """Where PET's liver meets the lung, above (+) or below (−) where its reference does, in mm.

    Over columns in which lung lies on liver, the mean PET profile aligned at the reference's top is
    read at half height between lung and liver. NaN with fewer than 12 columns.
    """
    pet, labels = (canonical(pet), canonical(labels))
    step = pet.spacing_mm[2]
    n = int(32.0 / step)
    box = boxed(labels, liver)
    if box is None:
        return float("nan")
    around = (*box[:2], slice(max(box[2].start - n, 0), box[2].stop + n + 2))
    pet, labels = (type(v)(v.data[around], v.affine) for v in (pet, labels))
    mask = labels.data == liver
    top = mask.shape[2] - 1 - np.argmax(mask[:, :, ::-1], axis=2)
    i, j = np.nonzero(mask.any(axis=2) & (top > n) & (top < mask.shape[2] - n - 1))
    k = top[i, j]
    above = (labels.data[i[:, None], j[:, None], k[:, None] + np.arange(2, n)] == lung).mean(axis=1)
    below = mask[i[:, None], j[:, None], k[:, None] - np.arange(n)].mean(axis=1)
    good = (above > 0.95) & (below > 0.95)
    if good.sum() < 12:
        return float("nan")
    i, j, k = i[good], j[good], k[good]
    offsets = np.arange(-n, n + 1)
    profile = pet.data[i[:, None], j[:, None], k[:, None] + offsets].mean(axis=0)
    half = (profile[:3].mean() + profile[-3:].mean()) / 2
    cross = int(np.argmax(profile < half))
    share = (profile[cross - 1] - half) / (profile[cross - 1] - profile[cross])
    return float((offsets[cross - 1] + share - 0.5) * step)


def _noise_in(pet: Volume, labels: LabelMap, value: int) -> float:
    """Coefficient of variation in the interior of a structure; NaN where it is absent."""
    box = boxed(labels, value)
    if box is None:
        return float("nan")
    values = pet.data[box][interior(labels.data[box] == value)].astype(float)
    return float(values.std() / values.mean()) if values.size > 20 and values.mean() else float("nan")


def physics_table(cohort: Cohort, pairs: Iterable[tuple[Case, Case]] | None = None) -> pd.DataFrame:
    """Noise, sharpness and displacement of each PET image, measured, and planned where known.

    Returns
    -------
    pandas.DataFrame
        subject, session, liver_cov, fwhm_mm, dome_mm and the same with ``_planned``.
    """
    value = {s.name: s.value for s in cohort.structures}
    rows = []
    for _, case in cohort.pairs() if pairs is None else pairs:
        pet, labels = case.read()
        row = {"subject": case.subject, "session": case.session}
        row |= dict.fromkeys(("liver_cov", "fwhm_mm", "dome_mm"), float("nan"))
        if "liver" in value:
            row["liver_cov"] = _noise_in(pet, labels, value["liver"])
        if "urinary_bladder" in value:
            row["fwhm_mm"] = edge_fwhm(pet, labels.data == value["urinary_bladder"])
        if {"liver", "lung"} <= value.keys():
            row["dome_mm"] = dome_shift_mm(pet, labels, value["liver"], value["lung"])
        planned = truth(case)
        scan, strength = planned.get("acquisition", {}), planned.get("factors", {})
        row["liver_cov_planned"] = scan.get("liver_cov", np.nan) * strength.get("noise", 1)
        row["fwhm_mm_planned"] = planned.get("fwhm_mm", np.nan) * strength.get("resolution", 1)
        row["dome_mm_planned"] = -scan.get("misregistration_mm", np.nan) * strength.get("misregistration", 1)
        if "rigid_mm" in scan:
            row["dome_mm_planned"] += scan["rigid_mm"][2] * strength.get("misregistration", 1)
        rows.append(row)
    return pd.DataFrame(rows)
