"""Contours (RTSTRUCT) and segmentations (SEG) of DICOM as label maps."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.draw import polygon2mask

from umdlib.cohort.names import NameMap
from umdlib.cohort.series import quiet_pydicom, to_ras
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume


@dataclass(frozen=True)
class StructureSet:
    """One RTSTRUCT or SEG file, and what its parts are.

    Attributes
    ----------
    path
        The file.
    kind
        ``RTSTRUCT`` or ``SEG``.
    frame
        Frame of reference that it lies in.
    series
        Series that it was drawn on; empty where it does not say.
    meaning
        Number of a part -> structure.
    unknown
        Names that no structure is known for.
    """

    path: Path
    kind: str
    frame: str
    series: frozenset[str]
    meaning: dict[int, str]
    unknown: tuple[str, ...]


def read_structure_set(path: Path, kind: str, names: NameMap) -> StructureSet:
    """Read the contents of an RTSTRUCT or SEG file, without its voxels.

    Raises
    ------
    InputError
        A file that cannot be read.
    """
    pydicom = quiet_pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            frame, series, parts = (_contour_parts if kind == "RTSTRUCT" else _segment_parts)(dataset)
    except Exception as error:  # a damaged file raises whatever its bytes lead pydicom to
        raise InputError(f"{kind} {path.name} cannot be read: {type(error).__name__}: {error}.") from None
    known = {number: _structure(name, names) for number, name in parts.items()}
    return StructureSet(
        path,
        kind,
        frame,
        frozenset(series),
        {n: s for n, s in known.items() if s},
        tuple(parts[n] for n, s in known.items() if s is None),
    )


def _structure(name: str, names: NameMap) -> str | None:
    """Structure of a part's name; a modality at its end is what it was drawn on."""
    found = names.of_name(name)
    if found is None:
        found = names.of_name(
            re.sub(r"[ _-](ct|pet|pt|mr|mri)([ _-]?t[12])?$", "", name.strip(), flags=re.IGNORECASE)
        )
    return found


def _contour_parts(dataset) -> tuple[str, set[str], dict[int, str]]:
    """Frame, series and the names of the regions of an RTSTRUCT."""
    parts = {int(r.ROINumber): str(r.ROIName) for r in dataset.StructureSetROISequence}
    frame, series = str(dataset.get("FrameOfReferenceUID") or ""), set()
    for reference in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        frame = str(reference.get("FrameOfReferenceUID") or frame)
        for study in reference.get("RTReferencedStudySequence") or ():
            for one in study.get("RTReferencedSeriesSequence") or ():
                series.add(str(one.get("SeriesInstanceUID") or ""))
    return frame, series - {""}, parts


def _segment_parts(dataset) -> tuple[str, set[str], dict[int, str]]:
    """Frame, series and the names of the segments of a SEG."""
    parts = {int(s.SegmentNumber): str(s.SegmentLabel) for s in dataset.SegmentSequence}
    series = {str(s.SeriesInstanceUID) for s in dataset.get("ReferencedSeriesSequence") or ()}
    return str(dataset.get("FrameOfReferenceUID") or ""), series, parts


def label_map(structures: StructureSet, image: Volume, value: dict[str, int]) -> tuple[LabelMap, list[str]]:
    """Label map of a structure set on the grid of an image.

    Parameters
    ----------
    structures
        Contours are filled slice by slice: a voxel belongs to a region where its centre lies inside;
        a contour within another one is a hole. A SEG is put on the image's grid by the nearest voxel.
    image
        In the frame of reference of the structures.
    value
        Structure -> label value.

    Returns
    -------
    LabelMap
        On the grid of `image`.
    list of str
        Voxels that two structures claim: the first one keeps them.

    Raises
    ------
    InputError
        A file that cannot be read, contours on another orientation than the image's slices.
    """
    pydicom = quiet_pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if structures.kind == "SEG":
                masks = _segments(structures, image)
            else:
                masks = _filled(pydicom.dcmread(structures.path), structures, image)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises whatever its bytes lead the readers to
        raise InputError(
            f"{structures.kind} {structures.path.name} cannot be read: {type(error).__name__}: {error}."
        ) from None
    whole = np.zeros(image.shape, np.uint8 if max(value.values(), default=1) < 256 else np.uint16)
    conflicts = 0
    for number, mask in masks.items():
        wanted = value[structures.meaning[number]]
        conflicts += int((mask & (whole != 0) & (whole != wanted)).sum())
        whole[mask & (whole == 0)] = wanted
    notes = [f"{conflicts} voxels belong to two structures; the first one keeps them"] if conflicts else []
    return LabelMap(whole, image.affine, image.name), notes


def _filled(dataset, structures: StructureSet, image: Volume) -> dict[int, np.ndarray]:
    """Region number -> mask, from closed planar contours."""
    masks = {}
    for region in dataset.ROIContourSequence:
        number = int(region.ReferencedROINumber)
        if number not in structures.meaning:
            continue
        mask = masks.setdefault(number, np.zeros(image.shape, bool))
        for contour in region.get("ContourSequence") or ():
            if str(contour.get("ContourGeometricType") or "CLOSED_PLANAR") != "CLOSED_PLANAR":
                continue
            points = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3) * (-1, -1, 1)
            ijk = geometry.to_voxel(image.affine, points)
            if np.ptp(ijk[:, 2]) > 0.5:
                raise InputError(
                    f"Contours of {structures.path.name} do not lie in the slices of {image.name}."
                )
            k = int(np.rint(ijk[:, 2].mean()))
            if 0 <= k < image.shape[2] and len(points) > 2:
                mask[:, :, k] ^= polygon2mask(image.shape[:2], ijk[:, :2])
    return masks


def _segments(structures: StructureSet, image: Volume) -> dict[int, np.ndarray]:
    """Segment number -> mask, on the image's grid."""
    import highdicom

    seg = highdicom.seg.segread(structures.path)
    masks = {}
    for number in structures.meaning:
        made = seg.get_volume(segment_numbers=[number], combine_segments=True, relabel=False)
        data, affine = to_ras((made.array > 0).astype(np.uint8), made.affine)
        masks[number] = geometry.resample(data, affine, image.affine, image.shape, order=0) > 0
    return masks
