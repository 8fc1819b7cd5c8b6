"""The tissues that the anatomy is painted with, and the structure that each belongs to."""

from __future__ import annotations

import numpy as np

from umdlib.errors import unknown_name
from umdlib.labels import ORGANS

# Tissue -> structure of umdlib.labels ("" for tissue of no structure). The position is the code.
TISSUES: dict[str, str] = {
    "air": "",
    "skin": "",
    "fat": "",
    "visceral_fat": "",
    "muscle": "",
    "cortical_bone": "",
    "marrow": "",
    "yellow_marrow": "",
    "cartilage": "",
    "disc": "",
    "cord": "",
    "csf": "",
    "grey_matter": "brain",
    "white_matter": "brain",
    "ventricle": "brain",
    "cerebellum": "brain",
    "airway": "",
    "lung": "lung",
    "lung_vessel": "lung",
    "myocardium": "heart",
    "heart_wall": "heart",
    "heart_blood": "heart",
    "aorta": "aorta",
    "vessel": "",
    "oesophagus": "esophagus",
    "oesophagus_lumen": "esophagus",
    "liver": "liver",
    "liver_vessel": "liver",
    "gall_bladder": "",
    "spleen": "spleen",
    "kidney_left_cortex": "kidney_left",
    "kidney_left_medulla": "kidney_left",
    "kidney_left_pelvis": "kidney_left",
    "kidney_right_cortex": "kidney_right",
    "kidney_right_medulla": "kidney_right",
    "kidney_right_pelvis": "kidney_right",
    "pancreas": "pancreas",
    "stomach_wall": "stomach",
    "stomach_content": "stomach",
    "stomach_gas": "stomach",
    "colon_wall": "colon",
    "colon_stool": "colon",
    "colon_gas": "colon",
    "bowel_wall": "",
    "bowel_content": "",
    "bladder": "urinary_bladder",
    "ureter": "",
    "gland": "",
    "tonsil": "",
    "thyroid": "",
    "adrenal": "",
    "eye": "",
    "prostate": "",
    "uterus": "",
    "testis": "",
    "breast": "",
    "soft": "",
    "lesion": "",
    "tooth": "",
}

CODES: dict[str, int] = {name: code for code, name in enumerate(TISSUES)}


def code(name: str) -> int:
    """Code of a tissue.

    Examples
    --------
    >>> code("air")
    0

    Raises
    ------
    InputError
        If there is no such tissue.
    """
    if name not in CODES:
        raise unknown_name("tissue", name, CODES)
    return CODES[name]


def label_of_code() -> np.ndarray:
    """Lookup table (256,) uint8: tissue code to label value of `umdlib.labels.ORGANS`."""
    value = {s.name: s.value for s in ORGANS}
    table = np.zeros(256, np.uint8)
    for name, structure in TISSUES.items():
        table[CODES[name]] = value.get(structure, 0)
    return table
