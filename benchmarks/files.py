"""Reading and writing of label maps, and the whole way from two files to all metrics."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import phantom
import timing

from umdlib.images import volume


def inflate_in_cache(path: Path, piece: bytearray) -> None:
    """Inflate a file into one small buffer that stays in the cache: what no reader can undercut."""
    from zlib_ng import gzip_ng

    with open(path, "rb") as file:
        stream = gzip_ng._GzipReader(file, 1 << 19)
        while stream.readinto(piece):
            pass


def file_calls(paths: list[Path], label_map, out: Path) -> dict:
    """Reading and writing, by task and system.

    What is read was written by nibabel (zlib, level 1), as most label maps are. How fast a file is
    inflated depends on who deflated it: runs whose matches lie one byte back, as isal and the higher
    levels of zlib write them, take some inflaters three times as long. So files of this project's
    are read too.
    """
    own = out.with_name("own.nii.gz")
    volume.write_label_map(own, label_map)
    image = nib.Nifti1Image(label_map.data, label_map.affine)
    calls = {
        "read: umdlib": lambda: volume.read_label_map(paths[0]),
        "read: umdlib, values checked": lambda: volume.read_label_map(paths[0], values=tuple(range(1, 14))),
        "read what umdlib wrote: umdlib": lambda: volume.read_label_map(own),
        "read what umdlib wrote: nibabel dataobj": lambda: np.asanyarray(nib.load(own).dataobj),
        "read: nibabel dataobj": lambda: np.asanyarray(nib.load(paths[0]).dataobj),
        "read: nibabel get_fdata": lambda: nib.load(paths[0]).get_fdata(),
        "write: umdlib": lambda: volume.write_label_map(out, label_map),
        "write: nibabel": lambda: nib.save(image, out.with_name("nibabel.nii.gz")),
    }
    if importlib.util.find_spec("zlib_ng"):
        piece = bytearray(1 << 18)
        calls["read: inflating alone, in the cache"] = lambda: inflate_in_cache(paths[0], piece)
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK as sitk

        picture = sitk.GetImageFromArray(label_map.data.T)
        calls["read what umdlib wrote: SimpleITK"] = lambda: sitk.ReadImage(str(own))
        calls["read: SimpleITK"] = lambda: sitk.ReadImage(str(paths[0]))
        calls["write: SimpleITK"] = lambda: sitk.WriteImage(
            picture, str(out.with_name("SimpleITK.nii.gz")), useCompression=True
        )
    return calls


def way_calls(grid: str, paths: list[Path], own_scores, values, systems: dict) -> dict:
    """From two files to all metrics; on the larger grid only what takes seconds."""
    spacing_mm = tuple(round(float(s), 5) for s in nib.load(paths[0]).header.get_zooms()[:3])

    def by_nibabel(system: str, load):
        pair = [np.asanyarray(load(nib.load(p))) for p in paths]
        return systems[system].score(*pair, spacing_mm, values)

    def own():
        pair = [volume.read_label_map(p) for p in paths]
        return own_scores(*(p.data for p in pair), pair[0].spacing_mm, values)

    calls = {"umdlib": own}
    if "surface-distance" in systems and grid == "PET":
        calls["nibabel get_fdata + surface-distance"] = lambda: by_nibabel(
            "surface-distance", lambda i: i.get_fdata().astype(np.uint8)
        )
        calls["nibabel dataobj + surface-distance in boxes"] = lambda: by_nibabel(
            "surface-distance in boxes", lambda i: i.dataobj
        )
    if "mikan-rs in boxes" in systems and importlib.util.find_spec("SimpleITK"):
        import SimpleITK as sitk

        calls["SimpleITK + mikan-rs in boxes"] = lambda: systems["mikan-rs in boxes"].score(
            *(sitk.GetArrayFromImage(sitk.ReadImage(str(p))).T for p in paths), spacing_mm, values
        )
    return {f"read both, all metrics: {name}": call for name, call in calls.items()}


def compare_files(grid, quality, own_scores, values, systems, repeats, rng, *, tasks=True):
    """One row per task and system; reading and writing only where `tasks`."""
    pair = phantom.reference(grid), phantom.prediction(grid, quality)
    affine = np.diag([*phantom.GRIDS[grid][1], 1.0])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.nii.gz" for name in ("reference", "prediction")]
        for path, data in zip(paths, pair, strict=True):
            nib.save(nib.Nifti1Image(data, affine), path)
        out = Path(folder) / "umdlib.nii.gz"
        calls = way_calls(grid, paths, own_scores, values, systems)
        if tasks:
            calls |= file_calls(paths, volume.LabelMap(pair[0], affine), out)
        _, seconds = timing.measure(calls, repeats, rng)
        sizes = {p.name.split(".")[0]: p.stat().st_size for p in Path(folder).iterdir()}
    rows = []
    for name, s in seconds.items():
        task, system = name.split(": ")
        written = sizes.get(system) if task == "write" else None
        rows.append(
            {
                "grid": grid,
                "quality": quality,
                "task": task,
                "system": system,
                "seconds": s,
                "ratio": s / seconds[f"{task}: umdlib"],
                "bytes": written,
            }
        )
    return rows
