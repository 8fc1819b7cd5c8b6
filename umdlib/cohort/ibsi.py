"""The IBSI validation set: CT, FDG PET (SUV) and T1 MR of soft-tissue sarcomas, one tumour mask each.

Source: theibsi/data_sets, from TCIA Soft-tissue-Sarcoma, doi:10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0.
"""

from __future__ import annotations

from pathlib import Path

from umdlib.cohort.pattern import import_pattern
from umdlib.labels import Structure

TUMOUR = Structure(1, "tumour", "Tumour", "Tu", "#cc79a7")


def import_ibsi(folder: str | Path, manifest: str | Path) -> Path:
    """Write a manifest for the folder of the set (``STS_001/CT_image.nii.gz``, ``…_mask.nii.gz``).

    Raises InputError as `import_pattern` does.
    """
    return import_pattern(
        folder,
        manifest,
        image="{subject}/{modality}_image.nii.gz",
        reference="{subject}/{modality}_mask.nii.gz",
        modalities={"CT": "CT", "PET": "PET", "MR_T1": "MR"},
        structures=(TUMOUR,),
    )
