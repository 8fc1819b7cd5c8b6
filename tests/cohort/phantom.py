"""A coarse body with the 13 organs at plausible places and sizes, for trees of files that tests make."""

import functools
from pathlib import Path

import numpy as np

from umdlib.images.volume import LabelMap, Volume, write_label_map, write_volume
from umdlib.labels import ORGANS

# Centre (x right, y front, z up) and full size in mm of each organ's ellipsoid.
PLACES = {
    "liver": ((60, 20, 0), (170, 140, 120)),
    "kidney_left": ((-60, -50, -60), (60, 60, 110)),
    "kidney_right": ((60, -50, -80), (60, 60, 110)),
    "brain": ((0, 0, 470), (140, 160, 120)),
    "heart": ((-20, 30, 120), (110, 100, 100)),
    "spleen": ((-100, -20, 10), (60, 80, 100)),
    "aorta": ((-10, -40, 20), (30, 30, 300)),
    "lung": ((80, 0, 150), (110, 150, 200)),
    "colon": ((0, 50, -130), (200, 50, 60)),
    "urinary_bladder": ((0, 20, -250), (90, 80, 80)),
    "pancreas": ((-10, 20, -50), (120, 40, 40)),
    "esophagus": ((0, -10, 190), (25, 25, 160)),
    "stomach": ((-70, 50, -20), (100, 70, 80)),
}
CT_GRID = (np.array([[-8.0, 0, 0, 180], [0, 8.0, 0, -130], [0, 0, 8.0, -340], [0, 0, 0, 1]]), (46, 33, 112))
PET_GRID = (
    np.array([[10.0, 0, 0, -180], [0, 10.0, 0, -130], [0, 0, 10.0, -340], [0, 0, 0, 1]]),
    (37, 27, 90),
)


def organs(grid, names=tuple(PLACES)):
    """Name -> mask, without overlaps: the first one keeps a voxel. Drawn once for each grid."""
    return dict(_drawn(grid[0].tobytes(), grid[1], names))


@functools.cache
def _drawn(affine, shape, names):
    affine = np.frombuffer(affine).reshape(4, 4)
    ijk = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    xyz = ijk @ affine[:3, :3].T + affine[:3, 3]
    free, masks = np.ones(shape, bool), {}
    for name in names:
        centre, size = map(np.array, PLACES[name])
        mask = ((2 * (xyz - centre) / size) ** 2).sum(axis=-1) <= 1
        masks[name] = mask & free
        masks[name].setflags(write=False)
        free &= ~mask
    return masks


def image(grid, modality, seed=0):
    """CT in HU, MR or PET in SUV of the body."""
    affine, shape = grid
    rng = np.random.default_rng(seed)
    air, body = {"CT": (-1000, 20), "MR": (0, 100), "PET": (0.02, 0.6)}[modality]
    ijk = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    xyz = ijk @ affine[:3, :3].T + affine[:3, 3]
    width = np.where(xyz[..., 2] > 330, 0.55, 1.0)
    data = np.full(shape, float(air))
    data[(xyz[..., 0] / (165 * width)) ** 2 + (xyz[..., 1] / (115 * width)) ** 2 < 1] = body
    if modality == "PET":  # fat under the skin takes up little
        data[
            (data == body) & ((xyz[..., 0] / (150 * width)) ** 2 + (xyz[..., 1] / (100 * width)) ** 2 > 1)
        ] = 0.25
    for number, mask in enumerate(organs(grid).values()):
        data[mask] = {"CT": 40 + 4 * number, "MR": 150 + 15 * number, "PET": 1.5 + 0.4 * number}[modality]
    data += rng.normal(0, 0.02 * abs(body), shape)
    return Volume(data.astype(np.float32), affine, {"CT": "HU", "MR": "a.u.", "PET": "SUV"}[modality])


def write_image(path, grid, modality, scale=1.0, seed=0):
    """Write an image of the body."""
    made = image(grid, modality, seed)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, Volume(made.data * np.float32(scale), made.affine, made.unit))


def write_labels(path, grid, values):
    """Write a label map: name -> value, or name -> several values in slabs along z (lobes, chambers)."""
    data = np.zeros(grid[1], np.uint8)
    for name, mask in organs(grid).items():
        wanted = values.get(name, ())
        wanted = (wanted,) if isinstance(wanted, int) else wanted
        for part, value in zip(parts(mask, len(wanted)), wanted, strict=True):
            data[part] = value
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_label_map(path, LabelMap(data, grid[0]))


def write_mask(path, grid, mask):
    """Write one mask as 0 and 1."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_label_map(path, LabelMap(mask.astype(np.uint8), grid[0]))


def parts(mask, n):
    """A mask in n slabs along its last axis."""
    if n == 0:
        return []
    k = np.flatnonzero(mask.any(axis=(0, 1)))
    edges = np.array_split(k, n)
    found = []
    for edge in edges:
        piece = np.zeros_like(mask)
        piece[:, :, edge] = mask[:, :, edge]
        found.append(piece)
    return found


VALUE = {s.name: s.value for s in ORGANS}
