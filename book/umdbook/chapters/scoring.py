"""What exactly is scored? Small masks, other definitions, and what other programs print."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import ndimage

from umdbook import page
from umdlib import published
from umdlib.images import geometry
from umdlib.kernels.areas import cell_areas_mm2
from umdlib.metrics import scoring as metrics
from umdlib.metrics.examples import ellipsoid, pair
from umdlib.tables import metric_title
from umdlib.tables.markdown import markdown_table
from umdlib.version import __version__
from umdlib.viewer.overlays import DIFFERENCE

# What the reference alone holds was missed, what the prediction alone holds was added.
REFERENCE_COLOUR, PREDICTION_COLOUR = DIFFERENCE["missed"], DIFFERENCE["added"]

METRICS = {"dice": "DSC", "surface_dice": "NSD", "hausdorff_95": "HD95", "assd": "ASSD"}
EMPTY = ("both empty", "prediction empty", "reference empty")

# mm: a solid organ, a small one, a flat one, a long thin tube; typical adult sizes.
SHAPES = {
    "liver (ball, 1.5 l)": (71.0, 71.0, 71.0),
    "kidney (ellipsoid, 160 ml)": (28.0, 25.0, 55.0),
    "pancreas (ellipsoid, 90 ml)": (75.0, 16.0, 18.0),
    "oesophagus (tube, 18 mm wide)": (9.0, 9.0, 250.0),
}


def _cell_distances(mask: np.ndarray, other: np.ndarray, spacing_mm: tuple) -> pd.DataFrame:
    """Surface cells of a mask: place (voxel indices of their corners), area, distance to `other`."""
    codes = [_codes(m) for m in (mask, other)]
    surfaces = [(c > 0) & (c < 255) for c in codes]
    distance = ndimage.distance_transform_edt(~surfaces[1], sampling=spacing_mm)
    place = np.argwhere(surfaces[0]) - 0.5
    table = pd.DataFrame(place, columns=["i", "j", "k"])
    table["area_mm2"] = cell_areas_mm2(tuple(spacing_mm))[codes[0][surfaces[0]]]
    table["distance_mm"] = distance[surfaces[0]]
    return table


def _codes(mask: np.ndarray) -> np.ndarray:
    """8-bit code of each cell; outside is 0."""
    padded = np.pad(mask, 1)
    codes = np.zeros(np.add(mask.shape, 1), np.uint8)
    for n, corner in enumerate(np.ndindex(2, 2, 2)):
        part = tuple(slice(c, c + s + 1) for c, s in zip(corner, mask.shape, strict=True))
        codes |= padded[part].astype(np.uint8) << np.uint8(7 - n)
    return codes


def definitions(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple, tolerance_mm: float
) -> pd.DataFrame:
    """The same two masks under other definitions of surface Dice, HD95 and ASSD.

    Returns: ``metric, definition, used by, value``; the first of each metric is this project's.
    """
    own = scored(reference, prediction, spacing_mm, tolerance_mm)
    there, back = _voxel_distances(reference, prediction, spacing_mm)
    pooled = np.concatenate([there, back])
    cells = [_cell_distances(*p, spacing_mm) for p in ((reference, prediction), (prediction, reference))]
    means = [np.average(c["distance_mm"], weights=c["area_mm2"]) for c in cells]
    nsd = own[f"surface_dice_{tolerance_mm:g}mm"]
    near = [(d <= tolerance_mm).mean() for d in (there, back, pooled)]
    far = [np.percentile(d, 95) for d in (there, back, pooled)]
    ours, monai = "this project, surface-distance", "MONAI, MetricsReloaded"
    rows = [
        ("NSD", "share of surface area, cells between voxels", ours, nsd),
        ("NSD", "share of edge voxels", "MONAI (default), MetricsReloaded", near[2]),
        ("NSD", "mean of the two directions' shares", "panoptica", (near[0] + near[1]) / 2),
        ("HD95", "area-weighted, larger direction", ours, own["hausdorff_95"]),
        ("HD95", "edge voxels, larger direction, interpolated", monai, max(far[:2])),
        ("HD95", "edge voxels of both directions pooled", "medpy, panoptica", far[2]),
        ("ASSD", "area-weighted, both surfaces pooled", "this project", own["assd"]),
        (
            "ASSD",
            "area-weighted, mean of two directions",
            "from surface-distance's two numbers",
            np.mean(means),
        ),
        ("ASSD", "edge voxels pooled", "MONAI, medpy, MetricsReloaded", pooled.mean()),
    ]
    return pd.DataFrame(rows, columns=["metric", "definition", "used by", "value"])


def _voxel_distances(a: np.ndarray, b: np.ndarray, spacing_mm: tuple):
    """Distances between edge voxels, which have a face neighbour outside, there and back."""
    edges = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    maps = [ndimage.distance_transform_edt(~e, sampling=spacing_mm) for e in edges]
    return maps[1][edges[0]], maps[0][edges[1]]


def grid_ceilings(fine_mm: tuple, coarse_mm: tuple, tolerances_mm=(1.0, 5.0)) -> pd.DataFrame:
    """Best scores of a mask that has been on a coarser grid: resampled to it and back, nearest.

    `fine_mm, coarse_mm`: spacing of the structural and of the PET grid.
    Returns: ``structure`` and the columns of `metrics.score`.
    """
    tables = []
    for name, half in SHAPES.items():
        extent = np.array(half) * 2 + 20
        shape = tuple(int(v) for v in np.ceil(extent / fine_mm))
        to_shape = tuple(int(v) for v in np.ceil(extent / coarse_mm))
        fine, coarse = (np.diag([*s, 1.0]) for s in (fine_mm, coarse_mm))
        # grids of two scanners do not share their origin
        coarse[:3, 3] = np.array(coarse_mm) * 0.3
        mask = ellipsoid(shape, fine_mm, (0, 0, 0), half).astype(np.uint8)
        there = geometry.resample(mask, fine, coarse, to_shape, order=0)
        back = geometry.resample(there, coarse, fine, shape, order=0)
        score = metrics.score(mask, back, spacing_mm=fine_mm, values=[1], tolerances_mm=tolerances_mm)
        tables.append(score.assign(structure=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["structure", *table.columns.drop(["structure", "value"])]]


def mask_plot(reference, prediction, k: int) -> Axes:
    """One slice of two masks: what is shared, missed and added."""
    ax = plt.subplots(figsize=(4.8, 3.8))[1]  # a picture has no form of its own for phones
    colours = np.ones((*reference.shape[:2], 3))
    a, b = reference[:, :, k], prediction[:, :, k]
    for where, key in ((a & b, "agree"), (a & ~b, "missed"), (b & ~a, "added")):
        colours[where] = plt.matplotlib.colors.to_rgb(DIFFERENCE[key])
        ax.plot([], [], "s", color=DIFFERENCE[key], label="in both" if key == "agree" else key)
    ax.imshow(colours.transpose(1, 0, 2), origin="lower", interpolation="nearest")
    ax.legend(loc="upper right", frameon=False)
    ax.set(xlabel="i (voxels)", ylabel="j (voxels)")
    return ax


def surface_plot(reference, prediction, spacing_mm, k: float, tolerance_mm: float) -> Axes:
    """Surface cells near one slice: filled within the tolerance of the other surface, else open."""
    ax = plt.gca()
    for mask, other, colour, name, marker in (
        (reference, prediction, REFERENCE_COLOUR, "reference", "o"),
        (prediction, reference, PREDICTION_COLOUR, "prediction", "s"),
    ):
        cells = _cell_distances(mask, other, spacing_mm)
        cells = cells[cells["k"] == k]
        near = cells["distance_mm"] <= tolerance_mm
        look = {"color": colour, "ms": 4}
        words = f"{name}, within {tolerance_mm:g} mm"
        ax.plot("i", "j", marker, data=cells[near], label=words, **look)
        ax.plot("i", "j", marker, data=cells[~near], mfc="none", label=f"{name}, farther", **look)
    ax.set(aspect="equal", xlabel="i (voxels)", ylabel="j (voxels)")
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    return ax


def tolerance_plot(curve: pd.DataFrame, voxel_mm: float) -> Axes:
    """Surface Dice against tolerance, with Dice, 1 mm and the voxel's edge marked."""
    ax = plt.gca()
    ax.step(curve["tolerance_mm"], curve["surface_dice"], where="post", color="#009e73", label="NSD")
    ax.axhline(curve["dice"].iloc[0], color="#444444", ls="--", label="DSC")
    ax.axvline(1, color=PREDICTION_COLOUR, lw=1, label="1 mm")
    ax.axvline(voxel_mm, color=REFERENCE_COLOUR, lw=1, ls=":", label=f"voxel, {voxel_mm:g} mm")
    ax.set(xlabel="tolerance τ (mm)", ylabel="score", ylim=(0, 1.02), xlim=(0, None))
    ax.legend(loc="lower right")
    return ax


def read_programs(path: str | Path) -> dict:
    """The file that `benchmarks/definitions.py` writes.

    Returns: ``spacing_mm``, ``tolerance_mm`` and ``programs``: by name a ``version`` and, for each pair of
    masks, the answer by metric: a number, "nan", "inf", "error", or None for no such metric.
    InputError: if it does not exist.
    """
    return page.read_record(path, "record of answers", "definitions.py")


def answer_table(report: dict) -> pd.DataFrame:
    """``program, version, DSC, NSD, HD95, ASSD`` of the two masks; NaN where there is no number."""
    rows = [
        {"program": name, "version": reported["version"]}
        | {
            t: float(np.nan if (v := reported["two masks"][m]) in (None, "error") else v)
            for m, t in METRICS.items()
        }
        for name, reported in report["programs"].items()
    ]
    return pd.DataFrame(rows)


def empty_table(report: dict) -> str:
    """DSC, NSD and HD95 of each program where a mask is empty."""
    rows = [
        {"program": f"{name} {reported['version']}"}
        | {case: ", ".join(_text(reported[case][m]) for m in list(METRICS)[:3]) for case in EMPTY}
        for name, reported in report["programs"].items()
    ]
    return markdown_table(pd.DataFrame(rows))


def _text(answer: float | str | None) -> str:
    """An answer as it is printed."""
    if isinstance(answer, float | int):
        return f"{answer:.3g}"
    return {None: "–", "nan": "NaN", "inf": "∞", "-inf": "−∞"}.get(answer, answer)


def scored(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple, *tolerances_mm: float
) -> pd.Series:
    """All metrics of two masks."""
    masks = (m.astype(np.uint8) for m in (reference, prediction))
    return metrics.score(*masks, spacing_mm=spacing_mm, values=[1], tolerances_mm=tolerances_mm).iloc[0]


def program_table(report: dict) -> str:
    """What each program prints for the two masks, this project first."""
    tau = report["tolerance_mm"]
    own = scored(*pair()[:2], report["spacing_mm"], tau)
    first = {"program": "this project", "version": __version__, "DSC": own["dice"]}
    first |= {"NSD": own[f"surface_dice_{tau:g}mm"], "HD95": own["hausdorff_95"], "ASSD": own["assd"]}
    table = pd.concat([pd.DataFrame([first]), answer_table(report)], ignore_index=True)
    numbers = table[list(METRICS.values())].map("{:.3f}".format).replace("nan", "")
    return markdown_table(table.assign(**numbers))


def state_table() -> str:
    """Metrics where the reference, the prediction or both are empty."""
    none, full = np.zeros((4, 4, 4)), np.pad(np.ones((2, 2, 2)), 1)
    rows = [scored(a, b, (1, 1, 1), 1.0) for a, b in ((none, full), (full, none), (none, none))]
    states = pd.DataFrame(rows)[["status", "dice", "surface_dice_1mm", "hausdorff_95", "assd", "rvd"]]
    words = states.map(
        lambda v: v.replace("_", " ") if isinstance(v, str) else "undefined" if np.isnan(v) else f"{v:g}"
    )
    return markdown_table(words.rename(columns=metric_title))


def ceiling_table(ceilings: pd.DataFrame) -> str:
    """What the PET grid alone allows."""
    columns = ["structure", "dice", "surface_dice_1mm", "surface_dice_5mm", "hausdorff_95"]
    shown = ceilings[columns].rename(columns=metric_title)
    return markdown_table(shown, dict.fromkeys(shown, ".3f"))


def curve_of_tolerances(voxel_mm: float, shift_mm: float) -> pd.DataFrame:
    """Scores of a kidney moved along one axis, on a grid of cubes: surface Dice over tolerances, and Dice."""
    spacing, half = (voxel_mm,) * 3, SHAPES["kidney (ellipsoid, 160 ml)"]
    shape = tuple(int(2 * (h + shift_mm) / voxel_mm) + 5 for h in half)
    kidney, moved = (ellipsoid(shape, spacing, (x, 0, 0), half) for x in (0, shift_mm))
    tolerances_mm = np.round(np.arange(0.25, 12.01, 0.25), 2).tolist()
    row = scored(kidney, moved, spacing, *tolerances_mm)
    values = [row[f"surface_dice_{tau:g}mm"] for tau in tolerances_mm]
    return pd.DataFrame({"tolerance_mm": tolerances_mm, "surface_dice": values, "dice": row["dice"]})


def printed_spans() -> tuple[dict[str, str], int]:
    """Ranges of SegAnyPET's printed median DSC and NSD of nnU-Net, and over how many organs."""
    printed = {
        name: published.read(table).query("statistic == 'median' and model == 'nnUNet'")
        for name, table in (("DSC", "seganypet_s1"), ("NSD", "seganypet_s2"))
    }
    spans = {name: f"{t['value'].min():.2f} to {t['value'].max():.2f}" for name, t in printed.items()}
    return spans, printed["DSC"]["structure"].nunique()
