"""What each system costs on a GPU: full-size networks with random weights, one image, 13 structures.

    python benchmarks/gpu.py                       # all systems, under ten minutes
    python benchmarks/gpu.py --only vista3d --seconds 120
    python benchmarks/gpu.py --tiny                # the whole script on a CPU in under a minute; writes nothing

Each system runs in a process of its own and is stopped after `--seconds`; what it had done by then is
kept. Systems that foresee their prompts encode what all structures need together before the first one; they
are measured one at a time as well. The first structure of an image pays for its preparation and encoding, the
further ones show what is shared. Random weights cost what trained ones do, but for AutoZoom, which is off.
Results: benchmarks/results/gpu.json, shown in the book's chapter on the systems; without a GPU nothing is
written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from systems import adapter

RESULTS = Path(__file__).parent / "results" / "gpu.json"
TOGETHER, ALONE = "together", "one at a time"
# segmenter, and how what it encodes is encoded where it can do either
RUNS = (
    ("sam_med3d_turbo", TOGETHER),
    ("sam_med3d_turbo", ALONE),
    ("vista3d", ""),
    ("vista3d_point", ""),
    ("nninteractive", ""),
    ("medsam", TOGETHER),
    ("medsam", ALONE),
    ("sam_vit_b", TOGETHER),
    ("litemedsam", TOGETHER),
    ("litemedsam", ALONE),
)
SYSTEMS = tuple(dict.fromkeys(name for name, _ in RUNS))
SECONDS = 55
SHAPE, SPACING_MM = (256, 256, 200), 2.0  # half a metre each way, 400 mm along the body
TINY_SIDE = 24


def question(side: int | None = None):
    """Noise above 0 in a body's extent, and a prompt for each structure at a place of its own."""
    from umdlib.images import geometry
    from umdlib.images.volume import Volume
    from umdlib.labels import ORGANS
    from umdlib.prompts.prompt import Click, Prompt, box_of

    shape = np.array(SHAPE if side is None else (side,) * 3)
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(60, 30, shape).astype(np.float32), affine, "HU", "noise")
    prompts = []
    for organ in ORGANS:
        ijk = (shape * rng.uniform(0.25, 0.75, 3)).astype(int)
        click = Click(tuple(geometry.to_world(affine, ijk).tolist()))
        last = np.minimum(ijk + shape // 16, shape - 1)
        prompts.append((Prompt(organ.name, (click,)), Prompt(organ.name, box=box_of(affine, ijk, last))))
    return image, prompts


def measure(name: str, how: str, arguments: argparse.Namespace) -> dict:
    """Print a row after every structure: seconds, encoder passes, peak memory of the GPU; the last one."""
    import torch

    from umdlib import segmenters

    device, tiny = arguments.device, arguments.tiny
    image, prompts = question(TINY_SIDE if tiny else arguments.side)
    segment, passes = segmenters.get(name).tiny() if tiny else adapter(name, device), []
    session = getattr(segment, "_session", None)
    net = session.network if session else segment._net
    getattr(net, "image_encoder", net).register_forward_hook(lambda *given: passes.append(1))
    asked = [by_box if name in ("medsam", "sam_vit_b", "litemedsam") else click for click, by_box in prompts]
    seconds = []
    for prompt in asked:
        started = time.perf_counter()
        if how == TOGETHER and not seconds:
            _in_batches(segment)
            segment.foresee(image, asked)
        elif how == ALONE and not seconds:
            segment.free_memory()
        segment(image, prompt)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        row = {
            "segmenter": name,
            "encoded": how,
            "structures": len(seconds),
            "first structure s": round(seconds[0], 2),
            "further structure s": round(float(np.median(seconds[1:])), 2) if seconds[1:] else None,
            "encoder passes": len(passes),
            "peak GPU MB": round(torch.cuda.max_memory_allocated() / 1e6) if device != "cpu" else None,
        }
        print(json.dumps(row), flush=True)
    return row


def _in_batches(segment) -> None:
    """Batches on a CPU too, where a system would encode one by one."""
    holder = getattr(segment, "_memory", segment)
    holder._batch = max(holder._batch, 8)


def main(argv: list[str] | None = None) -> int:
    """Measure in processes of their own and keep the results of a GPU."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each measurement")
    parser.add_argument("--device", default="cuda", help="'cpu' tries the script; it writes nothing then")
    parser.add_argument("--side", type=int, help="voxels along each axis of a smaller image, to try it")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny networks and image, in this process, on a CPU"
    )
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.tiny:
        arguments.device = "cpu"
    if arguments.device != "cpu" and not torch.cuda.is_available():
        print("No GPU is here: torch sees none. Nothing was measured.", file=sys.stderr)
        return 1
    if arguments.here:
        measure(*arguments.here, arguments)
        return 0
    runs = [(name, how) for name, how in RUNS if name in arguments.only]
    if arguments.tiny:
        torch.set_num_threads(1)
        return 0 if all(measure(*run, arguments)["structures"] == 13 for run in runs) else 1
    rows = [row for run in runs if (row := _in_process(*run, arguments)) is not None]
    if arguments.device != "cpu":
        about = {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}
        about |= {"date": time.strftime("%Y-%m-%d"), "shape": SHAPE, "spacing_mm": SPACING_MM}
        RESULTS.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n", "utf-8")
    return 0


def _in_process(name: str, how: str, arguments: argparse.Namespace) -> dict | None:
    """The last row that a system printed within its time; None where it printed none."""
    command = [sys.executable, __file__, "--here", name, how, "--device", arguments.device]
    command += ["--side", str(arguments.side)] if arguments.side else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.seconds, check=False)
        printed, failed = done.stdout, done.returncode and done.stderr[-600:]
    except subprocess.TimeoutExpired as error:
        printed, failed = (error.stdout or b"").decode(), "stopped by its time"
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    print(lines[-1] if lines else f"{name}: nothing measured. {failed}", flush=True)
    return json.loads(lines[-1]) if lines else None


if __name__ == "__main__":
    sys.exit(main())
