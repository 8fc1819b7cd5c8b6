"""CPU seconds and peak memory of each system at full size with random weights, one unit of work.

    python benchmarks/systems.py                       # all that fit, one after the other
    python benchmarks/systems.py --only litemedsam sam_med3d_turbo

Each system runs in a process of its own on one thread; its network is built, then asked once. The
unit differs, as the systems do: a cube, a slice, a window. Random weights cost what trained ones do.
Results: benchmarks/results/systems.json, shown in the book's chapter on the systems.
"""

from __future__ import annotations

import argparse
import copy
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
    "nninteractive": "one click in one patch of 192 voxels, without zoom",
    "nnunet": "one patch of 128 voxels, network alone",
    "segresnet": "one patch of 128 voxels, network alone",
    "stunet": "one patch of 128 voxels, network alone",
    "swinunetr": "one patch of 128 voxels, network alone",
}

# Asked for one patch directly: nnU-Net's predictor around them only cuts patches and adds them up.
PATCHED = ("nnunet", "segresnet", "stunet", "swinunetr")
HEADS = 14

# Stages of nnU-Net's plans at full size: its plain U-Net, and nnInteractive's residual encoder.
FEATURES = [32, 64, 128, 256, 320, 320]
BLOCKS = [1, 3, 4, 6, 6, 6]


def adapter(name: str, device: str = "cpu"):
    """The adapter around its full-size network with random weights."""
    from umdlib.segmenters.preparation import network
    from umdlib.segmenters.preparation.nnunet import tiny_plans
    from umdlib.segmenters.systems import litemedsam, nninteractive, sam, sam_med3d, vista3d

    with network.seeded(0):
        if name == "litemedsam":
            return litemedsam.LiteMedSAM(litemedsam.build(), device)
        if name == "sam_med3d_turbo":
            return sam_med3d.SamMed3D(sam_med3d.build(), device, name=name)
        if name in ("medsam", "sam_vit_b"):
            return sam.SliceSam(sam.build("vit_b"), device, name=name, medical=name == "medsam")
        if name.startswith("vista3d"):
            by = "click" if name.endswith("point") else "class"
            return vista3d.Vista3D(vista3d.build(), device, by=by)
        if name == "nninteractive":
            session = nninteractive.random_session(full_size(tiny_plans()), device=device)
            return nninteractive.NnInteractive(session)
    raise SystemExit(f"{name}: its full-size network is not built here.")


def full_size(plans: dict) -> dict:
    """nnInteractive's published network and patch in the tiny plans."""
    made = copy.deepcopy(plans)
    configuration = made["configurations"]["tiny"]
    configuration["patch_size"] = [192] * 3
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": 6,
        "features_per_stage": FEATURES,
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "n_blocks_per_stage": BLOCKS,
        "n_conv_per_stage_decoder": [1] * 5,
    }
    return made


def patch_network(name: str):
    """A specialist's full-size network with random weights."""
    from torch import nn

    from umdlib.networks.specialists import BUILD
    from umdlib.segmenters.preparation.network import seeded

    with seeded(0):
        if name in BUILD:
            return BUILD[name](1, HEADS).eval()
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        return PlainConvUNet(
            1,
            6,
            FEATURES,
            nn.Conv3d,
            3,
            [1, 2, 2, 2, 2, 2],
            2,
            HEADS,
            2,
            conv_bias=True,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        ).eval()


def work(name: str):
    """What is timed, and the network's millions of parameters."""
    import torch

    if name in PATCHED:
        net = patch_network(name)
        patch = torch.zeros(1, 1, 128, 128, 128)

        def call():
            with torch.inference_mode():
                net(patch)

        return call, millions(net)
    segment = adapter(name)
    image, prompt = question(name)
    session = getattr(segment, "_session", None)
    return lambda: segment(image, prompt), millions(session.network if session else segment._net)


def millions(net) -> float:
    """Parameters."""
    return sum(p.numel() for p in net.parameters()) / 1e6


def question(name: str):
    """A volume that holds one unit of the system's work, and a prompt."""
    from umdlib.images import geometry
    from umdlib.images.volume import Volume
    from umdlib.prompts.prompt import Box, Click, Prompt

    cube = {"nninteractive": 192}.get(name, 128 if name.startswith(("vista3d", "sam_med3d")) else 0)
    side = 1.5 if cube else 1.0
    shape = (cube,) * 3 if cube else (256, 256, 4)
    affine = np.diag([side, side, side, 1.0])
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(60, 30, shape).astype(np.float32), affine, "HU", "noise")
    middle = tuple(geometry.to_world(affine, np.array(shape) // 2).tolist())
    if cube:
        return image, Prompt("liver", (Click(middle),))
    low, high = np.array(middle) - (40, 40, 0.4), np.array(middle) + (40, 40, 0.4)
    return image, Prompt("liver", box=Box(tuple(low.tolist()), tuple(high.tolist())))


def measure(name: str) -> dict:
    """One call, or one patch through the network."""
    import torch

    torch.set_num_threads(1)
    call, parameters = work(name)
    started, wall = time.process_time(), time.perf_counter()
    call()
    return {
        "segmenter": name,
        "unit": UNITS[name],
        "million parameters": round(parameters, 1),
        "CPU seconds": round(time.process_time() - started, 2),
        "wall seconds": round(time.perf_counter() - wall, 2),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure in processes of their own and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=UNITS, default=list(UNITS))
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
