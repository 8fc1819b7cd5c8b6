"""Bodies: what a promptable network sees of an image, on its working grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from umdlib.cohort.manifest import Case, Cohort
from umdlib.files import replaced
from umdlib.images import geometry
from umdlib.images.grids import isotropic_ras
from umdlib.networks.inputs import SPACING_MM, on_grid


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


def _read_body(pair: Sequence[Case]) -> Body:
    """The images and the structural reference of one examination on one working grid."""
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
            body = _read_body(pair)
            if path:
                _keep(path, body, key)
        found.append(body)
        say(f"{body.subject} {body.session}: {body.labels.shape}, {len(body.present)} structures")
    return found


def withheld(body: Body, values: Sequence[int]) -> Body:
    """A body whose structures of these label values are background, so that they are never prompted.

    Examples
    --------
    >>> body = Body("a", "petct", {}, np.arange(4, dtype=np.uint8).reshape(1, 2, 2))
    >>> withheld(body, [2]).present
    [1, 3]
    """
    hidden = np.isin(body.labels, list(values))
    return replace(body, labels=np.where(hidden, 0, body.labels).astype(body.labels.dtype))


def _keep(path: Path, body: Body, key: str) -> None:
    """Write a body to the cache, atomically: several runs may share it."""
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
