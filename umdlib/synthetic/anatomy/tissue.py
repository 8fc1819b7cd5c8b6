"""The tissues that the anatomy is painted with, and the structure that each belongs to."""

from __future__ import annotations

import numpy as np

from umdlib.labels import ORGANS
from umdlib.synthetic.literature import TISSUE

CODES: dict[str, int] = {name: code for code, name in enumerate(TISSUE)}


def label_of_code() -> np.ndarray:
    """Lookup table (256,) uint8: tissue code to label value of `umdlib.labels.ORGANS`."""
    value = {s.name: s.value for s in ORGANS}
    table = np.zeros(256, np.uint8)
    for name, record in TISSUE.items():
        table[CODES[name]] = value.get(record.structure, 0)
    return table
