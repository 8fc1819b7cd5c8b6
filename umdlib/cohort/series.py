"""DICOM series: headers of a folder in groups, and the volume of one series in the world (RAS+, mm)."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from umdlib.cohort import frames
from umdlib.cohort.suv import Acquisition, moment, suv_factor, uptake_s
from umdlib.errors import InputError
from umdlib.images.volume import Volume

_TIMES = ("AcquisitionDate", "SeriesDate", "StudyDate", "AcquisitionTime", "SeriesTime", "StudyTime")

# Words of ImageType that name pictures which are not the examination itself.
_NOT_IMAGES = {"LOCALIZER", "SCOUT", "MIP", "PROJECTION IMAGE", "SCREEN SAVE", "REFORMATTED", "MPR", "FUSED"}

_FEWEST_SLICES = 8

# A gap between slices may differ by this share of the usual gap.
_GAP_TOLERANCE = 0.1

# Slices of one stack may differ by so much in a cosine of their orientation, and by this share of their spacing.
_SAME_COSINE, _SAME_SPACING = 2e-3, 1e-3

# A stack may lean by this share of its height, as `header.check_affine` allows it, or by half a voxel.
_LEAN = 5e-3

# What `Header.part` holds, as titles call it.
_PARTS = ("", "echo time ", "acquisition ")

# Voxels of one volume that are read at most: 2 GB of int16.
_MOST_VOXELS = 1 << 30


@dataclass(frozen=True)
class Header:
    """Fields of one file's header. No name, birth date or number of a person but `patient`.

    `frame` is the study's UID where the file names no frame of reference; `scale` says why CT is not in HU and
    PET in no unit, and is empty else; `part` tells images apart that lie at one place of one series. A study without
    a PatientID is a person of its own.
    """

    path: Path
    patient: str
    study: str
    series: str
    instance: str
    frame: str
    modality: str
    image_type: tuple[str, ...]
    description: str
    when: datetime | None
    size: tuple[int, int]
    spacing: tuple[float, ...]
    orientation: tuple[float, ...]
    positions: tuple[tuple[float, ...], ...]
    multi_frame: bool
    person: dict[str, str]
    kernel: str
    scale: str
    part: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Files of one series that have one size and orientation, in the order of their place."""

    headers: tuple[Header, ...] = field(repr=False)
    part: str = ""

    @property
    def first(self) -> Header:
        """The header that represents the series."""
        return self.headers[0]

    @property
    def title(self) -> str:
        """What a note calls it."""
        name = self.first.description or "without a description"
        part = f"{self.part}, " if self.part else ""
        return f"{self.first.modality} '{name}' ({part}{self.slices} slices)"

    @property
    def positions(self) -> list[tuple[float, ...]]:
        """Position (mm) of each slice, whether it is a file or a frame."""
        return [position for h in self.headers for position in h.positions]

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.positions)

    def places(self) -> np.ndarray:
        """Position (mm) of each slice along the normal of the slices."""
        row, column = np.array(self.first.orientation).reshape(2, 3)
        return np.array(self.positions) @ np.cross(row, column)

    def reach(self) -> tuple[float, float]:
        """Lowest and highest z (mm, towards the head) of the series' slices."""
        z = [position[2] for position in self.positions]
        return min(z), max(z)


def read_headers(
    files: Iterable[Path], leave_out: Callable[[object, str], None], say: Callable[[str], None]
) -> list[Header]:
    """Headers of all DICOM files that can be read; the others are left out with the reason."""
    pydicom = quiet_pydicom()
    found = []
    for number, path in enumerate(files, start=1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(_header(path, read_file(path, stop_before_pixels=True)))
        except pydicom.errors.InvalidDicomError:
            leave_out(path, "not a DICOM file")
        except InputError as error:
            leave_out(path, str(error))
        except Exception as error:  # a damaged file raises whatever its bytes lead pydicom to
            leave_out(path, f"a damaged DICOM file: {type(error).__name__}: {error}"[:200])
        if number % 500 == 0:
            say(f"{number} files looked at")
    return found


def quiet_pydicom():
    """The pydicom module, without its chatter on values that do not fit their kind."""
    try:
        import pydicom
        import pydicom.config
        import pydicom.errors
    except ImportError:
        raise InputError("Reading DICOM needs pydicom and highdicom: pip install 'umdlib[import]'.") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    return pydicom


def read_file(path: Path, *, stop_before_pixels: bool = False):
    """Read a DICOM file with pydicom, also one that begins with its first tag, as files of old archives do.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        Not a DICOM file. Damaged bytes raise whatever pydicom makes of them.
    """
    pydicom = quiet_pydicom()
    with open(path, "rb") as file:
        bare = file.read(4) in (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")
    dataset = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels, force=bare)
    if bare and "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
        )
    return dataset


def _header(path: Path, dataset) -> Header:
    """The record of one file; every value is read here, so that damage is reported here."""

    def text(keyword: str) -> str:
        value = dataset.get(keyword)
        return "" if value is None else str(value).strip()

    modality = text("Modality").upper()
    if not modality:
        raise InputError("a DICOM file without a modality (a DICOMDIR or a report)")
    keywords = ("PatientAge", "PatientSex", "PatientSize", "PatientWeight")
    image_type = tuple(str(v).upper() for v in (dataset.get("ImageType") or ()))
    injected = (dataset.get("RadiopharmaceuticalInformationSequence") or [{}])[0]
    return Header(
        path=path,
        patient=text("PatientID") or f"unnamed-{_digest(text('StudyInstanceUID'))}",
        study=text("StudyInstanceUID"),
        series=text("SeriesInstanceUID"),
        instance=text("SOPInstanceUID"),
        frame=text("FrameOfReferenceUID") or text("StudyInstanceUID"),
        modality=modality,
        image_type=image_type,
        description=text("SeriesDescription"),
        when=_moment_of(dataset),
        size=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        **_geometry(dataset, modality),
        person={k: text(k) for k in keywords}
        | {"tracer": _tracer(injected), "born": _digest(text("PatientBirthDate"))},
        kernel=text("ConvolutionKernel"),
        scale=_scale(dataset, modality),
        part=("/".join(image_type[2:]), text("EchoTime"), text("AcquisitionNumber")),
    )


def _digest(text: str) -> str:
    """Eight letters that stand for a text; none for an empty one."""
    return hashlib.sha256(text.encode()).hexdigest()[:8] if text else ""


def _scale(dataset, modality: str) -> str:
    """Why stored numbers do not become HU, activity or the intensity of MR; empty where they do."""
    if int(dataset.get("SamplesPerPixel") or 1) > 1:
        return "colours: a picture, as of fused images"
    if modality not in ("CT", "PT") or frames.is_multi_frame(dataset):
        return ""
    if "RescaleSlope" not in dataset and "ModalityLUTSequence" not in dataset:
        return "RescaleSlope (0028,1053) is missing: what its numbers mean is not known"
    kind = str(dataset.get("RescaleType") or "HU").strip().upper()
    if modality == "CT" and kind not in ("HU", "US"):
        return f"RescaleType (0028,1054) is {kind}: a map of something else than HU"
    return ""


def _moment_of(dataset) -> datetime | None:
    """When an image was taken."""
    texts = {k: str(dataset.get(k) or "").strip() for k in _TIMES}
    when = moment(
        texts["AcquisitionDate"] or texts["SeriesDate"] or texts["StudyDate"],
        texts["AcquisitionTime"] or texts["SeriesTime"] or texts["StudyTime"],
    )
    taken = str(
        frames.value(dataset, "AcquisitionDateTime")
        or frames.value(dataset, "FrameAcquisitionDateTime")
        or ""
    )
    return moment("", taken) or when if frames.is_multi_frame(dataset) else when


def _geometry(dataset, modality: str) -> dict:
    """Spacing, orientation and the position of each slice: of one, or of the frames of an enhanced image."""
    multi_frame = modality in ("CT", "PT", "MR") and int(dataset.get("NumberOfFrames") or 1) > 1
    if multi_frame and frames.is_multi_frame(dataset):
        spacing = frames.one_for_all(dataset, "PixelMeasuresSequence", "PixelSpacing")
        orientation = frames.one_for_all(dataset, "PlaneOrientationSequence", "ImageOrientationPatient")
        positions = frames.per_frame(dataset, "PlanePositionSequence", "ImagePositionPatient")
    else:
        spacing, orientation = dataset.get("PixelSpacing"), dataset.get("ImageOrientationPatient")
        positions = [dataset.get("ImagePositionPatient")]
    return {
        "spacing": _numbers("PixelSpacing", spacing, 2),
        "orientation": _numbers("ImageOrientationPatient", orientation, 6),
        "positions": tuple(_numbers("ImagePositionPatient", p, 3) for p in positions),
        "multi_frame": multi_frame,
    }


def _numbers(keyword: str, value, count: int) -> tuple[float, ...]:
    """Numbers of a tag; none where it is missing."""
    values = tuple(float(v) for v in value) if value is not None and value != "" else ()
    if values and (len(values) != count or not np.isfinite(values).all()):
        raise InputError(
            f"{keyword} has {len(values)} numbers, or some that are not finite. Must be {count}."
        )
    return values


def _tracer(injected) -> str:
    """FDG, PSMA or what the radiopharmaceutical is called."""
    names = [str(injected.get("Radiopharmaceutical") or "")]
    names += [str(c.get("CodeMeaning") or "") for c in injected.get("RadiopharmaceuticalCodeSequence") or ()]
    text = " ".join(names).strip()
    for word, name in (("fdg", "FDG"), ("deoxyglucose", "FDG"), ("psma", "PSMA"), ("dotatate", "DOTATATE")):
        if word in text.lower():
            return name
    return text[:40]


def group_series(headers: Iterable[Header], leave_out: Callable[[object, str], None]) -> list[Series]:
    """Series that can be volumes; what cannot be one is left out with the reason."""
    groups: dict[tuple, list[list[Header]]] = {}
    seen: dict[tuple, Path] = {}
    for h in headers:
        if h.modality not in ("CT", "PT", "MR"):
            continue
        first = seen.setdefault((h.patient, h.study, h.series, h.instance, h.positions), h.path)
        if first != h.path and h.instance:
            leave_out(h.path, f"the same image (SOPInstanceUID) as {first}")
            continue
        picture = bool(_NOT_IMAGES.intersection(h.image_type))  # a localiser within a series
        key = (str(h.path) if h.multi_frame else "", h.patient, h.study, h.series, h.size, picture, h.scale)
        stacks = groups.setdefault(key, [])
        stack = next((s for s in stacks if _parallel(s[0], h)), None)
        if stack is None:
            stacks.append([h])
        else:
            stack.append(h)
    found = []
    for part, members in (p for stacks in groups.values() for stack in stacks for p in _parts(stack)):
        if (why := _no_volume(members)) is not None:
            leave_out(_called(members), why)
            continue
        series = Series(tuple(members), part)
        if not members[0].multi_frame:
            order = np.argsort(series.places(), kind="stable")
            series = Series(tuple(members[n] for n in order), part)
        if (why := _uneven(series) or _leaning(series)) is not None:
            leave_out(_called(members), why)
            continue
        found.append(series)
    return found


def _parts(stack: list[Header]) -> list[tuple[str, list[Header]]]:
    """Images of CT or MR that one series holds at the same places, told apart by type, echo and acquisition.

    A stack without two slices at one place stays as it is, and one that these do not tell apart.
    """
    if len(stack) == len({h.positions for h in stack}) or stack[0].modality == "PT":
        return [("", stack)]
    for fields in ((0,), (1,), (2,), (0, 1), (0, 1, 2)):
        parts: dict[str, list[Header]] = {}
        for h in stack:
            parts.setdefault(", ".join(f"{_PARTS[n]}{h.part[n]}" for n in fields), []).append(h)
        if all(len(p) == len({h.positions for h in p}) for p in parts.values()):
            return list(parts.items())
    return [("", stack)]


def _parallel(a: Header, b: Header) -> bool:
    """Whether two slices have one orientation and spacing but for rounding."""
    if len(a.orientation) != len(b.orientation) or len(a.spacing) != len(b.spacing):
        return False
    return bool(
        np.allclose(a.orientation, b.orientation, rtol=0, atol=_SAME_COSINE)
        and np.allclose(a.spacing, b.spacing, rtol=_SAME_SPACING, atol=0)
    )


def _called(headers: list[Header]) -> str:
    """What a report calls a group of files."""
    first = headers[0]
    return f"{first.modality} '{first.description}' of {first.patient} ({len(headers)} files, {first.path.parent})"


def _no_volume(headers: list[Header]) -> str | None:
    """Why files of one size and orientation are not the slices of an image; None where they may be."""
    first = headers[0]
    words = {w for h in headers for w in h.image_type} & _NOT_IMAGES
    if words:
        return f"ImageType says {', '.join(sorted(words)).lower()}"
    if scale := next((h.scale for h in headers if h.scale), ""):
        return scale
    positions = [p for h in headers for p in h.positions]
    if not first.orientation or not first.spacing or not all(positions):
        return "no ImageOrientationPatient, ImagePositionPatient or PixelSpacing"
    if min(first.spacing) <= 0:
        return f"PixelSpacing is {first.spacing[0]:g} x {first.spacing[1]:g} mm. Must be above 0"
    if len(positions) < _FEWEST_SLICES:
        return f"{len(positions)} slices: fewer than {_FEWEST_SLICES}"
    if min(first.size) < 2 or first.size[0] * first.size[1] * len(positions) > _MOST_VOXELS:
        return f"{first.size[0]} x {first.size[1]} x {len(positions)} voxels: not a size that can be read"
    return None


def _uneven(series: Series) -> str | None:
    """Why slices do not lie at even distances; None where they do."""
    gaps = np.diff(np.sort(series.places()))
    usual = float(np.median(gaps))
    if usual <= 0 or (gaps <= 0.01 * max(usual, 1e-3)).any():
        return "several slices at one place: a dynamic, gated or multi-echo series, or files that are there twice"
    wrong = np.flatnonzero(np.abs(gaps - usual) > _GAP_TOLERANCE * usual)
    if len(wrong):
        return (
            f"slices are missing or uneven: a gap of {gaps[wrong[0]]:.2f} mm after slice {wrong[0] + 1}, "
            f"usually {usual:.2f} mm"
        )
    return None


def _leaning(series: Series) -> str | None:
    """Why slices do not lie one above the other; None where they do."""
    order = np.argsort(series.places())
    low, high = (np.array(series.positions[n]) for n in (order[0], order[-1]))
    height = float(series.places()[order[-1]] - series.places()[order[0]])
    beside = float(np.sqrt(max(0.0, ((high - low) ** 2).sum() - height**2)))
    if beside <= max(_LEAN * height, 0.5 * min(series.first.spacing)):
        return None
    return (
        f"the gantry was tilted by {np.degrees(np.arctan2(beside, height)):.1f} degrees (or the slices are shifted "
        f"otherwise): the last slice lies {beside:.1f} mm beside the first. Distances need straight stacks: dcm2niix "
        "writes a corrected image"
    )


def read_series(series: Series, *, suv: str = "bw") -> tuple[Volume, str]:
    """Volume of a series: HU, SUV or a.u.

    Parameters
    ----------
    series
        Its pixels are decoded by pydicom and laid out by highdicom.
    suv
        Kind of SUV, of `suv.KINDS`.

    Returns
    -------
    Volume
        (I, J, K): columns, rows, slices in the direction of the head (or right, front).
    str
        A word where something was repaired; empty else.
    """
    quiet_pydicom()
    import highdicom

    first, real_world = series.first, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            datasets = [read_file(h.path, stop_before_pixels=first.multi_frame) for h in series.headers]
            factor, word = 1.0, ""
            if first.modality == "PT":
                acquisition = Acquisition.of_dicom(datasets)
                factor = suv_factor(acquisition, kind=suv, source=f"'{first.description}'")
                word = _repaired(acquisition)
                real_world = "Units" in frames.pet_tags(datasets[0]) if first.multi_frame else False
            tolerance = _GAP_TOLERANCE * float(np.median(np.diff(np.sort(series.places()))))
            if first.multi_frame:
                made = frames.read_frames(first.path, real_world=real_world, tolerance_mm=tolerance)
            else:
                for d in datasets:  # one stack but for rounding, which highdicom does not take for one
                    d.ImageOrientationPatient = datasets[0].ImageOrientationPatient
                    d.PixelSpacing = datasets[0].PixelSpacing
                    d.FrameOfReferenceUID = first.frame or first.series
                made = highdicom.get_volume_from_series(
                    datasets,
                    dtype=np.float64,
                    apply_real_world_transform=False,
                    apply_presentation_lut=False,
                    atol=tolerance,
                )
        except InputError:
            raise
        except MemoryError:
            raise InputError(f"Series {series.title} needs more memory than there is.") from None
        except Exception as error:  # decoders raise many classes for damaged pixel data
            raise InputError(
                f"Series {series.title} cannot be read: {type(error).__name__}: {error}."
            ) from None
    data, affine = to_ras(made.array, made.affine)
    unit = {"CT": "HU", "PT": "SUV", "MR": "a.u."}[first.modality]
    return Volume(np.asfortranarray(data * factor, dtype=np.float32), affine, unit, series.title), word


def _repaired(acquisition: Acquisition) -> str:
    """What was repaired in a conversion that needs the injection's time."""
    try:
        return uptake_s(acquisition)[1]
    except InputError:
        return ""


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slice, row, column) in LPS to (column, row, slice) in RAS, slices in ascending order."""
    data = array.transpose(2, 1, 0)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    main = int(np.argmax(np.abs(affine[:3, 2])))
    if affine[main, 2] < 0:
        data = data[:, :, ::-1]
        affine[:3, 3] += affine[:3, 2] * (data.shape[2] - 1)
        affine[:3, 2] *= -1
    return data, affine
