"""Folders of DICOM files: examinations found, one series chosen for each image, PET to SUV, contours to labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from umdlib.cohort.contours import StructureSet, label_map, read_structure_set
from umdlib.cohort.names import NameMap
from umdlib.cohort.pattern import session_name
from umdlib.cohort.plan import Plan, Planned
from umdlib.cohort.series import Series, group_series, read_file, read_headers, read_series
from umdlib.cohort.suv import Acquisition, suv_factor
from umdlib.cohort.walk import files_below
from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume

# Images of one hybrid examination are taken within this time.
_TOGETHER_H = 6.0

# Words of ImageType of MR that shows no anatomy as readers know it; kernels of CT that sharpen lung or bone.
_NO_ANATOMY = re.compile(r"\bu-?map|_umap|mu[ _-]?map|µ-?map|\badc\b|\bdwi\b|trace_?w", re.IGNORECASE)
_FAT_OR_PHASE = {"F", "FAT", "FF", "FAT_FRACTION", "P", "PHASE", "PHASE MAP"}
_SHARP = re.compile(r"lung|bone|sharp|edge|\bB[67]\d|\bBl\d|\bBr[67]\d", re.IGNORECASE)


@dataclass(frozen=True)
class DicomOptions:
    """Options of an import of DICOM.

    Attributes
    ----------
    suv
        Kind of SUV, of `suv.KINDS`.
    apart
        Whether an MR or CT of another time in the PET's frame of reference is enrolled, as session
        petct-apart or petmr-apart.
    """

    suv: str = "bw"
    apart: bool = False


def plan_dicom(
    folder: str | Path,
    names: NameMap,
    options: DicomOptions | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Plan a cohort of DICOM files, however they are laid out and called.

    Parameters
    ----------
    folder
        All files below it are looked at. Persons are told apart by PatientID, series by their UIDs.
    names
        What names of contours and segments mean.
    options
        None takes the defaults.
    say
        Takes a line of progress.

    Returns
    -------
    Plan
        A PET and the CT or MR in its frame of reference, taken within hours, are an examination. Of several
        series the note says which one was chosen, and why.

    Raises
    ------
    InputError
        No such folder, or no series in it that can be an image.
    """
    options, plan = options or DicomOptions(), Plan()
    headers = read_headers(files_below(folder, plan.left_out), plan.leave_out, say)
    sets = []
    for h in headers:
        if h.modality in ("RTSTRUCT", "SEG"):
            try:
                sets.append((h, read_structure_set(h.path, h.modality, names)))
            except InputError as error:
                plan.leave_out(h.path, str(error))
        elif h.modality not in ("CT", "PT", "MR"):
            plan.leave_out(h.path, f"modality {h.modality}")
    for h, found in sets:
        for name in found.unknown:
            plan.leave_out(f"'{name}' of {h.path}", "not a known structure; name it in a table (--names)")
        for name in found.undrawn:
            plan.leave_out(f"'{name}' of {h.path}", "a region without a contour")
    series = group_series(headers, plan.leave_out)
    if not series:
        raise InputError(
            f"No series in {folder} can be an image ({len(headers)} DICOM files were found). "
            + "; ".join(why for _, why in plan.left_out[:3])
        )
    plan.notes += [
        f"{s.title} of {s.first.patient} names no frame of reference: it is taken to lie where its study does "
        "(`umdlib check` compares the outlines)"
        for s in series
        if s.first.frame == s.first.study
    ]
    plan.notes += _persons(series)
    plan.structures = {s for _, found in sets for s in found.meaning.values()}
    for patient in dict.fromkeys(s.first.patient for s in series):
        own = [s for s in series if s.first.patient == patient]
        _patient(plan, patient, own, [f for h, f in sets if h.patient == patient], options)
    return plan


def _persons(series: list[Series]) -> Iterator[str]:
    """Notes on persons that headers do not tell apart, or perhaps wrongly."""
    unnamed = {s.first.patient for s in series if s.first.patient.startswith("unnamed-")}
    if unnamed:
        yield f"{len(unnamed)} studies have no PatientID: each counts as a person of its own"
    for patient in sorted({s.first.patient for s in series} - unnamed):
        people = [h.person for s in series if s.first.patient == patient for h in s.headers]
        for key, what in (("PatientSex", "sexes"), ("born", "birth dates")):
            if len({p[key].upper() for p in people} - {"", "O"}) > 1:
                yield (
                    f"PatientID {patient} stands beside several {what}: it counts as one person. Are they several, "
                    "import their folders apart"
                )


def _patient(
    plan: Plan, patient: str, series: list[Series], sets: list[StructureSet], options: DicomOptions
) -> None:
    """Add the examinations of one person, in order of time."""
    exams = []
    for frame in dict.fromkeys(s.first.frame for s in series):
        here = [s for s in series if s.first.frame == frame]
        exams += _examinations(plan, here, options)
    _tell_frames(plan, patient, exams)
    exams.sort(key=lambda e: (_when(e["PET"] if "PET" in e else next(iter(e.values()))), len(e)))
    kinds = [_kind(e) for e in exams]
    for number, (exam, kind) in enumerate(zip(exams, kinds, strict=True)):
        apart = "apart" if _apart(exam) else ""
        several = kinds.count(kind) > 1
        session = session_name(kind, f"{apart}{kinds[:number].count(kind) + 1}" if several else apart)
        for modality, chosen in exam.items():
            plan.rows.append(_planned(plan, patient, session, modality, chosen, sets, series, options))


def _examinations(plan: Plan, series: list[Series], options: DicomOptions) -> list[dict[str, Series]]:
    """Examinations in one frame of reference: a PET with each structural modality, or an image alone."""
    pets = _usable_pets(plan, [s for s in series if s.first.modality == "PT"], options)
    structural = {m: [s for s in series if s.first.modality == m] for m in ("CT", "MR")}
    if not pets:
        return [{m: _choose(plan, found, None)} for m, found in structural.items() if found]
    exams, days = [], []
    for pet in pets:
        if not any(abs(_hours(pet, other)) < _TOGETHER_H for other in days):
            days.append(pet)
    for day in days:
        pet = _choose(plan, [p for p in pets if abs(_hours(p, day)) < _TOGETHER_H], None)
        partners = 0
        for modality, found in structural.items():
            if candidates := _partners(plan, found, pet, options):
                exams.append({modality: _choose(plan, candidates, pet), "PET": pet})
                partners += 1
        if partners == 0:
            exams.append({"PET": pet})
        if partners > 1:
            plan.notes.append(f"PET of {pet.first.patient} is enrolled with its CT and with its MR")
    return exams


def _partners(plan: Plan, found: list[Series], pet: Series, options: DicomOptions) -> list[Series]:
    """Series of the same examination as a PET; with ``--apart`` those of another day where there is none."""
    together = [s for s in found if abs(_hours(s, pet)) < _TOGETHER_H]
    if options.apart:
        return together or found
    for s in found:
        if s not in together:
            hours = _hours(s, pet)
            gap = (
                f"taken {abs(hours) / 24:.1f} days {'before' if hours < 0 else 'after'} the PET in its frame"
            )
            if np.isinf(hours):
                gap = "it, or the PET in its frame, has no time, and they are of two studies: in one frame"
            plan.leave_out(
                f"{s.title} of {s.first.patient}",
                f"{gap} of reference: not one examination; --apart enrols it as one of its own",
            )
    return together


def _usable_pets(plan: Plan, pets: list[Series], options: DicomOptions) -> list[Series]:
    """PET series that can become SUV."""
    usable = []
    for pet in pets:
        try:
            datasets = [read_file(h.path, stop_before_pixels=True) for h in pet.headers]
            suv_factor(Acquisition.of_dicom(datasets), kind=options.suv, source=f"'{pet.first.description}'")
        except InputError as error:
            plan.leave_out(f"{pet.title} of {pet.first.patient}", str(error))
        except Exception as error:  # a damaged value raises when it is read
            plan.leave_out(
                f"{pet.title} of {pet.first.patient}", f"damaged: {type(error).__name__}: {error}"[:200]
            )
        else:
            usable.append(pet)
    return usable


def _choose(plan: Plan, found: list[Series], pet: Series | None) -> Series:
    """The series that is used for a modality; the others are left out with the reason."""
    ranks = {id(s): _rank(s, pet) for s in found}
    order = sorted(found, key=lambda s: [r for _, r in ranks[id(s)]], reverse=True)
    best = order[0]
    for other in order[1:]:
        reason = next(
            (word for (word, a), (_, b) in zip(ranks[id(best)], ranks[id(other)], strict=True) if a != b),
            "the same in all that is compared; the first one by its UID is taken",
        )
        plan.leave_out(f"{other.title} of {other.first.patient}", f"{best.title} is taken: {reason}")
    if len(order) > 1:
        plan.notes.append(f"{best.first.patient}: {best.title} chosen of {len(order)} series of its kind")
    return best


def _rank(series: Series, pet: Series | None) -> list[tuple[str, float | str]]:
    """What decides between series, most important first, with the words for it."""
    low, high = series.reach()
    shared = high - low
    if pet is not None:
        shared = min(high, pet.reach()[1]) - max(low, pet.reach()[0])
    voxel = series.first.spacing[0] * series.first.spacing[1]
    sharp = _SHARP.search(f"{series.first.kernel} {series.first.description}")
    return [
        ("it is primary and the other one derived", float("SECONDARY" not in series.first.image_type)),
        ("it is original and the other one derived", float("DERIVED" not in series.first.image_type)),
        ("it shows neither fat, phase, diffusion nor attenuation", float(not _shows_no_anatomy(series))),
        ("it shares more of the PET's length" if pet else "it is longer", round(shared / 10)),
        ("its kernel is not a sharp one", float(not sharp)),
        ("it has more slices", series.slices),
        ("its voxels are smaller", -round(voxel, 3)),
        ("of the order of their UIDs", f"{series.first.series} {series.part}"),
    ]


def _shows_no_anatomy(series: Series) -> bool:
    """Whether an MR is a fat or phase image, of diffusion, or the map that PET/MR makes for attenuation correction."""
    words = _FAT_OR_PHASE.intersection(series.first.image_type)
    return series.first.modality == "MR" and bool(words or _NO_ANATOMY.search(series.first.description))


def _planned(
    plan: Plan,
    patient: str,
    session: str,
    modality: str,
    chosen: Series,
    sets: list[StructureSet],
    series: list[Series],
    options: DicomOptions,
) -> Planned:
    """One image with its columns, and the contours drawn on it or in its frame."""
    drawn_on = [s for s in sets if chosen.first.series in s.series]
    in_frame = [s for s in sets if s.frame and s.frame == chosen.first.frame]
    own = [s for s in (drawn_on or in_frame) if s.meaning]
    names = sorted({n for s in sets for n in s.meaning.values()})
    by_uid = {s.first.series: s for s in series}

    def image() -> Volume:
        made, word = read_series(chosen, suv=options.suv)
        if word:
            plan.notes.append(f"{patient} {session} {modality}: {word}")
        return made

    def reference(made: Volume) -> tuple[LabelMap, list[str]]:
        value = {s.name: s.value for s in plan.records()}
        return _joined([_on_grid(s, made, chosen, by_uid, value, options) for s in own], made)

    return Planned(
        patient, session, modality, image, reference if own and names else (), _columns(chosen, options)
    )


def _on_grid(
    structures: StructureSet,
    image: Volume,
    chosen: Series,
    by_uid: dict[str, Series],
    value: dict[str, int],
    options: DicomOptions,
) -> tuple[LabelMap, list[str]]:
    """Labels of a structure set on an image's grid; drawn on the series that it was drawn on, then put over."""
    source = next((by_uid[u] for u in structures.series if u in by_uid), None)
    if structures.kind == "SEG" or source is None or source.first.series == chosen.first.series:
        return label_map(structures, image, value, drawn_here=source is not None)
    base, _ = read_series(source, suv=options.suv)
    made, notes = label_map(structures, base, value)
    data = geometry.resample(made.data, made.affine, image.affine, image.shape, order=0)
    return LabelMap(data, image.affine, image.name), [
        *notes,
        f"drawn on {source.title}, put on this image's grid",
    ]


def _joined(found: list[tuple[LabelMap, list[str]]], image: Volume) -> tuple[LabelMap, list[str]]:
    """Label maps of several structure sets as one; the first one keeps what two claim."""
    whole, notes = found[0][0].data.copy(), list(found[0][1])
    for made, more in found[1:]:
        clash = int(((whole != 0) & (made.data != 0) & (whole != made.data)).sum())
        np.copyto(whole, made.data, where=whole == 0)
        notes += more + (
            [f"{clash} voxels belong to structures of two files; the first one keeps them"] if clash else []
        )
    return LabelMap(whole, image.affine, image.name), notes


def _columns(series: Series, options: DicomOptions) -> dict[str, str]:
    """Age, sex, weight, height and tracer; no date, name or number."""
    person = series.first.person
    age = re.fullmatch(r"(\d{1,3})([DWMY])", person["PatientAge"])
    years = {"Y": 1, "M": 1 / 12, "W": 1 / 52, "D": 1 / 365}
    columns = {
        "age": f"{int(int(age[1]) * years[age[2]])}" if age else "",
        "sex": person["PatientSex"].upper() if person["PatientSex"].upper() in ("F", "M", "O") else "",
        "height_cm": _in_range(person["PatientSize"], 100, 30, 250),
        "weight_kg": _in_range(person["PatientWeight"], 1, 0.3, 400),
    }
    if series.first.modality == "PT":
        columns |= {"tracer": person["tracer"], "suv": options.suv}
    return columns


def _in_range(text: str, factor: float, low: float, high: float) -> str:
    """A number of a header in a manifest's unit; empty where it is missing or not possible."""
    try:
        number = float(text) * factor
    except ValueError:
        return ""
    return f"{number:.4g}" if low <= number <= high else ""


def _kind(exam: dict[str, Series]) -> str:
    """petct or petmr."""
    return "petmr" if "MR" in exam else "petct"


def _apart(exam: dict[str, Series]) -> bool:
    """Whether the two images of an examination were taken at different times."""
    times = list(exam.values())
    return len(times) == 2 and abs(_hours(times[0], times[1])) >= _TOGETHER_H


def _when(series: Series) -> datetime:
    """Time of a series; an early one where it has none."""
    return min((h.when for h in series.headers if h.when is not None), default=datetime(1900, 1, 1))


def _hours(a: Series, b: Series) -> float:
    """Hours from `b` to `a`; where one has no time 0 within a study, and infinite else."""
    times = [[h.when for h in s.headers if h.when is not None] for s in (a, b)]
    if not all(times):
        return 0.0 if a.first.study == b.first.study else np.inf
    return (min(times[0]) - min(times[1])).total_seconds() / 3600


def _tell_frames(plan: Plan, patient: str, exams: list[dict[str, Series]]) -> None:
    """Leave out CT and MR alone whose study has a PET in another frame of reference."""
    pets = {e["PET"].first.study for e in exams if "PET" in e}
    for exam in list(exams):
        (first, *rest) = exam.values()
        if not rest and "PET" not in exam and first.first.study in pets:
            exams.remove(exam)
            plan.leave_out(
                f"{first.title} of {patient}",
                "its study has a PET in another frame of reference: whether they meet is not known",
            )
