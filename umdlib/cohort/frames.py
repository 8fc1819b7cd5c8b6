"""Enhanced multi-frame DICOM: what its functional groups say of an image's frames, in the words of single slices."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from umdlib.errors import InputError

# Where the value of a keyword may stand, beside the top level: for all frames, or for each.
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")

# UCUM code of the real-world values of a PET -> Units (0054,1001) of a single slice.
_UNITS = {"bq/ml": "BQML", "g/ml{suvbw}": "GML", "{suvbw}g/ml": "GML", "g/ml": "GML", "{counts}": "CNTS"}


def is_multi_frame(dataset) -> bool:
    """Whether a pydicom data set holds its slices as frames with functional groups."""
    return _GROUPS[1] in dataset


def value(dataset, keyword: str):
    """Value of a keyword at the top level, else in the functional groups of all or of the first frame; None if missing.

    Legacy objects that were converted keep what has no group of its own in the unassigned groups.
    """
    found = dataset.get(keyword)
    if found is not None and found != "":
        return found
    for name in _GROUPS:
        for item in (dataset.get(name) or ())[:1]:
            for group in item:
                if group.VR == "SQ" and len(group.value) and keyword in group.value[0]:
                    return group.value[0].get(keyword)
    return None


def per_frame(dataset, sequence: str, keyword: str) -> list:
    """Value of a keyword for each frame; that of all frames where no frame has its own."""
    frames = dataset.get(_GROUPS[1]) or ()
    count = int(dataset.get("NumberOfFrames") or 1)
    if len(frames) != count:
        raise InputError(
            f"NumberOfFrames is {count}, and {len(frames)} frames are described. Both must be one number."
        )
    shared = _in_group((dataset.get(_GROUPS[0]) or [{}])[0], sequence, keyword)
    found = [_in_group(frame, sequence, keyword) for frame in frames]
    return [shared if v is None else v for v in found]


def _in_group(item, sequence: str, keyword: str):
    """Value of a keyword in one group of a frame."""
    group = item.get(sequence)
    return group[0].get(keyword) if group else None


def one_for_all(dataset, sequence: str, keyword: str) -> object:
    """Value of a keyword that all frames share; raises InputError where they differ."""
    values = per_frame(dataset, sequence, keyword)
    first = None if values[0] is None else [float(v) for v in values[0]]
    for other in values[1:]:
        same = (
            other is None
            if first is None
            else other is not None and np.allclose(first, list(other), atol=1e-4)
        )
        if not same:
            raise InputError(
                f"frames of several {keyword}: several stacks or a localiser; dcm2niix splits them"
            )
    return values[0]


def pet_tags(dataset) -> dict[str, str]:
    """Tags of a single PET slice, of what an enhanced PET says in other words.

    ``AttenuationCorrected`` and ``DecayCorrected`` become ``CorrectedImage``; the real-world unit becomes ``Units``;
    ``DecayCorrectionDateTime``, the time that the image is corrected to, becomes the time of the series: with
    ``DecayCorrection`` START the dose is decayed to it.
    """
    tags = {}
    corrected = [
        word
        for key, word in (("AttenuationCorrected", "ATTN"), ("DecayCorrected", "DECY"))
        if str(value(dataset, key) or "").upper() == "YES"
    ]
    if value(dataset, "AttenuationCorrected") is not None:
        tags["CorrectedImage"] = "\\".join([*corrected, "NONE"])
    when = str(value(dataset, "DecayCorrectionDateTime") or "")
    if re.match(r"\d{14}", when):
        tags |= {"SeriesDate": when[:8], "SeriesTime": when[8:], "DecayCorrection": "START"}
    units = per_frame(dataset, "RealWorldValueMappingSequence", "MeasurementUnitsCodeSequence")[0]
    code = units[0].get("CodeValue") if units else None
    if code is not None:
        tags["Units"] = _UNITS.get(str(code).strip().lower(), str(code))
    return tags


def read_frames(path: Path, *, real_world: bool, tolerance_mm: float):
    """Frames of a file as highdicom's volume, in LPS.

    Parameters
    ----------
    path
        Enhanced multi-frame file whose frames are one stack.
    real_world
        Whether the real-world values are taken (PET), else those of the modality's rescaling (HU).
    tolerance_mm
        By which the distances of frames may vary.
    """
    import highdicom

    return highdicom.imread(path).get_volume(
        dtype=np.float64,
        apply_real_world_transform=real_world,
        apply_presentation_lut=False,
        atol=tolerance_mm,
    )
