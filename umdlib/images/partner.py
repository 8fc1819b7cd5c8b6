"""The partner of an image: the other image of its examination, brought onto its grid."""

from __future__ import annotations

import numpy as np

from umdlib import labels
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import Volume

# What a partner's voxels are where its field of view ends: air, or nothing.
OUTSIDE: dict[str, float] = {"HU": -1000.0, "SUV": 0.0, "a.u.": 0.0}


def modality_of(image: Volume) -> str:
    """Modality of an image by its unit.

    Examples
    --------
    >>> modality_of(Volume(np.zeros((1, 1, 1), np.float32), np.eye(4), "SUV"))
    'PET'
    """
    return next(m.name for m in labels.MODALITIES.values() if m.unit == image.unit)


def check_place(image: Volume, partner: Volume) -> None:
    """Refuse a partner whose field does not meet the image's.

    Raises
    ------
    InputError
        The two fields lie apart along an axis of the world, with the distance in mm.
    """
    (low, high), (other_low, other_high) = _span(image), _span(partner)
    apart = np.maximum(low - other_high, other_low - high)
    if apart.max() >= 0:
        direction = ("right or left", "front or back", "head or feet")[int(apart.argmax())]
        raise InputError(
            f"Partner {partner.name} does not meet {image.name}: their fields lie {apart.max():.0f} mm apart towards "
            f"{direction}. A partner is the other image of the examination, in the image's own frame."
        )


def onto(image: Volume, partner: Volume) -> np.ndarray:
    """A partner's intensities on the grid of the image, (I, J, K) float32.

    Linear interpolation between voxel centres; `OUTSIDE` beyond the partner's field of view. A voxel of the
    image that is larger than the partner's takes the value at its centre, as nnU-Net's users resample.

    Examples
    --------
    >>> ct = Volume(np.zeros((4, 1, 1), np.float32), np.eye(4), "HU", "ct")
    >>> pet = Volume(np.array([1, 3], np.float32).reshape(2, 1, 1), np.diag([2.0, 1, 1, 1]), "SUV", "pet")
    >>> onto(ct, pet).ravel().tolist()
    [1.0, 2.0, 3.0, 0.0]
    """
    data = np.asarray(partner.data, np.float32)
    return geometry.resample(
        data, partner.affine, image.affine, image.shape, order=1, fill=OUTSIDE[partner.unit]
    )


def _span(image: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest world coordinates (3,) of an image's field."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in image.shape])).reshape(3, -1).T
    world = geometry.to_world(image.affine, corners)
    return world.min(axis=0), world.max(axis=0)
