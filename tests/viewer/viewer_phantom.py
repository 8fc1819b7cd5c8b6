"""A small paired subject for the viewer's tests: ellipsoids on two grids of different spacing."""

import base64
import functools
import gzip

import numpy as np

from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import ORGANS
from umdlib.prompts.prompt import Click
from umdlib.viewer.pair import Pair, Pane, Prediction, install

# name: centre (RAS+, mm), radii (mm), HU, SUV
PARTS = {
    "liver": ((45, 5, 20), (42, 35, 40), 60, 2.4),
    "spleen": ((-55, -15, 20), (20, 22, 30), 50, 1.9),
    "heart": ((-15, 15, 95), (32, 30, 34), 40, 4.5),
    "brain": ((0, 0, 220), (55, 60, 45), 35, 8.0),
    "urinary_bladder": ((0, 20, -90), (24, 22, 22), 10, 12.0),
}
STRUCTURES = tuple(s for s in ORGANS if s.name in PARTS)
CT_AFFINE = np.array([[-4.0, 0, 0, 120], [0, 4, 0, -100], [0, 0, 6, -150], [0, 0, 0, 1]])
PET_AFFINE = np.array([[5.0, 0, 0, -140], [0, 5, 0, -120], [0, 0, 5, -150], [0, 0, 0, 1]])
CT_GRID, PET_GRID = (CT_AFFINE, (61, 51, 72)), (PET_AFFINE, (57, 49, 86))
# Of a page of a site, before its figures.
HEAD = (
    '<!doctype html><html lang="en" data-content_root="../"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><title>t</title>'
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="../_static/umd-viewer.css">'
    '<script src="../_static/umd-viewer.js"></script>'
)


def inside(grid, centre, radii, scale=1.0):
    affine, shape = grid
    xyz = geometry.to_world(affine, np.moveaxis(np.indices(shape), 0, -1))
    return (((xyz - centre) / (np.asarray(radii) * scale)) ** 2).sum(axis=-1) <= 1


@functools.cache
def pane(modality, *, segmenters=("region", "threshold"), steps=2):
    grid = CT_GRID if modality == "CT" else PET_GRID
    rng = np.random.default_rng(7)
    body = inside(grid, (0, 0, 60), (95, 75, 300))
    data = np.where(body, 20.0, -1000.0) if modality == "CT" else np.where(body, 0.6, 0.0)
    reference = np.zeros(grid[1], np.uint8)
    for structure in STRUCTURES:
        centre, radii, hu, suv = PARTS[structure.name]
        mask = inside(grid, centre, radii)
        data[mask] = hu if modality == "CT" else suv
        reference[mask] = structure.value
    noise = rng.normal(0, 12 if modality == "CT" else 0.05, grid[1])
    data = np.where(body, data + noise, data)
    image = Volume(data.astype(np.float32), grid[0], "HU" if modality == "CT" else "SUV", modality)
    predictions = []
    for k, segmenter in enumerate(segmenters):
        for step in range(steps):
            masks, dice, clicks = {}, {}, {}
            for structure in STRUCTURES:
                centre, radii, *_ = PARTS[structure.name]
                shift = np.array([10.0 - 6 * step, 6.0 * k, 0])
                scale = 0.9 + 0.05 * step
                masks[structure.name] = found = inside(grid, centre + shift, radii, scale)
                wanted = reference == structure.value
                dice[structure.name] = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
                given = [Click(tuple(map(float, centre)))]
                given += [Click((centre[0] + 38.0, *map(float, centre[1:])), positive=False)] * step
                clicks[structure.name] = tuple(given)
            predictions.append(Prediction(segmenter, masks, step, dice, clicks))
    return Pane(modality, image, LabelMap(reference, grid[0]), tuple(predictions), title=modality)


def pair(**options):
    panes = (pane("CT"), pane("PET"))
    defaults = {"title": "Phantom", "name": "phantom", "structure": "liver", "spacing_mm": 5.0}
    return Pair(panes, STRUCTURES, **(defaults | options))


def fine(spacing):
    """A ball of 12 mm in a body of 80 mm, in voxels of one size."""
    shape = (round(80 / spacing),) * 3
    affine = np.diag([spacing, spacing, spacing, 1.0])
    place = np.stack(np.indices(shape), -1) * spacing
    away = np.linalg.norm(place - 40, axis=-1)
    image = Volume(np.where(away < 38, 40.0, -1000.0).astype(np.float32), affine, "HU", "CT")
    return Pane("CT", image, LabelMap((away < 12).astype(np.uint8) * STRUCTURES[0].value, affine))


def write_page(folder, figures):
    """A page of a site with figures whose files lie in its folder ``umd``."""
    install(folder / "_static", folder / "umd")
    page = folder / "results" / "page.html"
    page.parent.mkdir()
    page.write_text(HEAD + figures, "utf-8")
    return page


def page_grid(packed):
    """Shape and affine (3, 4) of an image as a page has it."""
    header = gzip.decompress(base64.b64decode(packed))[:352]
    return np.frombuffer(header[42:48], "<i2"), np.frombuffer(header[280:328], "<f4").reshape(3, 4)
