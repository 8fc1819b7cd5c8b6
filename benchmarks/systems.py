"""CPU seconds and peak memory of each system at full size with random weights, one unit of work.

    python benchmarks/systems.py                       # all that fit, one after the other
    python benchmarks/systems.py --only litemedsam sam_med3d_turbo

Each system runs in a process of its own on one thread; its network is built, then asked once. The
unit differs, as the systems do: a cube, a slice, a window. Random weights cost what trained ones do.
Results: benchmarks/results/systems.json, shown in the book's chapter on the systems.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "systems.json"
UNITS = {
    "litemedsam": "one slice and its box",
    "sam_med3d_turbo": "one click in a cube of 128 voxels",
    "medsam": "one slice and its box",
    "sam_vit_b": "one slice and its box",
    "vista3d": "one class in one window of 128 voxels",
    "vista3d_point": "one click in one window of 128 voxels",
    "nninteractive": "one click in one patch of 192 voxels",
}


def adapter(name: str):
    """The adapter around its full-size network with random weights."""
    from umdlib.segmenters import litemedsam, network, sam, sam_med3d, vista3d

    with network.seeded(0):
        if name == "litemedsam":
            return litemedsam.LiteMedSAM(litemedsam.build(), "cpu")
        if name == "sam_med3d_turbo":
            return sam_med3d.SamMed3D(sam_med3d.build(), "cpu", name=name)
        if name in ("medsam", "sam_vit_b"):
            return sam.SliceSam(sam.build("vit_b"), "cpu", name=name, medical=name == "medsam")
        if name.startswith("vista3d"):
            by = "click" if name.endswith("point") else "class"
            return vista3d.Vista3D(vista3d.build(), "cpu", by=by)
    raise SystemExit(f"{name}: its full-size network is not built here.")


def measure(name: str) -> dict:
    """One call on a volume that holds one unit of the system's work."""
    import torch

    from umdlib import geometry
    from umdlib.prompts import Box, Click, Prompt
    from umdlib.volume import Volume

    torch.set_num_threads(1)
    segment = adapter(name)
    side = 1.5 if name.startswith(("vista3d", "sam_med3d")) else 1.0
    shape = (128, 128, 128) if side == 1.5 else (256, 256, 4)
    affine = np.diag([side, side, side, 1.0])
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(60, 30, shape).astype(np.float32), affine, "HU", "noise")
    middle = tuple(geometry.to_world(affine, np.array(shape) // 2).tolist())
    low, high = np.array(middle) - (40, 40, 0.4), np.array(middle) + (40, 40, 0.4)
    prompt = Prompt("liver", (Click(middle),))
    if side == 1.0:
        prompt = Prompt("liver", box=Box(tuple(low.tolist()), tuple(high.tolist())))
    parameters = sum(p.numel() for p in segment._net.parameters())
    started, wall = time.process_time(), time.perf_counter()
    segment(image, prompt)
    return {
        "segmenter": name, "unit": UNITS[name], "million parameters": round(parameters / 1e6, 1),
        "CPU seconds": round(time.process_time() - started, 2),
        "wall seconds": round(time.perf_counter() - wall, 2),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Measure in processes of their own and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=UNITS, default=list(UNITS)[:-1])
    parser.add_argument("--here", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.here:
        print(json.dumps(measure(arguments.here)))
        return 0
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {"rows": []}
    for name in arguments.only:
        command = [sys.executable, __file__, "--here", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} failed:\n{done.stderr[-800:]}")
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        print(row, flush=True)
        rows = [r for r in known["rows"] if r["segmenter"] != name] + [row]
        order = list(UNITS)
        known["rows"] = sorted(rows, key=lambda r: order.index(r["segmenter"]))
        known |= {"machine": platform.machine(), "threads": 1, "date": time.strftime("%Y-%m-%d")}
        RESULTS.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
