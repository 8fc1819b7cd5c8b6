"""LiteMedSAM's image encoder computed in other ways: CPU seconds a slice, and what becomes of its masks.

    python benchmarks/encoder.py                # ONNX Runtime's row where the package is installed

Published weights, one thread. Slices through organs of the CT that the networks' positive control has, each with the
box of the reference; masks are compared with those of the plain encoder.
Results: benchmarks/results/encoder.json, shown in the book's chapter on the systems.
"""

from __future__ import annotations

import copy
import json
import platform
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "encoder.json"
ORGANS = (1, 3, 5, 6)


def examples():
    """Pictures of slices through the middle of organs of a CT, and the box of the organ in each."""
    from umdlib.canaries import controls
    from umdlib.images.volume import Volume
    from umdlib.segmenters.preparation import slices

    image, reference = controls.body()["CT"]
    stack = slices.axial(Volume(slices.grey(image), image.affine))
    labels = slices.oriented(reference.data, image.affine, "LPS")[0].T
    for value in ORGANS:
        where = np.flatnonzero((labels == value).any(axis=(1, 2)))
        z = int(where[len(where) // 2])
        rows, columns = np.nonzero(labels[z] == value)
        yield stack.data[z], (columns.min(), rows.min(), columns.max(), rows.max())


def onnx_runtime(encoder, example):
    """The encoder as ONNX Runtime computes it on one thread; None where that is not installed."""
    import tempfile

    import torch

    try:
        import onnxruntime
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "encoder.onnx")
        torch.onnx.export(encoder, (example,), path, opset_version=17, dynamo=False, input_names=["x"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def ways(encoder, example) -> dict:
    """Name of a way to compute the encoder -> a function of its input."""
    import torch

    from umdlib.segmenters.systems import litemedsam

    last, both = torch.channels_last, litemedsam.folded(encoder)
    moved = copy.deepcopy(encoder).to(memory_format=last)
    fold = copy.deepcopy(both).to(memory_format=torch.contiguous_format)
    found = {
        "as published": encoder,
        "channels last": lambda x: moved(x.contiguous(memory_format=last)),
        "batch normalisation folded": fold,
        "folded, channels last": lambda x: both(x.contiguous(memory_format=last)),
        "folded, ONNX Runtime": onnx_runtime(fold, example),
    }
    return {name: way for name, way in found.items() if way is not None}


def main() -> None:
    """Time each way and compare its masks."""
    import torch

    from umdlib.segmenters.preparation import slices
    from umdlib.segmenters.systems import litemedsam

    torch.set_num_threads(1)
    segment = litemedsam.load()
    shown = [(picture, box, *litemedsam._tensor_of(picture)) for picture, box in examples()]
    rows, plain = [], None
    with torch.inference_mode():
        for name, way in ways(litemedsam.published().eval().image_encoder, shown[0][2].contiguous()).items():
            masks, seconds = [], []
            for picture, box, tensor, inner in shown:
                started = time.process_time()
                code = way(tensor.contiguous())
                seconds.append(time.process_time() - started)
                encoded = slices.Encoded(code, picture.shape, inner)
                masks.append(segment._decode(encoded, litemedsam._scaled_box(box, picture.shape)))
            plain = masks if plain is None else plain
            differ = sum(int((a != b).sum()) for a, b in zip(masks, plain, strict=True))
            row = {"way": name, "cpu_seconds": round(min(seconds), 2), "differing_voxels": differ}
            rows.append(row | {"foreground_voxels": sum(int(m.sum()) for m in plain), "slices": len(masks)})
            print(rows[-1], flush=True)
    made = {"processor": platform.machine(), "torch": torch.__version__, "rows": rows}
    RESULTS.write_text(json.dumps(made, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
