"""Networks that answer clicks in the page: their graphs, the images on their grid, and what runs them."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umdlib.images.volume import Volume
from umdlib.networks import inputs
from umdlib.networks.onnx_graphs import onnx_graphs
from umdlib.segmenters.systems.clicknet import padded_grid
from umdlib.viewer import vendored, web_volumes
from umdlib.weights import card

RUNTIME = "onnxruntime-web-1.30.0"
_WORKER = "click-worker.js"


@dataclass(frozen=True)
class BrowserNetwork:
    """One network as the page runs it.

    Attributes
    ----------
    name, title
        Of the segmenter, and what a reader sees.
    content
        Length of a header (4 bytes, lowest first), the header as JSON, the encoder, the decoder.
    """

    name: str
    title: str
    content: bytes


def browser_network(name: str, title: str) -> BrowserNetwork:
    """A released ClickNet as the page runs it, exported now.

    Parameters
    ----------
    name
        Of its card, such as ``"clicknet_pet"``.
    title
        What a reader sees.

    Raises
    ------
    InputError
        There is no such network, its weights do not fit its card, or the package onnx is missing.
    """
    from safetensors.numpy import load_file

    architecture = card.read(name).architecture
    encoder, decoder = onnx_graphs(load_file(card.check(name)), architecture)
    head = {"encoder": len(encoder), "decoder": len(decoder)}
    words = json.dumps(head).encode("ascii")
    return BrowserNetwork(name, title, struct.pack("<I", len(words)) + words + encoder + decoder)


def grid_record(image: Volume) -> tuple[dict, bytes]:
    """An image on the networks' grid: shape and affine, and its intensities in half precision.

    NaN where there is no image; where intensities have no scale, they are shares of the bright ones.
    Half precision moves an input of the network by at most 0.001.

    Returns
    -------
    dict
        ``shape`` (I, J, K) and ``affine`` (3 × 4, voxel to world, RAS+, mm).
    bytes
        float16 in C order, lowest byte first.
    """
    grid = padded_grid(image)
    values = inputs.interpolated(image, grid)
    if image.unit not in ("HU", "SUV"):
        values = values / inputs.bright(values)
    values = np.clip(values, -60000, 60000)
    values[~inputs.covered(image, grid)] = np.nan
    record = {"shape": list(grid.shape), "affine": np.asarray(grid.affine)[:3].tolist()}
    return record, values.astype("<f2").tobytes()


def described(
    networks: Sequence[BrowserNetwork], images: Sequence[Volume], panes: Sequence[dict]
) -> tuple[dict, dict[str, str]]:
    """What the script of a viewer knows of its networks; adds ``grid`` to the configuration of each pane.

    Returns
    -------
    dict
        ``items`` (name, title, file) and ``mb`` (10^6 bytes that asking loads).
    dict
        Name to packed content of the files.
    """
    files: dict[str, str] = {}

    def keep(content: bytes) -> str:
        name, coded = web_volumes.packed(content)
        files[name] = coded
        return name

    items = [{"name": n.name, "title": n.title, "file": keep(n.content)} for n in networks]
    for image, pane in zip(images, panes, strict=True):
        record, values = grid_record(image)
        pane["grid"] = record | {"values": keep(values)}
    size = len(runtime_script()) + sum(map(len, files.values()))
    return {"items": items, "mb": round(size / 1e6, 1)}, files


@functools.cache
def runtime_script() -> str:
    """Classic script with the packed files of onnxruntime-web and the worker that calls it.

    Raises
    ------
    InputError
        If a packed file is not the one whose hash is recorded.
    """
    lines = ["self.UMD_VOLUMES=self.UMD_VOLUMES||{};"]
    for file, known in vendored.record(RUNTIME)["files"].items():
        vendored.content(file, known["sha256"])
        lines.append(_entry(file, vendored.packed(file)))
    worker = (vendored.ASSETS / _WORKER).read_bytes()
    lines.append(_entry(_WORKER, gzip.compress(worker, 9, mtime=0)))
    return "\n".join(lines) + "\n"


def _entry(name: str, content: bytes) -> str:
    """One packed file in the script."""
    return f'self.UMD_VOLUMES["{name}"]="{base64.b64encode(content).decode("ascii")}";'
