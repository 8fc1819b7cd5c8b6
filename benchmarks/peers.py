"""The other programs, each as it is shipped or as a careful user calls it."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plain
import psutil
from checkouts import commit
from scipy import ndimage

TOLERANCE_MM = 3.0


@dataclass(frozen=True)
class Peer:
    """One way to call one program: `score(reference, prediction, spacing_mm, values)`.

    `structures`: a program that takes minutes on whole volumes scores so many structures, and
    its time is scaled to all of them. `least_gb` is the memory it needs on the PET grid.
    """

    package: str
    score: Callable
    metrics: str
    habit: str
    structures: int | None = None
    least_gb: float = 1.0


def boxes(reference, prediction, values):
    """Each structure's two masks in the smallest box around both."""
    top = max(values)
    # in memory order: several times faster
    found = [ndimage.find_objects(v.T, max_label=top) for v in (reference, prediction)]
    for value in values:
        parts = [f[value - 1] for f in found]
        if None in parts:
            continue
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*parts, strict=True))[
            ::-1
        ]
        yield value, reference[box] == value, prediction[box] == value


def whole(reference, prediction, values):
    """Each structure's two masks in the whole volume."""
    for value in values:
        a, b = reference == value, prediction == value
        if a.any() and b.any():
            yield value, a, b


def by_structure(masks, compare: Callable) -> Callable:
    """A `score` that calls ``compare(a, b, spacing_mm) -> {metric: number}`` for each structure."""

    def score(reference, prediction, spacing_mm, values):
        found: dict[str, dict] = {}
        for value, a, b in masks(reference, prediction, values):
            for metric, number in compare(a, b, spacing_mm).items():
                found.setdefault(metric, {})[value] = float(number)
        return found

    return score


def surface_distance(a, b, spacing_mm) -> dict:
    from surface_distance import metrics as sd

    d = sd.compute_surface_distances(a, b, spacing_mm)
    areas = d["surfel_areas_gt"], d["surfel_areas_pred"]
    moments = (d["distances_gt_to_pred"] * areas[0], d["distances_pred_to_gt"] * areas[1])
    return {
        "dice": sd.compute_dice_coefficient(a, b),
        "surface_dice": sd.compute_surface_dice_at_tolerance(d, TOLERANCE_MM),
        "hausdorff_95": sd.compute_robust_hausdorff(d, 95),
        "assd": sum(m.sum() for m in moments) / sum(a.sum() for a in areas),
    }


def plainly(distance) -> Callable:
    return lambda a, b, spacing_mm: plain.compare(a, b, spacing_mm, TOLERANCE_MM, distance)


def mikan(a, b, spacing_mm) -> dict:
    from mikan import ArrayEvaluator

    # it wants contiguous (Z, Y, X) arrays and the spacing as (X, Y, Z)
    pair = (np.ascontiguousarray(m.T, np.uint8) for m in (a, b))
    names = ["dice", "hausdorff_distance_95", "assd"]
    row = ArrayEvaluator(*pair, spacing_mm).labels(1).metrics(names)
    return dict(zip(("dice", "hausdorff_95", "assd"), row, strict=True))


def monai(subvoxels: bool) -> Callable:
    def compare(a, b, spacing_mm):
        import torch
        from monai import metrics as mm

        torch.set_num_threads(1)
        pair = [torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (b, a)]
        shared = {"include_background": True, "spacing": list(spacing_mm)}
        distances = {
            "surface_dice": mm.compute_surface_dice(*pair, [TOLERANCE_MM], use_subvoxels=subvoxels, **shared),
            "hausdorff_95": mm.compute_hausdorff_distance(*pair, percentile=95, **shared),
            "assd": mm.compute_average_surface_distance(*pair, symmetric=True, **shared),
        }
        return {"dice": mm.compute_dice(*pair), **distances}

    return compare


def monai_dice(a, b, spacing_mm) -> dict:
    import torch
    from monai.metrics import compute_dice

    torch.set_num_threads(1)
    return {"dice": compute_dice(*(torch.from_numpy(m)[None, None] for m in (b, a)))}


def monai_one_hot(reference, prediction, spacing_mm, values) -> dict:
    """A channel for each structure and the background, as in MONAI's tutorials."""
    import torch
    from monai import metrics as mm
    from monai.networks.utils import one_hot

    torch.set_num_threads(1)
    pair = [
        one_hot(torch.from_numpy(v)[None, None], max(values) + 1, dtype=torch.uint8)
        for v in (prediction, reference)
    ]
    shared = {"include_background": False, "spacing": list(spacing_mm)}
    found = {
        "dice": mm.compute_dice(*pair, include_background=False),
        "surface_dice": mm.compute_surface_dice(
            *pair, [TOLERANCE_MM] * max(values), use_subvoxels=True, **shared
        ),
        "hausdorff_95": mm.compute_hausdorff_distance(*pair, percentile=95, **shared),
        "assd": mm.compute_average_surface_distance(*pair, symmetric=True, **shared),
    }
    return {m: {v: float(numbers[0, v - 1]) for v in values} for m, numbers in found.items()}


def simpleitk_overlap(reference, prediction, spacing_mm, values):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    images = [sitk.GetImageFromArray(v.T) for v in (reference, prediction)]
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    return {"dice": {v: overlap.GetDiceCoefficient(v) for v in map(int, values)}}


def simpleitk_maps(a, b, spacing_mm) -> dict:
    """The recipe of its notebooks: label contours and signed distance maps."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    images = [sitk.GetImageFromArray(m.T.astype(np.uint8)) for m in (a, b)]
    for image in images:
        image.SetSpacing([float(s) for s in spacing_mm])
    contours, maps = [], []
    for image in images:
        distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
        maps.append(np.abs(sitk.GetArrayFromImage(distance)))
        contours.append(sitk.GetArrayFromImage(sitk.LabelContour(image)).astype(bool))
    there, back = maps[1][contours[0]], maps[0][contours[1]]
    pooled = np.concatenate([there, back])
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    return {
        "dice": overlap.GetDiceCoefficient(),
        "surface_dice": (pooled <= TOLERANCE_MM).mean(),
        "hausdorff_95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": pooled.mean(),
    }


def bincount(reference, prediction, spacing_mm, values):
    """Dice from one joint histogram."""
    n = max(values) + 1
    pairs = reference.ravel("K").astype(np.uint16) * n + prediction.ravel("K")
    joint = np.bincount(pairs, minlength=n * n).reshape(n, n)
    sizes = joint.sum(axis=0) + joint.sum(axis=1)
    return {"dice": {v: 2 * joint[v, v] / sizes[v] for v in values if sizes[v]}}


def counted_masks(a, b, spacing_mm) -> dict:
    """Dice from true and false positives of whole masks, as nnU-Net's evaluator counts them."""
    tp, fp, fn = (a & b).sum(), (~a & b).sum(), (a & ~b).sum()
    return {"dice": 2 * tp / (2 * tp + fp + fn)}


def medpy(a, b, spacing_mm) -> dict:
    from medpy.metric import binary

    return {
        "dice": binary.dc(b, a),
        "hausdorff_95": binary.hd95(b, a, voxelspacing=spacing_mm),
        "assd": binary.assd(b, a, voxelspacing=spacing_mm),
    }


def pymia(a, b, spacing_mm) -> dict:
    from pymia.evaluation import metric as pm

    found, distances = {}, pm.Distances(a, b, spacing_mm)
    for key, measure in (
        ("surface_dice", pm.SurfaceDiceOverlap(tolerance=TOLERANCE_MM)),
        ("hausdorff_95", pm.HausdorffDistance(percentile=95)),
    ):
        measure.reference, measure.prediction, measure.distances = a, b, distances
        found[key] = measure.calculate()
    measure = pm.DiceCoefficient()
    measure.confusion_matrix = pm.ConfusionMatrix(b, a)
    return {"dice": measure.calculate(), **found}


def metrics_reloaded(a, b, spacing_mm) -> dict:
    from MetricsReloaded.metrics.pairwise_measures import BinaryPairwiseMeasures

    measures = BinaryPairwiseMeasures(
        b.astype(int), a.astype(int), pixdim=spacing_mm, dict_args={"nsd": TOLERANCE_MM, "hd_perc": 95}
    )
    _, assd, robust, _ = measures.measured_distance()
    return {
        "dice": measures.dsc(),
        "surface_dice": measures.normalised_surface_distance(),
        "hausdorff_95": robust,
        "assd": assd,
    }


def grand_challenge(a, b, spacing_mm) -> dict:
    from grand_challenge_metrics import stats

    counts = stats.calculate_confusion_matrix(a, b, [0, 1])
    return {
        "dice": stats.dice_from_confusion_matrix(counts)[1],
        "hausdorff_95": stats.hausdorff_distance_measures(
            a, b, spacing_mm, percentile=0.95
        ).percentile_distance,
        "assd": stats.mean_contour_distance(a, b, spacing_mm),
    }


def panoptica(a, b, spacing_mm) -> dict:
    from panoptica import InputType, Metric, Panoptica_Evaluator
    from panoptica.metrics import MetricMode

    wanted = {"dice": Metric.DSC, "hausdorff_95": Metric.HD95, "assd": Metric.ASSD}
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.MATCHED_INSTANCE,
        instance_metrics=[*wanted.values(), Metric.NSD],
        global_metrics=[],
    )
    pair = (m.astype(np.uint8) for m in (b, a))
    results = evaluator.evaluate(*pair, result_all=False, voxelspacing=spacing_mm)
    result = next(iter(results.values()))
    return {key: result.get_list_metric(m, MetricMode.ALL)[0] for key, m in wanted.items()}


def torchmetrics(a, b, spacing_mm) -> dict:
    import torch
    from torchmetrics.functional.segmentation import dice_score

    torch.set_num_threads(1)
    pair = (torch.from_numpy(np.ascontiguousarray(m)).long()[None] for m in (b, a))
    return {"dice": dice_score(*pair, num_classes=2, include_background=False, input_format="index")}


def scikit_image(a, b, spacing_mm) -> dict:
    from skimage.metrics import hausdorff_distance

    hausdorff_distance(a, b)  # in voxels: no number to compare
    return {}


NO_NSD, DICE = "no surface Dice", "Dice only"
CROPPED, SHIPPED = "hand-cropped", "as shipped"

PEERS = {
    "NumPy and SciPy, in boxes": Peer(
        "scipy", by_structure(boxes, plainly(plain.scipy_distance)), "all", CROPPED
    ),
    "surface-distance": Peer("surface-distance", by_structure(whole, surface_distance), "all", SHIPPED),
    "surface-distance in boxes": Peer(
        "surface-distance", by_structure(boxes, surface_distance), "all", CROPPED
    ),
    "mikan-rs in boxes": Peer("mikan-rs", by_structure(boxes, mikan), NO_NSD, CROPPED),
    "SimpleITK overlap": Peer("SimpleITK", simpleitk_overlap, DICE, SHIPPED),
    "np.bincount": Peer("numpy", bincount, DICE, CROPPED),
    "masks counted as in nnU-Net": Peer("numpy", by_structure(whole, counted_masks), DICE, SHIPPED),
    "edt in boxes": Peer("edt", by_structure(boxes, plainly(plain.edt_distance)), "all", CROPPED),
    "MONAI in boxes": Peer("monai", by_structure(boxes, monai(True)), "all", CROPPED),
    "MONAI in boxes, default surface": Peer("monai", by_structure(boxes, monai(False)), "all", CROPPED),
    "mikan-rs": Peer("mikan-rs", by_structure(whole, mikan), NO_NSD, SHIPPED, 1),
    "MONAI": Peer("monai", by_structure(whole, monai(True)), "all", SHIPPED, 1, 1.3),
    "MONAI, one-hot": Peer("monai", monai_one_hot, "all", SHIPPED, None, 10.0),
    "MONAI Dice": Peer("monai", by_structure(whole, monai_dice), DICE, SHIPPED, 1),
    "pymia": Peer("pymia", by_structure(whole, pymia), "no ASSD", SHIPPED, 1, 1.4),
    "panoptica": Peer("panoptica", by_structure(whole, panoptica), NO_NSD, SHIPPED, 1, 0.5),
    "SimpleITK maps": Peer("SimpleITK", by_structure(whole, simpleitk_maps), "all", SHIPPED, 1, 1.2),
    "scikit-image": Peer(
        "scikit-image", by_structure(whole, scikit_image), "largest distance only", SHIPPED, 1
    ),
    "torchmetrics": Peer("torchmetrics", by_structure(whole, torchmetrics), DICE, SHIPPED, 1, 1.9),
    "medpy": Peer("medpy", by_structure(whole, medpy), NO_NSD, SHIPPED, 1, 3.0),
    "grand-challenge-metrics": Peer(
        "grand-challenge-metrics", by_structure(whole, grand_challenge), NO_NSD, SHIPPED, 1, 2.9
    ),
    "MetricsReloaded": Peer("MetricsReloaded", by_structure(whole, metrics_reloaded), "all", SHIPPED, 1, 5.6),
}

MODULES = {
    "surface-distance": "surface_distance",
    "mikan-rs": "mikan",
    "SimpleITK": "SimpleITK",
    "monai": "monai",
    "edt": "edt",
    "pymia": "pymia.evaluation.metric",
    "panoptica": "panoptica",
    "scikit-image": "skimage.metrics",
    "torchmetrics": "torchmetrics.functional.segmentation",
    "medpy": "medpy.metric.binary",
    "grand-challenge-metrics": "grand_challenge_metrics.stats",
    "MetricsReloaded": "MetricsReloaded.metrics.pairwise_measures",
}

# Programs of this kind that no run includes, and why.
LEFT_OUT = {
    "seg-metrics": "sums over image objects voxel by voxel: minutes for one structure",
    "distorch": "not on PyPI; made for CUDA",
    "MeshMetrics": "not on PyPI",
    "plastimatch": "a program of its own, no Python package",
    "segmentationmetrics": "calls surface-distance",
    "miseval": "distances in voxels, no surface Dice",
}


def installed(checkouts: list[Path]) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that can be imported, and why the others are not run."""
    sys.path[:0] = [str(c.resolve()) for c in checkouts]
    absent = {}
    for package, module in MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            absent[package] = f"not installed ({error})"
    return {n: p for n, p in PEERS.items() if p.package not in absent}, absent | LEFT_OUT


def that_fit(systems: dict[str, Peer]) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that there is memory for on the PET grid, and why the others are not run."""
    free_gb = psutil.virtual_memory().available / 2**30
    large = {
        n: f"needs {p.least_gb:g} GB of memory, {free_gb:.0f} were free"
        for n, p in systems.items()
        if p.least_gb > free_gb
    }
    return {n: p for n, p in systems.items() if n not in large}, large


def versions(systems: dict[str, Peer], checkouts: list[Path]) -> dict[str, str]:
    """Version of each package, the commit of a checkout."""
    found = {}
    for package in sorted({p.package for p in systems.values()}):
        module = sys.modules.get(MODULES.get(package, package))
        file = Path(getattr(module, "__file__", None) or "/")
        checkout = next((c for c in checkouts if file.is_relative_to(c.resolve())), None)
        try:
            found[package] = f"commit {commit(checkout)}" if checkout else importlib.metadata.version(package)
        except (importlib.metadata.PackageNotFoundError, subprocess.CalledProcessError):
            found[package] = "a checkout" if checkout else "without a version"
    return found
