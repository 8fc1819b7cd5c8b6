"""The other programs, each as it is shipped or as a careful user calls it."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

TOLERANCE_MM = 3.0


@dataclass(frozen=True)
class Peer:
    """One way to call one program: `score(reference, prediction, spacing_mm, values)`."""

    package: str
    score: Callable
    metrics: str
    habit: str
    speed: str


def boxes(reference, prediction, values):
    """Each structure's two masks in the smallest box around both."""
    top = max(values)
    # in memory order: several times faster
    found = [ndimage.find_objects(v.T, max_label=top) for v in (reference, prediction)]
    for value in values:
        parts = [f[value - 1] for f in found]
        if None in parts:
            continue
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*parts, strict=True)
        )[::-1]
        yield value, reference[box] == value, prediction[box] == value


def whole(reference, prediction, values):
    """Each structure's two masks in the whole volume."""
    for value in values:
        a, b = reference == value, prediction == value
        if a.any() and b.any():
            yield value, a, b


def surface_distance(masks):
    def score(reference, prediction, spacing_mm, values):
        from surface_distance import metrics as sd

        found = {"dice": {}, "surface_dice": {}, "hausdorff_95": {}, "assd": {}}
        for value, a, b in masks(reference, prediction, values):
            d = sd.compute_surface_distances(a, b, spacing_mm)
            areas = d["surfel_areas_gt"], d["surfel_areas_pred"]
            moments = (d["distances_gt_to_pred"] * areas[0], d["distances_pred_to_gt"] * areas[1])
            found["dice"][value] = sd.compute_dice_coefficient(a, b)
            found["surface_dice"][value] = sd.compute_surface_dice_at_tolerance(d, TOLERANCE_MM)
            found["hausdorff_95"][value] = sd.compute_robust_hausdorff(d, 95)
            found["assd"][value] = sum(m.sum() for m in moments) / sum(a.sum() for a in areas)
        return found

    return score


def mikan(reference, prediction, spacing_mm, values):
    from mikan import ArrayEvaluator

    found = {"dice": {}, "hausdorff_95": {}, "assd": {}}
    for value, a, b in boxes(reference, prediction, values):
        # it wants contiguous (Z, Y, X) arrays and the spacing as (X, Y, Z)
        evaluator = ArrayEvaluator(
            np.ascontiguousarray(a.T, np.uint8), np.ascontiguousarray(b.T, np.uint8), spacing_mm
        )
        row = evaluator.labels(1).metrics(["dice", "hausdorff_distance_95", "assd"])
        found["dice"][value], found["hausdorff_95"][value], found["assd"][value] = row
    return found


def monai(masks):
    def score(reference, prediction, spacing_mm, values):
        import torch
        from monai import metrics as mm

        torch.set_num_threads(1)
        found = {"dice": {}, "surface_dice": {}, "hausdorff_95": {}, "assd": {}}
        for value, a, b in masks(reference, prediction, values):
            r, p = (torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (a, b))
            space = list(spacing_mm)
            found["dice"][value] = float(mm.compute_dice(p, r))
            found["surface_dice"][value] = float(
                mm.compute_surface_dice(
                    p, r, [TOLERANCE_MM], include_background=True, spacing=space, use_subvoxels=True
                )
            )
            found["hausdorff_95"][value] = float(
                mm.compute_hausdorff_distance(
                    p, r, include_background=True, percentile=95, spacing=space
                )
            )
            found["assd"][value] = float(
                mm.compute_average_surface_distance(
                    p, r, include_background=True, symmetric=True, spacing=space
                )
            )
        return found

    return score


def simpleitk_dice(reference, prediction, spacing_mm, values):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    images = [sitk.GetImageFromArray(v.T) for v in (reference, prediction)]
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    return {"dice": {v: overlap.GetDiceCoefficient(v) for v in map(int, values)}}


def medpy(reference, prediction, spacing_mm, values):
    from medpy.metric import binary

    found = {"dice": {}, "hausdorff_95": {}, "assd": {}}
    for value, a, b in whole(reference, prediction, values):
        found["dice"][value] = binary.dc(b, a)
        found["hausdorff_95"][value] = binary.hd95(b, a, voxelspacing=spacing_mm)
        found["assd"][value] = binary.assd(b, a, voxelspacing=spacing_mm)
    return found


def pymia(reference, prediction, spacing_mm, values):
    from pymia.evaluation import metric as pm

    found = {"dice": {}, "surface_dice": {}, "hausdorff_95": {}}
    for value, a, b in whole(reference, prediction, values):
        for key, measure in (
            ("surface_dice", pm.SurfaceDiceOverlap(tolerance=TOLERANCE_MM)),
            ("hausdorff_95", pm.HausdorffDistance(percentile=95)),
        ):
            measure.reference, measure.prediction = a, b
            measure.distances = pm.Distances(a, b, spacing_mm)
            found[key][value] = measure.calculate()
        measure = pm.DiceCoefficient()
        measure.confusion_matrix = pm.ConfusionMatrix(b, a)
        found["dice"][value] = measure.calculate()
    return found


PEERS = {
    "surface-distance": Peer(
        "surface-distance", surface_distance(whole), "all", "as shipped", "fast"
    ),
    "surface-distance in boxes": Peer(
        "surface-distance", surface_distance(boxes), "all", "hand-cropped", "fast"
    ),
    "mikan-rs in boxes": Peer("mikan-rs", mikan, "no surface Dice", "hand-cropped", "fast"),
    "SimpleITK overlap": Peer("SimpleITK", simpleitk_dice, "Dice only", "as shipped", "fast"),
    "MONAI in boxes": Peer("monai", monai(boxes), "all", "hand-cropped", "medium"),
    "MONAI": Peer("monai", monai(whole), "all", "as shipped", "slow"),
    "medpy": Peer("medpy", medpy, "no surface Dice", "as shipped", "slow"),
    "pymia": Peer("pymia", pymia, "no ASSD", "as shipped", "slow"),
}

MODULES = {
    "surface-distance": "surface_distance",
    "mikan-rs": "mikan",
    "SimpleITK": "SimpleITK",
    "monai": "monai",
    "medpy": "medpy.metric.binary",
    "pymia": "pymia.evaluation.metric",
}


def installed(checkout: Path | None) -> tuple[dict[str, Peer], list[str]]:
    """The peers that can be imported, and the packages that cannot."""
    if checkout:
        sys.path.insert(0, str(checkout))
    missing = []
    for package, module in MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(package)
    return {n: p for n, p in PEERS.items() if p.package not in missing}, missing


def versions(systems: dict[str, Peer]) -> dict[str, str]:
    """Version of each package; a checkout has none."""
    found = {}
    for package in sorted({p.package for p in systems.values()}):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "checkout"
    return found


def file_calls(paths: list[Path], image, out: Path) -> dict[str, Callable]:
    """Reading and writing by other programs, where installed."""
    calls = {}
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK as sitk

        calls["read: SimpleITK"] = lambda: sitk.ReadImage(str(paths[0]))
    if importlib.util.find_spec("surface_distance"):

        def end_to_end():
            pair = [nib.load(p).get_fdata().astype(np.uint8) for p in paths]
            surface_distance(whole)(*pair, image.header.get_zooms()[:3], range(1, 14))

        calls["read both, all metrics: nibabel get_fdata + surface-distance"] = end_to_end
    return calls
