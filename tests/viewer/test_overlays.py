"""The error colours are one set, and nobody takes them for a structure or an image."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from umdbook.chapters import scoring
from umdbook.chapters.lesions import pictures, trial
from umdlib.labels import MODALITIES, ORGANS
from umdlib.viewer.overlays import DIFFERENCE, rgb

STRUCTURES = {s.name: s.colour for s in (*ORGANS, trial.LESIONS)}


def _apart(one, other):
    """Distance of two colours in CIELAB (1976); the two most alike organs are 20 apart."""
    return float(np.linalg.norm(np.subtract(*(rgb2lab(np.array(rgb(c)) / 255) for c in (one, other)))))


@pytest.mark.parametrize("error", DIFFERENCE)
def test_no_structure_and_no_image_has_an_error_colour(error):
    least = {name: _apart(DIFFERENCE[error], colour) for name, colour in STRUCTURES.items()}
    assert min(least.values()) >= 25, least
    images = {m.name: _apart(DIFFERENCE[error], m.colour) for m in MODALITIES.values()}
    assert min(images.values()) >= 15, images
    assert all(_apart(DIFFERENCE[error], c) > 40 for k, c in DIFFERENCE.items() if k != error)


def test_pictures_of_the_chapters_use_them():
    colours = DIFFERENCE["missed"], DIFFERENCE["added"]
    assert colours == (scoring.REFERENCE_COLOUR, scoring.PREDICTION_COLOUR)
    assert colours == (pictures.REFERENCE, pictures.PREDICTION)
