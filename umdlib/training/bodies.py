"""Bodies: what a promptable network sees of an image, on its working grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from umdlib.cohort.manifest import Case, Cohort
from umdlib.files import replaced
from umdlib.images import geometry
from umdlib.images.grids import Grid, isotropic_ras
from umdlib.images.volume import Volume

SPACING_MM = 8.0
OUTSIDE = -1.0  # both channels where there is no image

INTENSITY = {
    "HU": "wide: -1000 to 1000 HU; narrow: -160 to 240 HU",
    "SUV": "wide: root of SUV, 0 to 20; narrow: SUV 0 to 5",
    "a.u.": "wide: 0 to the 99.5th percentile; narrow: its root",
}


@dataclass(frozen=True)
class Body:
    """One subject's examination on the working grid.

    Attributes
    ----------
    subject, session
        As in the cohort.
    images
        Modality -> (2, I, J, K) float16, see `channels`.
    labels
        (I, J, K) uint8 or uint16, the structural reference.
    """

    subject: str
    session: str
    images: dict[str, np.ndarray]
    labels: np.ndarray

    @property
    def present(self) -> list[int]:
        """Label values that occur."""
        return [int(v) for v in np.flatnonzero(np.bincount(self.labels.ravel())) if v > 0]


def channels(values: np.ndarray, unit: str) -> np.ndarray:
    """Intensities (I, J, K) as the network's two channels, (2, I, J, K) float32 in [-1, 1].

    A wide and a narrow window, by unit alone (see `INTENSITY`), not by what the network was
    trained on.

    Examples
    --------
    >>> channels(np.array([[[-1000.0, 40.0, 240.0, 1000.0]]]), "HU")[:, 0, 0].astype(float).round(2).tolist()
    [[-1.0, 0.04, 0.24, 1.0], [-1.0, 0.0, 1.0, 1.0]]
    """
    values = np.asarray(values, np.float32)
    if unit == "HU":
        pair = values / 1000, (values - 40) / 200
    elif unit == "SUV":
        pair = 2 * np.sqrt(np.clip(values, 0, 20) / 20) - 1, values / 2.5 - 1
    else:
        top = np.percentile(values[values > 0], 99.5) if (values > 0).any() else 1.0
        share = np.clip(values / top, 0, 1)
        pair = 2 * share - 1, 2 * np.sqrt(share) - 1
    return np.clip(np.stack(pair), -1, 1).astype(np.float32)


def on_grid(image: Volume, grid: Grid) -> np.ndarray:
    """(2, I, J, K) float32: an image's channels on a working grid, `OUTSIDE` beyond the image.

    Voxels finer than the grid's are averaged in whole blocks first, then interpolated linearly.
    """
    data, affine = blocks(image, grid)
    mapping = np.linalg.inv(affine) @ grid.affine
    inside = ndimage.affine_transform(
        data, mapping[:3, :3], mapping[:3, 3], grid.shape, order=1, mode="nearest"
    )
    pair = channels(inside, image.unit)
    pair[:, ~covered(image, grid)] = OUTSIDE
    return pair


def blocks(image: Volume, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of whole voxels no larger than the grid's, and their affine."""
    target = geometry.spacing_mm(grid.affine)[0]
    step = [max(int(target / s + 0.05), 1) for s in image.spacing_mm]
    size = [n // s * s for n, s in zip(image.shape, step, strict=True)]
    if 0 in size:
        step, size = [1, 1, 1], list(image.shape)
    part = np.asarray(image.data[: size[0], : size[1], : size[2]], np.float32)
    a, b, c = (n // s for n, s in zip(size, step, strict=True))
    means = part.reshape(a, step[0], b, step[1], c, step[2]).mean(axis=(1, 3, 5))
    affine = np.array(image.affine, float)
    affine[:3, 3] = geometry.to_world(image.affine, (np.array(step) - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * step
    return means, affine


def covered(image: Volume, grid: Grid) -> np.ndarray:
    """(I, J, K) boolean: voxels of the grid whose centres lie in the image."""
    mapping = np.linalg.inv(image.affine) @ grid.affine
    inside = np.ones(grid.shape, bool)
    lines = [np.arange(n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(grid.shape)]
    for axis, n in enumerate(image.shape):
        place = sum(mapping[axis, a] * lines[a] for a in range(3)) + mapping[axis, 3]
        inside &= (place >= -0.5) & (place < n - 0.5)
    return inside


def read_body(pair: Sequence[Case]) -> Body:
    """The images and the structural reference of one examination on one working grid.

    Raises
    ------
    InputError
        As the readers of a case do.
    """
    first = next((c for c in pair if c.structural), pair[0])
    image, reference = first.read()
    grid = isotropic_ras(image, SPACING_MM)
    labels = geometry.resample(reference.data, reference.affine, grid.affine, grid.shape, order=0)
    images = {}
    for case in pair:
        volume = image if case is first else case.read_image()
        images[case.modality] = on_grid(volume, grid).astype(np.float16)
    return Body(first.subject, first.session, images, labels)


def read_bodies(
    cohort: Cohort, *, cache: str | Path | None = None, say: Callable[[str], None] = lambda s: None
) -> list[Body]:
    """All complete pairs of a cohort, kept in `cache` (one file per examination) where given."""
    found = []
    for pair in cohort.pairs():
        path = Path(cache) / f"{pair[0].subject}_{pair[0].session}.npz" if cache else None
        stats = [c.image.stat() for c in pair]
        key = f"{SPACING_MM:g} " + " ".join(f"{s.st_size}-{s.st_mtime_ns}" for s in stats)
        body = _kept(path, pair, key) if path else None
        if body is None:
            body = read_body(pair)
            if path:
                _keep(path, body, key)
        found.append(body)
        say(f"{body.subject} {body.session}: {body.labels.shape}, {len(body.present)} structures")
    return found


def withheld(body: Body, values: Sequence[int]) -> Body:
    """A body whose structures of these label values are background: never prompted in a training.

    Examples
    --------
    >>> body = Body("a", "petct", {}, np.arange(4, dtype=np.uint8).reshape(1, 2, 2))
    >>> withheld(body, [2]).present
    [1, 3]
    """
    hidden = np.isin(body.labels, list(values))
    return replace(body, labels=np.where(hidden, 0, body.labels).astype(body.labels.dtype))


def _keep(path: Path, body: Body, key: str) -> None:
    """Write a body to the cache, atomically: several trainings may share it."""
    with replaced(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, key=key, labels=body.labels, **body.images)


def _kept(path: Path, pair: Sequence[Case], key: str) -> Body | None:
    """A body from the cache if it was made from the same files."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if str(stored["key"]) != key or any(c.modality not in stored for c in pair):
            return None
        images = {c.modality: stored[c.modality] for c in pair}
        return Body(pair[0].subject, pair[0].session, images, stored["labels"])
