"""BIDS folders, queried with pybids: images by suffix, PET to SUV by the sidecar of PET-BIDS, label maps."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from umdlib import labels
from umdlib.cohort import nuclides
from umdlib.cohort.manifest import read_structures
from umdlib.cohort.names import NameMap, named_within
from umdlib.cohort.pattern import session_name
from umdlib.cohort.plan import Part, Plan, Planned, given_values
from umdlib.cohort.suv import KINDS, body_size
from umdlib.cohort.walk import subfolders
from umdlib.errors import InputError, unknown_name
from umdlib.files import existing, read_tsv

# Suffix of a file -> modality; an MR of an examination is the first of these that is there.
_MR = ("T1w", "T2w", "FLAIR", "MR", "mr", "PDw")
_SUFFIXES = {"ct": "CT", "CT": "CT", "pet": "PET", "PET": "PET"} | dict.fromkeys(_MR, "MR")

_ACTIVITY = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "uci": 3.7e4, "mci": 3.7e7, "ci": 3.7e10}

# Injected activities (Bq) and weights (kg) of persons.
_DOSE, _WEIGHT = (1e5, 5e10), (1, 400)

# Where the nuclide is named; the first that is there counts.
_NUCLIDES_IN = ("TracerRadionuclide", "Radiopharmaceutical", "TracerName")

# What dcm2niix writes in DICOM's words -> PET-BIDS.
_IN_DICOMS_WORDS = {
    "RadionuclideTotalDose": "InjectedRadioactivity",
    "AttenuationCorrectionMethod": "AttenuationCorrection",
}


def plan_bids(folder: str | Path, names: NameMap, *, suv: str = "bw") -> Plan:
    """Plan a cohort of a BIDS folder.

    Parameters
    ----------
    folder
        ``sub-X/[ses-Y/]…/sub-X_[ses-Y_]{ct,pet,T1w,…}.nii.gz``. A label map is a ``…_dseg.nii.gz`` of the same
        subject and session, in the folder or in its derivatives; one whose ``space-`` names a modality belongs
        to that image, any other to all images of the session. `dseg.tsv` names its values.
    names
        What those names mean.
    suv
        One of `suv.KINDS`; lbm and bsa take height and sex from `participants.tsv`.
    """
    if suv not in KINDS:
        raise unknown_name("SUV", suv, KINDS)
    folder, plan = Path(folder), Plan()
    images, maps = _files(folder, plan)
    if not images:
        raise InputError(f"No image in {folder} ends with {', '.join(sorted(set(_SUFFIXES)))} and .nii.gz.")
    structures, guessed = read_structures(_names_place(folder, maps))
    meaning = {s.value: names.of_name(s.name) or s.name for s in structures}
    if given := given_values(names):
        meaning, guessed = ({} if guessed else meaning) | given, False
    people = _people(folder)
    chosen = _chosen(images, plan)
    for (subject, session, modality), (file, sidecar) in chosen.items():
        person = people.get(subject, {})
        columns = {k: v for k, v in person.items() if k in ("age", "sex", "weight_kg", "height_cm")}
        scale = 1.0
        if modality == "PET":
            columns |= {"tracer": str(sidecar.get("TracerName") or ""), "suv": suv}
            try:
                scale = sidecar_factor(sidecar, person=person, suv=suv, source=file.name, plan=plan)
            except InputError as error:
                plan.leave_out(file, str(error))
                continue
        own = _maps_of(maps, subject, session, modality)
        parts = tuple(Part(f, (guessed and named_within(f, names)) or meaning) for f in own)
        for examination in _sessions_of(subject, session, modality, chosen):
            name = session_name(examination, session)
            plan.rows.append(Planned(f"sub-{subject}", name, modality, file, parts, columns, scale))
    enrolled = [part for row in plan.rows for part in row.reference]
    plan.structures = {name for part in enrolled for name in part.names()}
    if guessed and any(part.meaning is meaning for part in enrolled):
        plan.notes.append("no dseg.tsv names the label values: the 13 organs are assumed, which is a guess")
    plan.rows.sort(key=lambda r: (r.subject, r.session, r.modality == "PET"))
    return plan


def _sessions_of(subject: str, session: str, modality: str, chosen) -> list[str]:
    """Kinds of examination of an image: a PET has one with each structural image of its session, or petct."""
    kinds = {s.structural: s.name for s in labels.SESSIONS.values()}
    if modality in kinds:
        return [kinds[modality]]
    return [name for m, name in kinds.items() if (subject, session, m) in chosen] or [kinds["CT"]]


def _files(folder: Path, plan: Plan) -> tuple[list[tuple], list[tuple]]:
    """Images and label maps: (entities, file, sidecar)."""
    try:
        from bids import BIDSLayout
        from bids.layout import BIDSLayoutIndexer
    except ImportError:
        raise InputError("Reading BIDS needs pybids: pip install 'umdlib[import]'.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            indexer = BIDSLayoutIndexer(validate=False, ignore=[re.compile(r"/\."), re.compile("sourcedata")])
            places = [
                folder,
                *(subfolders(folder / "derivatives") if (folder / "derivatives").is_dir() else ()),
            ]
            layouts = [BIDSLayout(str(place), validate=False, indexer=indexer) for place in places]
            found = [f for layout in layouts for f in layout.get(extension=[".nii", ".nii.gz"])]
            sidecars = {f.path: dict(f.get_metadata()) for f in found}
    except Exception as error:  # pybids raises many classes for sidecars that are damaged
        raise InputError(
            f"Folder {folder} cannot be read as BIDS: {type(error).__name__}: {error}."
        ) from None
    images, maps = [], []
    for f in sorted(found, key=lambda f: f.path):
        entities = f.get_entities(metadata=False)
        record = (entities, Path(f.path), sidecars[f.path])
        if entities.get("suffix") == "dseg":
            maps.append(record)
        elif entities.get("suffix") in _SUFFIXES and "subject" in entities:
            images.append(record)
        else:
            plan.leave_out(f.path, f"suffix '{entities.get('suffix')}' is neither CT, MR, PET nor dseg")
    return images, maps


def _names_place(folder: Path, maps: list[tuple]) -> Path:
    """Folder whose `dseg.tsv` names the values: the nearest above the label maps."""
    for _, file, _ in maps:
        for place in file.parents:
            if existing(place / "dseg.tsv") is not None:
                return place
            if place == folder:
                break
    return folder


def _chosen(images: list[tuple], plan: Plan) -> dict[tuple[str, str, str], tuple[Path, dict]]:
    """(subject, session, modality) -> file and sidecar; of several the first by its kind; the others are listed."""
    order = {suffix: n for n, suffix in enumerate(_MR)}
    chosen: dict[tuple[str, str, str], tuple[Path, dict]] = {}
    ranked = sorted(
        images, key=lambda r: (order.get(r[0]["suffix"], 0), "desc" in r[0], "run" in r[0], str(r[1]))
    )
    for entities, file, sidecar in ranked:
        key = (entities["subject"], entities.get("session", ""), _SUFFIXES[entities["suffix"]])
        if key in chosen:
            plan.leave_out(file, f"a second {key[2]} of its session; {chosen[key][0].name} is taken")
        else:
            chosen[key] = (file, sidecar)
    return chosen


def _maps_of(maps: list[tuple], subject: str, session: str, modality: str) -> list[Path]:
    """Label maps of one image: those in its space, else those that name no space."""
    own = [r for r in maps if r[0].get("subject") == subject and r[0].get("session", "") == session]
    spaces = {str(r[0].get("space", "")).lower(): r[1] for r in own}
    wanted = {"PET": ("pet", "pt"), "CT": ("ct",), "MR": ("mr", "t1w")}[modality]
    for space in (*wanted, ""):
        if space in spaces:
            return [spaces[space]]
    return [r[1] for r in own[:1]]


def _people(folder: Path) -> dict[str, dict[str, str]]:
    """Subject without ``sub-`` -> columns, from `participants.tsv`."""
    path = existing(folder / "participants.tsv")
    if path is None:
        return {}
    table = read_tsv(path, ("participant_id",)).rename(
        columns={"weight": "weight_kg", "height": "height_cm", "body_weight": "weight_kg"}
    )
    rows = table.replace({"n/a": ""}).to_dict("records")
    return {row["participant_id"].removeprefix("sub-"): row for row in rows}


def sidecar_factor(
    sidecar: Mapping,
    *,
    person: Mapping[str, str] | None = None,
    suv: str = "bw",
    source: str = "the PET",
    plan: Plan | None = None,
) -> float:
    """Factor from the values of a PET file to SUV, by its PET-BIDS sidecar.

    Parameters
    ----------
    sidecar
        ``Units`` (SUVbw needs nothing else), ``InjectedRadioactivity`` with ``InjectedRadioactivityUnits``,
        ``TracerRadionuclide`` or ``RadionuclideHalfLife``, ``InjectionStart`` and ``ImageDecayCorrectionTime`` in
        seconds after ``TimeZero``, ``ImageDecayCorrected``, ``AttenuationCorrection``.
    person
        Row of participants.tsv: ``weight_kg`` (the sidecar's ``BodyWeight`` or ``PatientWeight`` replaces it),
        ``height_cm`` and ``sex``.
    suv
        One of `suv.KINDS`.
    source
        What errors name.
    plan
        Takes notes.

    Raises
    ------
    InputError
        A key that is missing or not possible, by its name; PET that is not corrected for decay or attenuation;
        an injection that starts with the scan, as converters write that do not know its time.
    """
    try:
        return _sidecar_factor(sidecar, person or {}, suv, plan)
    except InputError as error:
        raise InputError(f"PET {source}: {str(error).rstrip('.')}.") from None


def _body(kind: str, sidecar: Mapping, person: Mapping[str, str]) -> tuple[float, float]:
    """What the SUV of a kind is normalised by, and the weight in g."""
    weight = _positive(
        person.get("weight_kg") or sidecar.get("BodyWeight") or sidecar.get("PatientWeight"),
        "the body weight",
    )
    if not _WEIGHT[0] <= weight <= _WEIGHT[1]:
        raise InputError(f"the body weight is {weight:g} kg. Must be {_WEIGHT[0]} to {_WEIGHT[1]}")
    if kind == "bw":
        return weight * 1000, weight * 1000
    height = _positive(
        person.get("height_cm"), "height (cm) in participants.tsv, which SUVlbm and SUVbsa need,"
    )
    if not 40 <= height <= 250:
        raise InputError(f"height in participants.tsv is {height:g} cm. Must be 40 to 250")
    sex = str(person.get("sex") or "").upper()[:1]
    if kind == "lbm" and sex not in ("F", "M"):
        raise InputError(f"sex in participants.tsv is '{person.get('sex', '')}'. Lean body mass needs F or M")
    return body_size(kind, weight, height / 100, sex), weight * 1000


def _sidecar_factor(sidecar: Mapping, person: Mapping[str, str], suv: str, plan: Plan | None) -> float:
    """The factor, without the file's name in errors."""
    unit = re.sub(r"[^a-z/]", "", str(sidecar.get("Units") or "").lower())
    if unit in ("suv", "suvbw", "g/ml", "gml"):
        size, grams = (1.0, 1.0) if suv == "bw" else _body(suv, sidecar, person)
        return size / grams
    if unit not in ("bq/ml", "bqml", "bq/cc", "kbq/ml", "kbqml", "kbq/cc"):
        raise InputError(f"Units is '{sidecar.get('Units', '')}'. Must be Bq/mL, kBq/mL or SUV")
    sidecar = _in_bids_words(sidecar)
    if str(sidecar.get("ImageDecayCorrected")).lower() != "true":
        raise InputError(
            "ImageDecayCorrected is not true: PET that is not corrected for decay cannot become SUV"
        )
    method = str(sidecar.get("AttenuationCorrection") or "")
    if not method or method.strip().lower() in ("none", "no", "n/a", "nac"):
        raise InputError(
            "AttenuationCorrection is missing or none: PET that is not corrected cannot become SUV"
        )
    size, _ = _body(suv, sidecar, person)
    dose = _injected_bq(sidecar)
    if str(sidecar.get("DecayCorrection") or "").upper() != "ADMIN":
        dose *= _decayed(sidecar, plan)
    return (1000.0 if unit.startswith("k") else 1.0) * size / dose


def _in_bids_words(sidecar: Mapping) -> dict:
    """A sidecar that dcm2niix wrote in DICOM's words in those of PET-BIDS; lists of one number as the number."""
    found = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in sidecar.items()}
    for theirs, ours in _IN_DICOMS_WORDS.items():
        if theirs in found:
            found.setdefault(ours, found[theirs])
            if theirs == "RadionuclideTotalDose":
                found.setdefault("InjectedRadioactivityUnits", "Bq")
    if str(found.get("DecayCorrection") or "").upper() in ("START", "ADMIN"):
        found.setdefault("ImageDecayCorrected", True)
    return found


def _injected_bq(sidecar: Mapping) -> float:
    """Injected activity in Bq."""
    dose = _positive(sidecar.get("InjectedRadioactivity"), "InjectedRadioactivity")
    unit = str(sidecar.get("InjectedRadioactivityUnits") or "").lower().replace("µ", "u").replace("μ", "u")
    if unit not in _ACTIVITY:
        raise InputError(f"InjectedRadioactivityUnits is '{unit}'. Must be one of {', '.join(_ACTIVITY)}")
    activity = dose * _ACTIVITY[unit]
    if not _DOSE[0] <= activity <= _DOSE[1]:
        raise InputError(
            f"InjectedRadioactivity is {dose:g} {unit} = {activity / 1e6:g} MBq. Must be {_DOSE[0] / 1e6:g} to "
            f"{_DOSE[1] / 1e6:,.0f} MBq: is it in another unit?"
        )
    return activity


def _decayed(sidecar: Mapping, plan: Plan | None) -> float:
    """Share of the dose that is left at the time that the image is decay-corrected to."""
    named = nuclides.nuclide_of(next((str(sidecar[k]) for k in _NUCLIDES_IN if sidecar.get(k)), ""))
    half_life = nuclides.half_life_s(sidecar.get("RadionuclideHalfLife"), named, "RadionuclideHalfLife")
    seconds = _decay_s(sidecar)
    if plan is not None and seconds < 600:
        plan.notes.append(
            f"a PET was decay-corrected to {seconds:.0f} s after its injection: is that the protocol?"
        )
    return 2.0 ** (-seconds / half_life)


def _decay_s(sidecar: Mapping) -> float:
    """Seconds from the injection to the time that the image is decay-corrected to."""
    start, scan = sidecar.get("InjectionStart"), sidecar.get("ScanStart")
    to = sidecar.get("ImageDecayCorrectionTime")
    for key, value in (("InjectionStart", start), ("ImageDecayCorrectionTime", to)):
        if not isinstance(value, int | float):
            raise InputError(
                f"{key} is missing. Without it the dose cannot be decayed"
                + (
                    "; dcm2niix does not write it, `umdlib import dicom` reads it"
                    if "DecayCorrection" in sidecar
                    else ""
                )
            )
    if start == 0 and to == 0 and scan in (0, None) and not _dynamic(sidecar):
        raise InputError(
            "InjectionStart, ScanStart and ImageDecayCorrectionTime are all 0: a scan that begins with its injection "
            "and has one frame. Converters that do not know the injection's time write this; its SUV would be too low "
            "by a quarter after 45 min. Correct InjectionStart (negative seconds before TimeZero)"
        )
    if not 0 <= to - start <= 86400:
        raise InputError(
            f"The image is decay-corrected to {to - start:g} s after the injection. Must be 0 to 86400 s"
        )
    return float(to - start)


def _dynamic(sidecar: Mapping) -> bool:
    """Whether a sidecar describes several frames."""
    frames = sidecar.get("FrameTimesStart")
    return isinstance(frames, list) and len(frames) > 1


def _positive(value, name: str) -> float:
    """A number above 0; raises InputError with the key's name."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is missing") from None
    if not 0 < number < float("inf"):
        raise InputError(f"{name} is {value}. Must be a number above 0")
    return number
