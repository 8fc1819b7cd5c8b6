"""Each adapter beside the official code: same network, same phantom, voxel by voxel.

    python benchmarks/parity.py CHECKOUTS                  # every system whose code is there
    python benchmarks/parity.py CHECKOUTS --only sat segvol
    python benchmarks/parity.py CHECKOUTS --write          # into umdlib/segmenters/parity.tsv, grid by grid
    python benchmarks/parity.py CHECKOUTS --only sat --grids "1 x 1 x 5 mm"

CHECKOUTS is a folder of checkouts named as in `SYSTEMS`; each is imported and run as it is, and
nothing of it is part of this project. Needs the extras and, for some scripts, edt,
opencv-python-headless, pytorch-ignite and fire; SegVol and SAT-Pro run in their own environments,
which are made if they are not there. The exit status is 1 where more voxels differ than a row says.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import pandas as pd
import torch
from checkouts import commit


@dataclass(frozen=True)
class System:
    """What is compared: title, official code, function, segmenters, checkout (none: a package), versions."""

    title: str
    code: str
    compare: str
    segmenters: str
    checkout: str = ""
    versions: tuple[str, ...] = ("torch",)


SYSTEMS: dict[str, System] = {
    "sam_med3d": System(
        "SAM-Med3D, SegAnyPET",
        "uni-medical/SAM-Med3D utils/infer_utils.py validate_paired_img_gt",
        "sam_med3d:compare",
        "sam_med3d_turbo seganypet_v1 seganypet_v2 seganypet_lesion",
        "SAM-Med3D",
        ("torch", "torchio", "medim"),
    ),
    "vista3d": System(
        "VISTA3D",
        "NVIDIA-Medtech/NV-Segment-CTMR NV-Segment-CT (inference.json, its evaluator and inferer)",
        "vista3d:compare",
        "vista3d vista3d_point",
        "NV-Segment-CTMR",
        ("torch", "monai"),
    ),
    "nv_segment_ctmr": System(
        "NV-Segment-CTMR",
        "NVIDIA-Medtech/NV-Segment-CTMR NV-Segment-CTMR (inference.json, its evaluator and inferer)",
        "vista3d:compare_ctmr",
        "nv_segment_ctmr",
        "NV-Segment-CTMR",
        ("torch", "monai"),
    ),
    "nninteractive": System(
        "nnInteractive",
        "the package's session on arrays read by SimpleITK",
        "nninteractive:compare",
        "nninteractive",
        "",
        ("torch", "nnInteractive", "nnunetv2"),
    ),
    "voxtell": System(
        "VoxTell",
        "the package's VoxTellPredictor on a folder and files, by nnU-Net's reader and writer",
        "voxtell:compare",
        "voxtell",
        "",
        ("torch", "voxtell", "nnunetv2"),
    ),
    "nnunet": System(
        "nnU-Net v2",
        "the package's command nnUNetv2_predict_from_modelfolder",
        "nnunet:compare",
        "nnunet",
        "",
        ("torch", "nnunetv2"),
    ),
    "nnunet_pair": System(
        "nnU-Net v2, two images",
        "the package's command nnUNetv2_predict_from_modelfolder on two channels",
        "nnunet:compare_two",
        "nnunet",
        "",
        ("torch", "nnunetv2"),
    ),
    "totalsegmentator": System(
        "TotalSegmentator",
        "wasserth/TotalSegmentator totalsegmentator/nnunet.py nnUNet_predict_image",
        "folders:compare_totalsegmentator",
        "totalsegmentator totalsegmentator_v3 totalsegmentator_mr",
        "TotalSegmentator",
        ("torch", "nnunetv2"),
    ),
    "mrsegmentator": System(
        "MRSegmentator",
        "hhaentze/MRSegmentator reader, writer and predictor of inference.py",
        "folders:compare_mrsegmentator",
        "mrsegmentator",
        "MRSegmentator",
        ("torch", "nnunetv2", "SimpleITK"),
    ),
    "moose": System(
        "MOOSE",
        "ENHANCE-PET/MOOSE moosez/workflows.py inference, its reader and writer",
        "folders:compare_moose",
        "moose",
        "MOOSE",
        ("torch", "nnunetv2", "SimpleITK"),
    ),
    "lion": System(
        "LION",
        "ENHANCE-PET/LION the steps of lionz/lionz.py lion",
        "folders:compare_lion",
        "lion lion_psma",
        "LION",
        ("torch", "nnunetv2", "SimpleITK"),
    ),
    "sam": System(
        "SAM",
        "the package's SamPredictor",
        "slices:compare_sam",
        "sam_vit_b sam_vit_l sam_vit_h",
        "",
        ("torch", "torchvision", "segment-anything"),
    ),
    "medsam": System(
        "MedSAM",
        "bowang-lab/MedSAM MedSAM_Inference.py medsam_inference",
        "slices:compare_medsam",
        "medsam",
        "MedSAM",
        ("torch", "scikit-image"),
    ),
    "litemedsam": System(
        "LiteMedSAM",
        "bowang-lab/MedSAM branch LiteMedSAM, CVPR24_LiteMedSAM_infer.py MedSAM_infer_npz_3D",
        "slices:compare_litemedsam",
        "litemedsam",
        "LiteMedSAM",
        ("torch", "opencv-python-headless"),
    ),
    "segvol": System(
        "SegVol",
        "BAAI-DCAI/SegVol inference_demo.py, in its own environment",
        "external:compare_segvol",
        "segvol",
        "SegVol",
        (),
    ),
    "medsam2": System(
        "MedSAM2",
        "bowang-lab/MedSAM2 medsam2_infer_CT_lesion_npz_recist.py infer_3d, in its own environment",
        "external:compare_medsam2",
        "medsam2",
        "MedSAM2",
        (),
    ),
    "sat": System(
        "SAT-Pro",
        "zhaoziheng/SAT inference.py main, in its own environment",
        "external:compare_sat",
        "sat_pro",
        "SAT",
        (),
    ),
}


def rows_of(name: str, checkouts: Path) -> Iterator[dict]:
    """One row per comparison of a system; prints each as it is made."""
    system = SYSTEMS[name]
    module, function = system.compare.split(":")
    compare = getattr(importlib.import_module(f"comparisons.{module}"), function)
    given = (checkouts / system.checkout,) if system.checkout else ()
    for found in compare(*given):
        differing = int((found.official != found.mine).sum())
        row = {
            "system": system.title,
            "segmenters": system.segmenters,
            "official code": system.code,
            "commit": commit(*given) if given else versions(system.versions[1:2]).split()[-1],
            "versions": versions(system.versions) or of_environment(name),
            "network": found.network,
            "grid": found.grid,
            "prompts": found.prompts,
            "voxels": found.official.size,
            "foreground": int((found.official > 0).sum()),
            "differing": differing,
            "per_foreground": round(differing / max(int((found.official > 0).sum()), 1), 6),
            "tolerance": found.tolerance,
            "why": found.why,
            "command": f"benchmarks/parity.py CHECKOUTS --only {name}",
        }
        print(
            f"{system.title:22} {found.grid:15} {found.prompts:45} differ {differing:5} of "
            f"{found.official.size}, in mask {row['foreground']}",
            flush=True,
        )
        yield row


def versions(packages: tuple[str, ...]) -> str:
    """Packages and their versions, in one phrase."""
    return ", ".join(f"{p} {metadata.version(p).partition('+')[0]}" for p in packages)


def of_environment(name: str) -> str:
    """The packages that decide, of a system's pinned list, in the versions that its environment holds."""
    file = {"sat": "sat_pro"}.get(name, name)
    text = (resources.files("umdlib.segmenters.external") / "pinned" / f"{file}.txt").read_text("utf-8")
    listed = {line.partition("==")[0] for line in text.splitlines()}
    kept = [p for p in ("monai", "torch", "transformers") if p in listed]
    worker = importlib.import_module("umdlib.segmenters.external.worker")
    python = worker.environment(file) / "venv" / "bin" / "python"
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *kept], capture_output=True, text=True, check=True)
    return ", ".join(f"{p} {v.partition('+')[0]}" for p, v in zip(kept, done.stdout.split(), strict=True))


def main(argv: list[str] | None = None) -> int:
    """Compare, print, and write the record where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", type=Path, help="folder of checkouts")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--grids", nargs="+", help="of these scenes alone, by their names in the record")
    parser.add_argument("--write", action="store_true", help="replace these systems' rows")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    exceeded = False
    common = importlib.import_module("comparisons.common")
    common.only = tuple(arguments.grids or ())
    for name in arguments.only:
        checkout = SYSTEMS[name].checkout
        if checkout and not (arguments.checkouts / checkout).is_dir():
            print(f"{SYSTEMS[name].title}: no checkout {arguments.checkouts / checkout}; left out.")
            continue
        started = time.process_time()
        rows = []
        for row in rows_of(name, arguments.checkouts):
            rows.append(row)
            exceeded |= row["differing"] > row["tolerance"]
            if arguments.write:  # a long run that is stopped keeps what it has
                write(pd.DataFrame(rows))
        print(f"{SYSTEMS[name].title}: {time.process_time() - started:.0f} CPU seconds")
        if arguments.write and not arguments.grids:
            write(pd.DataFrame(rows), all_grids=True)
    return int(exceeded)


def write(table: pd.DataFrame, *, all_grids: bool = False) -> None:
    """Put rows into the package's record, in the order of `SYSTEMS`; they replace those of their grids."""
    path = Path(str(resources.files("umdlib") / "segmenters" / "parity.tsv"))
    kept = pd.read_csv(path, sep="\t", keep_default_na=False) if path.is_file() else table[:0]
    gone = kept["system"].isin(table["system"]) & (all_grids | kept["grid"].isin(table["grid"]))
    kept = kept[~gone].reindex(columns=table.columns, fill_value="")
    order = {s.title: n for n, s in enumerate(SYSTEMS.values())}
    whole = pd.concat([kept, table]).sort_values("system", key=lambda s: s.map(order), kind="stable")
    whole.to_csv(path, sep="\t", index=False)


if __name__ == "__main__":
    sys.exit(main())
