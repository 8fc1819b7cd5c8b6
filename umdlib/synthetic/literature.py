"""Literature values of the synthetic cohort: volumes, CT numbers, FDG uptake, MR signal."""

from __future__ import annotations

from dataclasses import dataclass

# Key -> citation with DOI.
SOURCES: dict[str, str] = {
    "icrp89": "ICRP 2002. Basic anatomical and physiological data: reference values. Publication 89. "
    "doi 10.1016/S0146-6453(03)00002-2",
    "wang2007": "Wang Y et al. 2007. Standardized uptake value atlas. Mol Imaging Biol 9:83. "
    "doi 10.1007/s11307-006-0075-y",
    "dias2022": "Dias AH et al. 2022. Normal values for 18F-FDG uptake in organs and tissues. "
    "EJNMMI Res 12:15. doi 10.1186/s13550-022-00884-0",
    "schneider1996": "Schneider U et al. 1996. The calibration of CT Hounsfield units for "
    "radiotherapy treatment planning. Phys Med Biol 41:111. doi 10.1088/0031-9155/41/1/009",
    "jakoby2011": "Jakoby BW et al. 2011. Physical and clinical performance of the mCT. "
    "Phys Med Biol 56:2375. doi 10.1088/0031-9155/56/8/004",
    "delso2011": "Delso G et al. 2011. Performance measurements of the Siemens mMR. J Nucl Med "
    "52:1914. doi 10.2967/jnumed.111.092726",
}


@dataclass(frozen=True)
class VolumeRecord:
    """Volume of an organ in adults: log-normal around `ml` for a man of 172 cm, cut to a range."""

    ml: float
    log_sd: float
    low: float
    high: float
    female: float = 0.9
    size_power: float = 0.6
    source: str = "icrp89"


VOLUMES: dict[str, VolumeRecord] = {
    "liver": VolumeRecord(1600, 0.14, 1050, 2200, 0.88),
    "kidney_left": VolumeRecord(160, 0.13, 110, 215, 0.88),
    "kidney_right": VolumeRecord(155, 0.13, 105, 210, 0.88),
    "brain": VolumeRecord(1380, 0.06, 1150, 1600, 0.9, 0.1),
    "heart": VolumeRecord(690, 0.12, 480, 920, 0.82),
    "spleen": VolumeRecord(180, 0.25, 90, 330, 0.85),
    "aorta": VolumeRecord(170, 0.15, 100, 260, 0.75),
    "urinary_bladder": VolumeRecord(190, 0.35, 80, 400, 0.95, 0.0),
    "pancreas": VolumeRecord(95, 0.18, 60, 140, 0.88),
    "esophagus": VolumeRecord(38, 0.12, 26, 52, 0.85),
    "stomach": VolumeRecord(300, 0.22, 170, 480, 0.92),
    "gall_bladder": VolumeRecord(30, 0.3, 12, 60, 0.95, 0.0),
}


@dataclass(frozen=True)
class UptakeRecord:
    """FDG uptake 60 min after injection, SUV (body weight): log-normal, cut to a range."""

    suv: float
    log_sd: float
    low: float
    high: float
    source: str = "wang2007"


UPTAKE: dict[str, UptakeRecord] = {
    "liver": UptakeRecord(2.25, 0.14, 1.6, 3.1),
    "blood": UptakeRecord(1.6, 0.12, 1.15, 2.2),
    "spleen": UptakeRecord(1.8, 0.13, 1.3, 2.5),
    "grey_matter": UptakeRecord(9.0, 0.16, 6.5, 13.0),
    "white_matter": UptakeRecord(3.0, 0.14, 2.2, 4.2),
    "kidney_cortex": UptakeRecord(2.8, 0.14, 2.0, 4.0),
    "kidney_medulla": UptakeRecord(3.2, 0.18, 2.1, 4.8),
    "kidney_pelvis": UptakeRecord(9.0, 0.4, 4.0, 20.0),
    "bladder": UptakeRecord(18.0, 0.45, 7.0, 40.0),
    "lung": UptakeRecord(0.5, 0.14, 0.36, 0.7),
    "muscle": UptakeRecord(0.7, 0.13, 0.5, 0.95),
    "fat": UptakeRecord(0.25, 0.15, 0.17, 0.36),
    "marrow": UptakeRecord(1.45, 0.18, 0.9, 2.2),
    "cortical_bone": UptakeRecord(0.4, 0.15, 0.28, 0.56),
    "pancreas": UptakeRecord(1.5, 0.13, 1.1, 2.1),
    "oesophagus": UptakeRecord(1.75, 0.15, 1.2, 2.5),
    "stomach_wall": UptakeRecord(2.3, 0.18, 1.5, 3.4),
    "colon_wall": UptakeRecord(1.7, 0.28, 0.95, 3.2),
    "bowel_wall": UptakeRecord(1.5, 0.22, 0.9, 2.5),
    "gland": UptakeRecord(1.8, 0.22, 1.1, 2.9),
    "tonsil": UptakeRecord(3.2, 0.3, 1.6, 6.0),
    "thyroid": UptakeRecord(1.4, 0.2, 0.9, 2.2),
    "testis": UptakeRecord(2.4, 0.2, 1.5, 3.5),
    "breast": UptakeRecord(0.7, 0.2, 0.45, 1.1),
    "uterus": UptakeRecord(1.6, 0.2, 1.0, 2.5),
    "ureter": UptakeRecord(6.0, 0.5, 1.5, 15.0),
}


@dataclass(frozen=True)
class TissueRecord:
    """One tissue in the three modalities.

    Attributes
    ----------
    hu
        CT number (native, 120 kV).
    hu_sd
        Standard deviation of the tissue's own texture in HU.
    t1
        Signal of a T1-weighted in-phase gradient echo, fat = 1.
    uptake
        Key of `UPTAKE`, or a number (fixed SUV), or ``"key*factor"``.
    """

    hu: float
    hu_sd: float
    t1: float
    uptake: str
    source: str = "schneider1996"


TISSUE: dict[str, TissueRecord] = {
    "air": TissueRecord(-1000, 0, 0.0, "0"),
    "skin": TissueRecord(20, 6, 0.42, "muscle*0.8"),
    "fat": TissueRecord(-102, 8, 1.0, "fat"),
    "visceral_fat": TissueRecord(-96, 10, 0.96, "fat*1.2"),
    "muscle": TissueRecord(54, 9, 0.40, "muscle"),
    "cortical_bone": TissueRecord(900, 120, 0.06, "cortical_bone"),
    "marrow": TissueRecord(190, 45, 0.72, "marrow"),
    "yellow_marrow": TissueRecord(20, 40, 0.93, "marrow*0.45"),
    "cartilage": TissueRecord(105, 15, 0.35, "muscle*0.9"),
    "disc": TissueRecord(80, 8, 0.33, "muscle*0.9"),
    "cord": TissueRecord(38, 3, 0.48, "1.6"),
    "csf": TissueRecord(10, 2, 0.16, "0.5"),
    "grey_matter": TissueRecord(38, 2, 0.46, "grey_matter"),
    "white_matter": TissueRecord(29, 2, 0.60, "white_matter"),
    "ventricle": TissueRecord(8, 1, 0.14, "0.8"),
    "cerebellum": TissueRecord(36, 2, 0.50, "grey_matter*0.78"),
    "airway": TissueRecord(-990, 0, 0.0, "0.1"),
    "lung": TissueRecord(-840, 22, 0.06, "lung"),
    "lung_vessel": TissueRecord(38, 4, 0.20, "blood"),
    "myocardium": TissueRecord(45, 3, 0.44, "myocardium"),
    "heart_wall": TissueRecord(44, 3, 0.44, "heart_wall"),
    "heart_blood": TissueRecord(41, 2, 0.36, "blood"),
    "aorta": TissueRecord(41, 2, 0.34, "blood"),
    "vessel": TissueRecord(40, 2, 0.35, "blood"),
    "oesophagus": TissueRecord(36, 5, 0.42, "oesophagus"),
    "oesophagus_lumen": TissueRecord(-500, 60, 0.2, "oesophagus*0.6"),
    "liver": TissueRecord(57, 3, 0.58, "liver"),
    "liver_vessel": TissueRecord(43, 3, 0.46, "liver*0.85"),
    "gall_bladder": TissueRecord(10, 2, 0.34, "0.9"),
    "spleen": TissueRecord(49, 2.5, 0.42, "spleen"),
    "kidney_left_cortex": TissueRecord(33, 3, 0.50, "kidney_cortex"),
    "kidney_left_medulla": TissueRecord(29, 3, 0.40, "kidney_medulla"),
    "kidney_left_pelvis": TissueRecord(6, 3, 0.24, "kidney_pelvis"),
    "kidney_right_cortex": TissueRecord(33, 3, 0.50, "kidney_cortex"),
    "kidney_right_medulla": TissueRecord(29, 3, 0.40, "kidney_medulla"),
    "kidney_right_pelvis": TissueRecord(6, 3, 0.24, "kidney_pelvis"),
    "pancreas": TissueRecord(40, 6, 0.62, "pancreas"),
    "stomach_wall": TissueRecord(40, 4, 0.44, "stomach_wall"),
    "stomach_content": TissueRecord(20, 9, 0.28, "0.8"),
    "stomach_gas": TissueRecord(-950, 10, 0.01, "0.3"),
    "colon_wall": TissueRecord(40, 5, 0.44, "colon_wall"),
    "colon_stool": TissueRecord(40, 45, 0.50, "colon_wall*0.6"),
    "colon_gas": TissueRecord(-920, 20, 0.01, "colon_wall*0.3"),
    "bowel_wall": TissueRecord(40, 5, 0.44, "bowel_wall"),
    "bowel_content": TissueRecord(22, 10, 0.32, "bowel_wall*0.7"),
    "bladder": TissueRecord(5, 1.5, 0.20, "bladder"),
    "ureter": TissueRecord(10, 3, 0.3, "ureter"),
    "gland": TissueRecord(15, 12, 0.62, "gland"),
    "tonsil": TissueRecord(50, 4, 0.44, "tonsil"),
    "thyroid": TissueRecord(100, 8, 0.48, "thyroid"),
    "adrenal": TissueRecord(15, 4, 0.46, "1.4"),
    "eye": TissueRecord(12, 2, 0.16, "1.2"),
    "prostate": TissueRecord(40, 4, 0.42, "1.5"),
    "uterus": TissueRecord(45, 4, 0.42, "uterus"),
    "testis": TissueRecord(32, 3, 0.40, "testis"),
    "breast": TissueRecord(10, 20, 0.5, "breast"),
    "soft": TissueRecord(40, 6, 0.42, "1.0"),
    "lesion": TissueRecord(42, 5, 0.38, "0"),
    "tooth": TissueRecord(1900, 200, 0.03, "cortical_bone"),
}


# What the interior of a structure may read: (CT low, CT high, PET low, PET high). Where a structure
# holds several tissues (gas in the bowel, urine in the kidney), the range covers their mixtures.
READINGS: dict[str, tuple[float, float, float, float]] = {
    "liver": (48, 66, 1.6, 3.1),
    "kidney_left": (12, 42, 1.8, 14.0),
    "kidney_right": (12, 42, 1.8, 14.0),
    "brain": (24, 44, 3.8, 11.5),
    "heart": (32, 50, 1.1, 8.0),
    "spleen": (42, 56, 1.2, 2.6),
    "aorta": (30, 50, 1.0, 2.3),
    "lung": (-900, -680, 0.3, 0.9),
    "colon": (-800, 80, 0.4, 3.2),
    "urinary_bladder": (-2, 16, 5.0, 42.0),
    "pancreas": (20, 50, 0.9, 2.6),
    "esophagus": (-160, 50, 0.8, 2.6),
    "stomach": (-480, 50, 0.5, 3.2),
}
MORE_VOLUMES: dict[str, tuple[float, float]] = {"lung": (1800, 6000), "colon": (300, 1300)}


def ranges_table():
    """Ranges per structure as a DataFrame: quantity, structure, low, high, source."""
    import pandas as pd

    rows = []
    for name, (ct_low, ct_high, pet_low, pet_high) in READINGS.items():
        if name in VOLUMES:
            rows.append(
                ("volume_ml", name, VOLUMES[name].low, VOLUMES[name].high, VOLUMES[name].source)
            )
        else:
            rows.append(("volume_ml", name, *MORE_VOLUMES[name], "icrp89"))
        rows.append(("CT", name, ct_low, ct_high, "schneider1996"))
        rows.append(("PET", name, pet_low, pet_high, "wang2007"))
    return pd.DataFrame(rows, columns=["quantity", "structure", "low", "high", "source"])
