"""Names of systems and structures for a reader of the published track."""

from __future__ import annotations

from umdlib.labels import ORGANS

# Our identifier of each system in the papers -> its name.
MODELS: dict[str, str] = {
    "sam_med3d_turbo": "SAM-Med3D",
    "nninteractive": "nnInteractive",
    "segvol": "SegVol",
    "vista3d": "VISTA3D",
    "sat_pro": "SAT",
    "nnunet": "nnU-Net",
    "segresnet": "SegResNet",
    "stunet": "STU-Net",
    "swinunetr": "SwinUNETR",
    "sam": "SAM",
    "medsam": "MedSAM",
    "seganypet": "SegAnyPET",
    "seganypet_lesion": "SegAnyPET-Lesion",
}
STRUCTURES: dict[str, str] = {
    **{o.name: o.title for o in ORGANS},
    "average": "Average",
    "lung_lobe": "Lung lobes",
    "lymphoma": "Lymphoma",
    "lung_cancer": "Lung cancer",
    "prostate_carcinoma": "Prostate carcinoma",
}
