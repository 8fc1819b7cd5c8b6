"""Contours (RTSTRUCT) and segmentations (SEG) of DICOM as label maps."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.draw import polygon2mask

from umdlib.cohort.names import SIDES, NameMap
from umdlib.cohort.plan import put_sides
from umdlib.cohort.series import quiet_pydicom, read_file, to_ras
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume

# A contour with this share of its voxels in another one lies within it.
_WITHIN = 0.9

# Contours as near as this (share of a slice) lie in one plane: one within another is a hole.
_ONE_PLANE = 0.05


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
    undrawn
        Names of regions without a contour.
    """

    path: Path
    kind: str
    frame: str
    series: frozenset[str]
    meaning: dict[int, str]
    unknown: tuple[str, ...]
    undrawn: tuple[str, ...] = ()


def read_structure_set(path: Path, kind: str, names: NameMap) -> StructureSet:
    """Read the contents of an RTSTRUCT or SEG file, without its voxels."""
    quiet_pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = read_file(path, stop_before_pixels=True)
            drawn = _drawn(dataset) if kind == "RTSTRUCT" else None
            frame, series, parts = (_contour_parts if kind == "RTSTRUCT" else _segment_parts)(dataset)
    except Exception as error:  # a damaged file raises whatever its bytes lead pydicom to
        raise InputError(f"{kind} {path.name} cannot be read: {type(error).__name__}: {error}.") from None
    undrawn = () if drawn is None else tuple(name for n, name in parts.items() if n not in drawn)
    parts = {n: name for n, name in parts.items() if drawn is None or n in drawn}
    known = {number: _structure(name, names) for number, name in parts.items()}
    return StructureSet(
        path,
        kind,
        frame,
        frozenset(series),
        {n: s for n, s in known.items() if s},
        tuple(parts[n] for n, s in known.items() if s is None),
        undrawn,
    )


def _drawn(dataset) -> set[int]:
    """Numbers of the regions of an RTSTRUCT that have a contour."""
    return {
        int(r.ReferencedROINumber)
        for r in dataset.get("ROIContourSequence") or ()
        if r.get("ContourSequence")
    }


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
    parts = {int(s.SegmentNumber): _segment_name(s) for s in dataset.SegmentSequence if int(s.SegmentNumber)}
    series = {str(s.SeriesInstanceUID) for s in dataset.get("ReferencedSeriesSequence") or ()}
    return str(dataset.get("FrameOfReferenceUID") or ""), series, parts


def _segment_name(segment) -> str:
    """Label of a segment; where it only numbers, the coded name with its side, as 3D Slicer writes them."""
    label = str(segment.get("SegmentLabel") or "")
    if not re.fullmatch(r"(segment|label|roi|structure|mask)?[\W_]*\d*", label.strip(), re.IGNORECASE):
        return label
    words = []
    for code in segment.get("SegmentedPropertyTypeCodeSequence") or ():
        words.append(str(code.get("CodeMeaning") or ""))
        words += [
            str(m.get("CodeMeaning") or "")
            for m in code.get("SegmentedPropertyTypeModifierCodeSequence") or ()
        ]
    return " ".join(w for w in words if w) or label


def label_map(
    structures: StructureSet, image: Volume, value: dict[str, int], *, drawn_here: bool = True
) -> tuple[LabelMap, list[str]]:
    """Label map of a structure set on the grid of an image.

    Parameters
    ----------
    structures
        Contours are filled slice by slice: a voxel belongs to a region where its centre lies inside;
        a contour within another one of its plane is a hole. Of several planes in one slice the nearest to its
        centre counts. A SEG is put on the image's grid by the nearest voxel; of a fraction one half or more counts.
    image
        In the frame of reference of the structures.
    value
        Structure -> label value.
    drawn_here
        Whether the contours were drawn on this image, so that slices without one are empty.

    Returns
    -------
    LabelMap
        On the grid of `image`.
    list of str
        Voxels that two structures claim: the first one keeps them.

    Raises
    ------
    InputError
        A file that cannot be read, contours on another orientation than the image's slices, or of another image
        whose slices lie farther apart.
    """
    quiet_pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if structures.kind == "SEG":
                masks = _segments(structures, image)
            else:
                masks = _filled(_planes(structures, image), image, None if drawn_here else structures)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises whatever its bytes lead the readers to
        raise InputError(
            f"{structures.kind} {structures.path.name} cannot be read: {type(error).__name__}: {error}."
        ) from None
    whole = np.zeros(image.shape, np.uint8 if max(value.values(), default=1) < 256 else np.uint16)
    conflicts, notes = 0, []
    for number, mask in masks.items():
        name = structures.meaning[number]
        if SIDES in name:
            wanted = np.zeros_like(whole)
            notes += put_sides(wanted, mask, image.affine, name, value)
        else:
            wanted = mask * whole.dtype.type(value[name])
        conflicts += int(((wanted != 0) & (whole != 0) & (whole != wanted)).sum())
        np.copyto(whole, wanted, where=whole == 0)
    if conflicts:
        notes.append(f"{conflicts} voxels belong to two structures; the first one keeps them")
    return LabelMap(whole, image.affine, image.name), notes


def _planes(structures: StructureSet, image: Volume) -> dict[int, dict[float, list[tuple[bool, np.ndarray]]]]:
    """Region number -> place along the slices -> closed contours of a plane: whether it is XOR, voxels (n, 2)."""
    regions: dict[int, dict[float, list[tuple[bool, np.ndarray]]]] = {}
    for region in read_file(structures.path).ROIContourSequence:
        number = int(region.ReferencedROINumber)
        if number not in structures.meaning:
            continue
        planes = regions.setdefault(number, {})
        for contour in region.get("ContourSequence") or ():
            kind = str(contour.get("ContourGeometricType") or "CLOSED_PLANAR")
            if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR") or not contour.get("ContourData"):
                continue
            data = [float(v) for v in contour.ContourData]
            if len(data) % 3:
                raise InputError(
                    f"A contour of {structures.path.name} has {len(data)} numbers. Must be three a point."
                )
            points = np.array(data).reshape(-1, 3) * (-1, -1, 1)
            ijk = geometry.to_voxel(image.affine, points)
            if np.ptp(ijk[:, 2]) > 0.5:
                raise InputError(
                    f"Contours of {structures.path.name} do not lie in the slices of {image.name}."
                )
            if len(points) > 2:
                place = float(ijk[:, 2].mean())
                plane = next((p for p in planes if abs(p - place) < _ONE_PLANE), place)
                planes.setdefault(plane, []).append((kind == "CLOSEDPLANAR_XOR", ijk[:, :2]))
    return regions


def _filled(
    regions: dict[int, dict[float, list[tuple[bool, np.ndarray]]]],
    image: Volume,
    foreign: StructureSet | None,
) -> dict[int, np.ndarray]:
    """Region number -> mask; `foreign` is a structure set of another image, whose planes must be as near."""
    places = np.unique([place for planes in regions.values() for place in planes])
    if foreign is not None and len(places) > 2 and np.diff(places).min() > 1.5:
        raise InputError(
            f"Contours of {foreign.path.name} lie at least {np.diff(places).min() * image.spacing_mm[2]:.2f} mm apart, "
            f"the slices of {image.name} {image.spacing_mm[2]:.2f} mm: they were drawn on another series. It must be "
            "among the files."
        )
    masks = {number: np.zeros(image.shape, bool) for number in regions}
    for number, planes in regions.items():
        nearest: dict[int, float] = {}
        for place in planes:
            k = int(np.floor(place + 0.5))
            if abs(place - k) < abs(nearest.get(k, np.inf) - k):
                nearest[k] = place
        for k, place in nearest.items():
            if 0 <= k < image.shape[2]:
                masks[number][:, :, k] = _plane_filled(planes[place], image.shape[:2])
    return masks


def _plane_filled(contours: list[tuple[bool, np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Mask of the contours of one plane: one within another is a hole, those that overlap are one, a copy is none."""
    copies = {contour.round(2).tobytes(): (xor, contour) for xor, contour in contours}
    filled = [(xor, polygon2mask(shape, contour)) for xor, contour in copies.values()]
    filled.sort(key=lambda f: f[1].sum(), reverse=True)
    mask = np.zeros(shape, bool)
    for n, (xor, inner) in enumerate(filled):
        around = sum((inner & outer).sum() >= _WITHIN * inner.sum() for _, outer in filled[:n])
        if xor:
            mask ^= inner
        elif around % 2:
            mask &= ~inner
        else:
            mask |= inner
    return mask


def _segments(structures: StructureSet, image: Volume) -> dict[int, np.ndarray]:
    """Segment number -> mask, on the image's grid."""
    import highdicom

    seg = highdicom.seg.segread(structures.path)
    masks = {}
    for number in structures.meaning:
        made = seg.get_volume(segment_numbers=[number], combine_segments=False)
        data, affine = to_ras((made.array[..., 0] >= 0.5).astype(np.uint8), made.affine)
        masks[number] = geometry.resample(data, affine, image.affine, image.shape, order=0) > 0
    return masks
