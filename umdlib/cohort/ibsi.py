"""The IBSI validation set: CT, FDG PET (SUV) and T1 MR of soft-tissue sarcomas, one tumour mask each.

Source: theibsi/data_sets, from TCIA Soft-tissue-Sarcoma, doi:10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from umdlib.cohort.pattern import plan_pattern
from umdlib.cohort.plan import Plan
from umdlib.labels import Structure

TUMOUR = Structure(1, "tumour", "Tumour", "Tu", "#cc79a7")

# Session of an MR that was taken on another day than the PET and registered to it.
_APART = "petmr-apart"


def plan_ibsi(folder: str | Path, *, apart: bool = False) -> Plan:
    """Plan the set (``STS_001/CT_image.nii.gz``, ``…_mask.nii.gz``).

    Parameters
    ----------
    folder
        Of the patients.
    apart
        Whether to enrol the MR too, as session petmr-apart. It was taken days or weeks before the PET/CT
        (19 days in STS_031) and registered to it: it is not a hybrid examination, and the PET of petct is
        then enrolled a second time.
    """
    plan = plan_pattern(
        folder,
        image="{subject}/{modality}_image.nii.gz",
        reference="{subject}/{modality}_mask.nii.gz",
        modalities={"CT": "CT", "PET": "PET", "MR_T1": "MR"},
        structures=(TUMOUR,),
    )
    about = {
        "tracer": "FDG",
        "disease": "soft-tissue sarcoma",
        "licence": "CC BY 3.0",
        "citation": "10.7937/K9/TCIA.2015.7GO2GSKS",
    }
    rows = []
    for row in plan.rows:
        if row.session == "petmr" and not apart:
            if row.modality == "MR":
                plan.leave_out(row.image, "MR of another day than the PET; --apart enrols it as petmr-apart")
            continue
        session = _APART if row.session == "petmr" else row.session
        columns = about if row.modality == "PET" else {k: v for k, v in about.items() if k != "tracer"}
        rows.append(replace(row, session=session, columns=columns))
    plan.rows = rows
    plan.notes = [n for n in plan.notes if "enrolled twice" not in n]
    if apart:
        plan.notes.append(
            "petmr-apart: the MR was taken on another day than the PET and registered to it; each PET is enrolled "
            "in petct and in petmr-apart, so that its scores are not independent"
        )
    return plan
