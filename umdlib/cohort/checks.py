"""Checks before any score: of one image, of a pair, of a cohort."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.cohort.manifest import Cohort
from umdlib.errors import InputError
from umdlib.images.volume import Volume


def check_cohort(cohort: Cohort) -> pd.DataFrame:
    """Read every file of the cohort once.

    Returns
    -------
    pandas.DataFrame
        One row per case: subject, session, modality, shape, spacing_mm, structures (number
        present), `fault` (empty where there is none). Nothing is raised: all faults are listed.
    """
    rows = []
    for c in cohort.cases:
        row = {"subject": c.subject, "session": c.session, "modality": c.modality}
        try:
            image, reference = (c.read_image(), None) if c.reference is None else c.read()
            present = set() if reference is None else set(pd.unique(reference.data.ravel("K"))) - {0}
            row |= {
                "shape": image.shape,
                "spacing_mm": image.spacing_mm,
                "structures": len(present),
                "fault": _other_unit(image),
            }
            if reference is not None and not present:
                row["fault"] = f"Reference {c.reference} holds no structure."
        except InputError as error:
            row |= {"shape": None, "spacing_mm": None, "structures": 0, "fault": str(error)}
        rows.append(row)
    return pd.DataFrame(rows)


def _other_unit(image: Volume) -> str:
    """Why the intensities cannot be of the unit that the manifest gives; empty where they can."""
    if image.unit == "SUV" and (top := float(np.percentile(image.data[::2, ::2, ::2], 99.9))) > 500:
        return f"Image {image.name} reaches {top:.0f} in SUV: is it activity (Bq/ml)?"
    if image.unit == "HU" and (least := float(image.data.min())) >= 0:
        return f"Image {image.name} has no value below {least:.0f} HU: is an offset still in it?"
    return ""
