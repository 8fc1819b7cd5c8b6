"""Runs in MedSAM2's environment: the script's own function on random weights, its prompt put in its place.

    python medsam2_infer.py CHECKOUT FOLDER OVERRIDES CASES

FOLDER holds ``lps.npz`` with ``imgs`` (Z, Y, X) uint8; it gets ``w.pt`` and a mask ``N.npy`` per case, each a
slice and a box (x0, y0, x1, y1) or points (x, y).
"""

from __future__ import annotations

import ast
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

CHECKOUT, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
OVERRIDES, CASES = json.loads(sys.argv[3]), json.loads(sys.argv[4])
WANTED = {"infer_3d", "resize_grayscale_to_rgb_and_resize"}


def main() -> None:
    if not torch.cuda.is_available():
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *a, **k: self
    sys.path.insert(0, str(CHECKOUT))
    from sam2.build_sam import build_sam2_video_predictor_npz

    torch.set_float32_matmul_precision("high")  # as the script does at its start
    torch.manual_seed(0)
    net = build_sam2_video_predictor_npz(
        "configs/sam2.1_hiera_t512.yaml", None, device="cpu", hydra_overrides_extra=OVERRIDES
    )
    with torch.no_grad():
        for value in net.parameters():
            value += 0.05 * torch.randn_like(value)
    torch.save({"model": net.state_dict()}, FOLDER / "w.pt")
    pictures = np.load(FOLDER / "lps.npz")["imgs"]
    for number, case in enumerate(CASES):
        mask = answered(net.eval(), pictures, case)
        np.save(FOLDER / f"{number}.npy", mask)


def answered(net, pictures: np.ndarray, case: dict) -> np.ndarray:
    """What `infer_3d` saves for a case: its line in the slice is marked, its box or points are the case's."""
    marked, kept = np.zeros(pictures.shape, np.uint8), {}
    marked[case["slice"], 0, 0] = 1

    class Arrays:
        """NumPy whose files are in memory."""

        def __getattr__(self, name):
            return getattr(np, name)

        def load(self, *args, **kwargs):
            class Loaded(dict):
                files = ()

            return Loaded(imgs=pictures, recist=marked, spacing=np.ones(3))

        def savez_compressed(self, *args, segs, **kwargs):
            kept["segs"] = segs

    scope = {
        "torch": torch,
        "np": Arrays(),
        "Image": Image,
        "time": time,
        "predictor": net,
        "basename": str,
        "join": lambda *a: a[-1],
        "pred_save_dir": "",
        "shift": 0,
        "propagate_with_box": case["box"] is not None,
        "sample_points": "from_recist_center",
        "get_diameter_bbox": lambda *a, **k: np.array(case["box"]),
        "get_center_from_recist": lambda *a, **k: np.array(case["points"], np.float32),
        "save_nifti": False,
        "save_overlay": False,
    }
    path = CHECKOUT / "medsam2_infer_CT_lesion_npz_recist.py"
    tree = ast.parse(path.read_text("utf-8"))
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in WANTED]
    exec(compile(tree, str(path), "exec"), scope)
    scope["infer_3d"]("phantom.npz")
    return kept["segs"] > 0


if __name__ == "__main__":
    main()
