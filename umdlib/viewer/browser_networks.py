"""This project's networks as a page runs them: their graphs, and the images on their grid.

A viewer takes them as records of `umdlib.viewer.answers` and does not know the adapters.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from umdlib.images.volume import Volume
from umdlib.networks import inputs
from umdlib.networks.onnx_graphs import onnx_graphs
from umdlib.segmenters.systems.clicknet import padded_grid
from umdlib.viewer.answers import BrowserNetwork
from umdlib.weights import card

AGREES = 0.998  # least DSC of a page's mask with Python's: half-precision images, another order of sums


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
    return BrowserNetwork(name, title, struct.pack("<I", len(words)) + words + encoder + decoder, grid_record)


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
