"""Literature values of the synthetic cohort: volumes, CT numbers, FDG uptake, MR signal."""

from __future__ import annotations

from dataclasses import dataclass

# Key -> citation, and what it says of the values used. DOIs stand only where they were looked up.
SOURCES: dict[str, str] = {
    "assumed": "No source with a number was read. A typical value of radiology teaching, set so that "
    "tissues keep their usual order; a modelling choice, not a measurement.",
    "icrp89": "ICRP 2002. Basic anatomical and physiological data: reference values. Publication 89. "
    "Masses (man / woman, g): brain 1450 / 1300, heart with blood 840 / 620, liver 1800 / 1400, "
    "kidneys 310 / 275, spleen 150 / 130, oesophagus 40 / 35, stomach with content 400 / 370, "
    "gall bladder with content 68 / 56, lungs 1200 / 950.",
    "kim_liver": "Kim DW et al. Population-based and personalized reference intervals for liver and "
    "spleen volumes in healthy individuals and those with viral hepatitis. Radiology. 2989 donors: "
    "liver 825-1700 ml, spleen 81-322 ml.",
    "pancreas2019": "Normal pancreatic volume in adults is influenced by visceral fat, vertebral body "
    "width and age. Abdom Radiol 2019 44:958. doi 10.1007/s00261-018-1793-8. 77.9 (SD 21.7) ml, no "
    "difference between the sexes.",
    "pritchard2014": "Pritchard SE et al. 2014. Fasting and postprandial volumes of the undisturbed "
    "colon. Neurogastroenterol Motil. doi 10.1111/nmo.12243. Ascending 203 (SD 75), transverse 198 "
    "(79), descending 160 (86) ml, without sigmoid and rectum.",
    "wang2007": "Wang Y et al. 2007. Standardized uptake value atlas. Mol Imaging Biol 9:83. "
    "doi 10.1007/s11307-006-0075-y. SUVmean: cerebellum 8.0 (SD 2.2), palatine tonsils 3.45 (1.4), "
    "testes 2.57 (0.56).",
    "liu2019": "Liu G et al. 2019. Variability and reliability of normal liver 18F-FDG standardized "
    "uptake value. Iran J Radiol 16(2):e84881. doi 10.5812/iranjradiol.84881. Liver 1.88 (SD 0.41).",
    "renal2015": "18F-FDG uptake of the renal medulla before and after a diuretic. J Nucl Med 2015 "
    "56 (suppl 3):1434. SUVmax of the medulla 5.5 (SD 1.3), SUVmean of the bladder 13.8 (10.3).",
    "prokop2003": "Prokop M, Galanski M (eds) 2003. Spiral and multislice computed tomography of the "
    "body. Thieme. HU: white matter 20-30, grey 37-45, kidney 20-40, spleen 35-55, liver and blood "
    "45-65, fat -100 to -50, lung in inspiration -910 to -850, bone 700 and more.",
    "debazelaire2004": "de Bazelaire CM et al. 2004. MR imaging relaxation times of abdominal and "
    "pelvic tissues measured in vivo at 3.0 T. Radiology, March 2004. See `T1_MS`.",
    "furst2011": "Fürst S et al. 2011. Initial performance evaluation of the Biograph mMR. J Nucl Med "
    "(suppl. 1) p320. FWHM near the centre 4.0 mm (mMR) and 4.4 mm (Biograph TruePoint), before any "
    "filter.",
    "martinez2009": "Martinez-Möller A et al. 2009. Tissue classification as a potential approach for "
    "attenuation correction in whole-body PET/MRI. J Nucl Med. Four classes: SUV of bone lesions "
    "changes by 8 % (SD 3 %).",
    "fourclass2014": "Voxel-wise accuracy and precision of PET with segmented attenuation maps, 23 "
    "patients. PMID 24966415. Four classes: root mean square bias 15 % in lung, 13 % in bone; half "
    "of the lung's between patients.",
}


@dataclass(frozen=True)
class _VolumeRecord:
    """Volume of an organ in adults: log-normal around `ml` for a man of 172 cm, cut to a range.

    Masses become volumes by 1.05 g/ml. The spread and the range are assumed unless the source gives
    them.
    """

    ml: float
    log_sd: float
    low: float
    high: float
    female: float = 0.9
    size_power: float = 0.6
    source: str = "icrp89"


VOLUMES: dict[str, _VolumeRecord] = {
    "liver": _VolumeRecord(1600, 0.14, 1050, 2200, 0.88),
    "kidney_left": _VolumeRecord(160, 0.13, 110, 215, 0.88),
    "kidney_right": _VolumeRecord(155, 0.13, 105, 210, 0.88),
    "brain": _VolumeRecord(1380, 0.06, 1150, 1600, 0.9, 0.1),
    "heart": _VolumeRecord(690, 0.12, 480, 920, 0.82),
    "spleen": _VolumeRecord(180, 0.25, 90, 330, 0.85, source="kim_liver"),
    # 45 cm of a tube 22 mm wide
    "aorta": _VolumeRecord(170, 0.15, 100, 260, 0.75, source="assumed"),
    "urinary_bladder": _VolumeRecord(190, 0.35, 80, 400, 0.95, 0.0, source="assumed"),
    "pancreas": _VolumeRecord(80, 0.24, 45, 130, 0.97, source="pancreas2019"),
    "esophagus": _VolumeRecord(38, 0.12, 26, 52, 0.85),
    "stomach": _VolumeRecord(300, 0.22, 170, 480, 0.92),  # fasting: less content than in the source
    "gall_bladder": _VolumeRecord(30, 0.3, 12, 60, 0.95, 0.0, source="assumed"),
}


@dataclass(frozen=True)
class _UptakeRecord:
    """FDG uptake 60 min after injection, SUV (body weight): log-normal, cut to a range.

    Where the source gives a mean and its SD, `suv` lies within one SD of it.
    """

    suv: float
    log_sd: float
    low: float
    high: float
    source: str = "assumed"


UPTAKE: dict[str, _UptakeRecord] = {
    "liver": _UptakeRecord(2.25, 0.14, 1.6, 3.1, "liu2019"),
    "blood": _UptakeRecord(1.6, 0.12, 1.15, 2.2),
    "spleen": _UptakeRecord(1.8, 0.13, 1.3, 2.5),
    "grey_matter": _UptakeRecord(9.0, 0.16, 6.5, 13.0, "wang2007"),
    "white_matter": _UptakeRecord(3.0, 0.14, 2.2, 4.2),
    "kidney_cortex": _UptakeRecord(2.8, 0.14, 2.0, 4.0),
    "kidney_medulla": _UptakeRecord(3.2, 0.18, 2.1, 4.8, "renal2015"),
    "kidney_pelvis": _UptakeRecord(9.0, 0.4, 4.0, 20.0),
    "bladder": _UptakeRecord(15.0, 0.5, 6.0, 40.0, "renal2015"),
    "lung": _UptakeRecord(0.5, 0.14, 0.36, 0.7),
    "muscle": _UptakeRecord(0.7, 0.13, 0.5, 0.95),
    "fat": _UptakeRecord(0.25, 0.15, 0.17, 0.36),
    "marrow": _UptakeRecord(1.45, 0.18, 0.9, 2.2),
    "cortical_bone": _UptakeRecord(0.4, 0.15, 0.28, 0.56),
    "pancreas": _UptakeRecord(1.5, 0.13, 1.1, 2.1),
    "oesophagus": _UptakeRecord(1.75, 0.15, 1.2, 2.5),
    "stomach_wall": _UptakeRecord(2.3, 0.18, 1.5, 3.4),
    "colon_wall": _UptakeRecord(1.7, 0.28, 0.95, 3.2),
    "bowel_wall": _UptakeRecord(1.5, 0.22, 0.9, 2.5),
    "gland": _UptakeRecord(1.8, 0.22, 1.1, 2.9),
    "tonsil": _UptakeRecord(3.4, 0.35, 1.6, 6.5, "wang2007"),
    "thyroid": _UptakeRecord(1.4, 0.2, 0.9, 2.2),
    "testis": _UptakeRecord(2.55, 0.2, 1.6, 3.7, "wang2007"),
    "breast": _UptakeRecord(0.7, 0.2, 0.45, 1.1),
    "uterus": _UptakeRecord(1.6, 0.2, 1.0, 2.5),
    "ureter": _UptakeRecord(6.0, 0.5, 1.5, 15.0),
}


@dataclass(frozen=True)
class _TissueRecord:
    """One tissue in the three modalities.

    Attributes
    ----------
    hu
        CT number (native, 120 kV).
    hu_sd
        Standard deviation of the tissue's own texture in HU.
    t1
        Signal of a T1-weighted in-phase gradient echo, fat = 1; of tissues that are not in `T1_MS`
        assumed between those that are.
    uptake
        Key of `UPTAKE`, or a number (fixed SUV), or ``"key*factor"``.
    structure
        Of `umdlib.labels`, that it belongs to; empty for tissue of none.
    patchy
        Spread (of the logarithm) of uptake within it.
    """

    hu: float
    hu_sd: float
    t1: float
    uptake: str
    structure: str = ""
    patchy: float = 0.0
    source: str = "assumed"


# The position of a tissue is its code.
TISSUE: dict[str, _TissueRecord] = {
    "air": _TissueRecord(-1000, 0, 0.0, "0"),
    "skin": _TissueRecord(20, 6, 0.42, "muscle*0.8"),
    "fat": _TissueRecord(-102, 8, 1.0, "fat", patchy=0.1, source="prokop2003"),
    "visceral_fat": _TissueRecord(-96, 10, 0.96, "fat*1.2", patchy=0.2, source="prokop2003"),
    "muscle": _TissueRecord(54, 9, 0.40, "muscle", patchy=0.1),
    "cortical_bone": _TissueRecord(900, 120, 0.06, "cortical_bone", source="prokop2003"),
    "marrow": _TissueRecord(190, 45, 0.75, "marrow", patchy=0.12),
    "yellow_marrow": _TissueRecord(20, 40, 0.93, "marrow*0.45"),
    "cartilage": _TissueRecord(105, 15, 0.35, "muscle*0.9"),
    "disc": _TissueRecord(80, 8, 0.33, "muscle*0.9"),
    "cord": _TissueRecord(38, 3, 0.48, "1.6"),
    "csf": _TissueRecord(10, 2, 0.16, "0.5"),
    "grey_matter": _TissueRecord(38, 2, 0.46, "grey_matter", "brain", patchy=0.08, source="prokop2003"),
    "white_matter": _TissueRecord(29, 2, 0.60, "white_matter", "brain", source="prokop2003"),
    "ventricle": _TissueRecord(8, 1, 0.14, "0.8", "brain"),
    "cerebellum": _TissueRecord(36, 2, 0.50, "grey_matter*0.88", "brain"),
    "airway": _TissueRecord(-990, 0, 0.0, "0.1"),
    "lung": _TissueRecord(-840, 22, 0.06, "lung", "lung", patchy=0.08, source="prokop2003"),
    "lung_vessel": _TissueRecord(38, 4, 0.20, "blood", "lung"),
    "myocardium": _TissueRecord(45, 3, 0.44, "myocardium", "heart", patchy=0.12),
    "heart_wall": _TissueRecord(44, 3, 0.44, "heart_wall", "heart"),
    "heart_blood": _TissueRecord(41, 2, 0.36, "blood", "heart"),
    "aorta": _TissueRecord(41, 2, 0.34, "blood", "aorta"),
    "vessel": _TissueRecord(40, 2, 0.35, "blood"),
    "oesophagus": _TissueRecord(36, 5, 0.42, "oesophagus", "esophagus"),
    "oesophagus_lumen": _TissueRecord(-500, 60, 0.2, "oesophagus*0.6", "esophagus"),
    "liver": _TissueRecord(57, 3, 0.59, "liver", "liver", patchy=0.02, source="prokop2003"),
    "liver_vessel": _TissueRecord(43, 3, 0.46, "liver*0.85", "liver"),
    "gall_bladder": _TissueRecord(10, 2, 0.34, "0.9"),
    "spleen": _TissueRecord(49, 2.5, 0.39, "spleen", "spleen", patchy=0.03, source="prokop2003"),
    "kidney_left_cortex": _TissueRecord(33, 3, 0.45, "kidney_cortex", "kidney_left", source="prokop2003"),
    "kidney_left_medulla": _TissueRecord(29, 3, 0.35, "kidney_medulla", "kidney_left", source="prokop2003"),
    "kidney_left_pelvis": _TissueRecord(6, 3, 0.24, "kidney_pelvis", "kidney_left"),
    "kidney_right_cortex": _TissueRecord(33, 3, 0.45, "kidney_cortex", "kidney_right", source="prokop2003"),
    "kidney_right_medulla": _TissueRecord(29, 3, 0.35, "kidney_medulla", "kidney_right", source="prokop2003"),
    "kidney_right_pelvis": _TissueRecord(6, 3, 0.24, "kidney_pelvis", "kidney_right"),
    "pancreas": _TissueRecord(40, 6, 0.64, "pancreas", "pancreas"),
    "stomach_wall": _TissueRecord(40, 4, 0.44, "stomach_wall", "stomach", patchy=0.2),
    "stomach_content": _TissueRecord(20, 9, 0.28, "0.8", "stomach"),
    "stomach_gas": _TissueRecord(-950, 10, 0.01, "0.3", "stomach"),
    "colon_wall": _TissueRecord(40, 5, 0.44, "colon_wall", "colon", patchy=0.45),
    "colon_stool": _TissueRecord(40, 45, 0.50, "colon_wall*0.6", "colon", patchy=0.4),
    "colon_gas": _TissueRecord(-920, 20, 0.01, "colon_wall*0.3", "colon"),
    "bowel_wall": _TissueRecord(40, 5, 0.44, "bowel_wall", patchy=0.4),
    "bowel_content": _TissueRecord(22, 10, 0.32, "bowel_wall*0.7", patchy=0.35),
    "bladder": _TissueRecord(5, 1.5, 0.20, "bladder", "urinary_bladder"),
    "ureter": _TissueRecord(10, 3, 0.3, "ureter", patchy=0.7),
    "gland": _TissueRecord(15, 12, 0.62, "gland"),
    "tonsil": _TissueRecord(50, 4, 0.44, "tonsil"),
    "thyroid": _TissueRecord(100, 8, 0.48, "thyroid"),
    "adrenal": _TissueRecord(15, 4, 0.46, "1.4"),
    "eye": _TissueRecord(12, 2, 0.16, "1.2"),
    "prostate": _TissueRecord(40, 4, 0.34, "1.5"),
    "uterus": _TissueRecord(45, 4, 0.35, "uterus"),
    "testis": _TissueRecord(32, 3, 0.40, "testis"),
    "breast": _TissueRecord(10, 20, 0.5, "breast"),
    "soft": _TissueRecord(40, 6, 0.42, "1.0"),
    "lesion": _TissueRecord(42, 5, 0.38, "0"),
    "tooth": _TissueRecord(1900, 200, 0.03, "cortical_bone"),
}


# Longitudinal relaxation at 3 T (ms), de Bazelaire 2004: `t1` of these tissues is that of a spoiled gradient
# echo of 3.6 ms and 10 degrees, as of a Dixon VIBE for attenuation correction.
T1_MS: dict[str, float] = {
    "fat": 382,
    "marrow": 586,
    "pancreas": 725,
    "liver": 809,
    "kidney_left_cortex": 1142,
    "spleen": 1328,
    "uterus": 1514,
    "kidney_left_medulla": 1545,
    "prostate": 1597,
}
# What the interior of a structure may read: (CT low, CT high, PET low, PET high). Where a structure
# holds several tissues (gas in the bowel, urine in the kidney), the range covers their mixtures. Only
# those of `_READ` follow a source; the others are assumed.
READINGS: dict[str, tuple[float, float, float, float]] = {
    "liver": (48, 66, 1.6, 3.1),
    "kidney_left": (12, 42, 1.8, 14.0),
    "kidney_right": (12, 42, 1.8, 14.0),
    "brain": (24, 44, 3.8, 11.5),
    "heart": (32, 50, 1.1, 8.0),
    "spleen": (42, 56, 1.2, 2.6),
    "aorta": (30, 50, 1.0, 2.3),
    "lung": (-900, -680, 0.3, 0.9),
    "colon": (-950, 80, 0.4, 3.2),  # its widest parts may hold gas alone
    "urinary_bladder": (-2, 16, 5.0, 42.0),
    "pancreas": (20, 50, 0.9, 2.6),
    "esophagus": (-160, 50, 0.8, 2.6),
    "stomach": (-480, 50, 0.5, 3.2),
}
_READ = {("PET", "liver"): "liu2019", ("PET", "urinary_bladder"): "renal2015"}
_READ |= {("CT", n): "prokop2003" for n in ("liver", "spleen", "kidney_left", "kidney_right", "brain")}
_MORE_VOLUMES = {"lung": (1800, 6000, "assumed"), "colon": (300, 1300, "pritchard2014")}


def ranges_table():
    """Ranges per structure as a DataFrame: quantity, structure, low, high, source."""
    import pandas as pd

    rows = []
    for name, (ct_low, ct_high, pet_low, pet_high) in READINGS.items():
        volume = _MORE_VOLUMES.get(name) or (VOLUMES[name].low, VOLUMES[name].high, VOLUMES[name].source)
        rows.append(("volume_ml", name, *volume))
        for modality, low, high in (("CT", ct_low, ct_high), ("PET", pet_low, pet_high)):
            rows.append((modality, name, low, high, _READ.get((modality, name), "assumed")))
    return pd.DataFrame(rows, columns=["quantity", "structure", "low", "high", "source"])


_FURTHER = {
    "debazelaire2004": "MR signal of " + ", ".join(t.replace("_", " ") for t in T1_MS),
    "furst2011": "point spread of PET",
    "martinez2009": "bias of bone in PET/MR",
    "fourclass2014": "bias of lung in PET/MR",
    "pritchard2014": "range of the colon's volume",
}


def source_table():
    """What each source gave, as a DataFrame: source, used for, citation; ``assumed`` last."""
    import pandas as pd

    used: dict[str, list[str]] = {name: [] for name in SOURCES}
    for kind, table in (("volume", VOLUMES), ("uptake", UPTAKE), ("CT number", TISSUE)):
        for name, record in table.items():
            plain = name.replace("_", " ").replace("urinary bladder", "bladder")
            plain = plain.replace("oesophagus", "esophagus").replace("esophagus", "oesophagus")
            used[record.source].append(f"{kind} of {plain}")
    for name, what in _FURTHER.items():
        used[name].append(what)
    rows = [(name, "; ".join(what), SOURCES[name]) for name, what in used.items()]
    rows.sort(key=lambda row: row[0] == "assumed")
    return pd.DataFrame(rows, columns=["source", "used for", "citation"])
