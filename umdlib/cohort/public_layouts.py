"""Layouts of the public paired sets: which file is which image, and what its labels mean."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from umdlib.cohort.masks import plan_masks
from umdlib.cohort.names import NameMap, normal
from umdlib.cohort.nnunet import plan_nnunet
from umdlib.cohort.plan import Part, Plan, Planned
from umdlib.cohort.suv import Acquisition, suv_factor
from umdlib.cohort.walk import composed, files_below, is_volume, stem, subfolders
from umdlib.errors import InputError

# Columns of sets' tables (normal form) -> columns of a manifest.
_COLUMNS = {
    "age": "age",
    "patientage": "age",
    "patient_age": "age",
    "sex": "sex",
    "gender": "sex",
    "patientsex": "sex",
    "patient_sex": "sex",
    "weight_kg": "weight_kg",
    "weight": "weight_kg",
    "patientweight": "weight_kg",
    "patient_weight": "weight_kg",
    "disease": "disease",
    "diagnosis": "disease",
    "pathology": "disease",
}

_MISSING = ("", "n/a", "nan", "none", "unknown")


def plan_petwb_rep(folder: str | Path, names: NameMap) -> Plan:
    """Plan PETWB-REP: CT in ``rawdata``, PET in SUV in ``derivatives``, no references.

    Parameters
    ----------
    folder
        ``rawdata/sub-X/ses-01/anat/sub-X_ses-01_ct.nii.gz`` and ``derivatives/sub-X/[ses-01/]…_desc-pet_suv.nii.gz``
        or ``…_desc-suv_pet.nii.gz``; `metadata.csv`. Reports are never read.
    names
        Not used: the set has no labels.
    """
    folder, plan = Path(folder), Plan(defaced=True)
    people = {_bare(k): v for k, v in _people_of(folder / "metadata.csv", "image_id", plan).items()}
    for file in files_below(folder, plan.left_out):
        match = re.fullmatch(r"(?P<subject>sub-[^_]+)_ses-(?P<session>[^_]+)_(?P<rest>.+)", stem(file))
        if not is_volume(file) or match is None:
            if file.suffix.lower() == ".csv" and file.name.startswith("report"):
                plan.leave_out(file, "free text of a report")
            elif is_volume(file):
                plan.leave_out(file, "not named as the set names its images")
            continue
        rest, raw = match["rest"], "rawdata" in file.relative_to(folder).parts
        if raw and "desc-" in rest:
            plan.leave_out(file, "a resampled copy: it is under rawdata but has desc- in its name")
            continue
        modality = "CT" if rest == "ct" else "PET" if rest in ("desc-pet_suv", "desc-suv_pet") else None
        if modality is None:
            plan.leave_out(file, f"'{rest}' is neither the CT nor the PET in SUV")
            continue
        session = "petct" if match["session"] in ("01", "1") else f"petct-{normal(match['session'])}"
        subject = file.name[: len(match["subject"])]
        columns = people.get(_bare(subject.lower()), {}) | ({"tracer": "FDG"} if modality == "PET" else {})
        _add(plan, Planned(subject, session, modality, file, columns=columns))
    return _paired(plan, folder, "PETWB-REP")


def _bare(name: str) -> str:
    """An id without ``sub-``, in lower case."""
    return name.lower().removeprefix("sub-")


def plan_enhance_pet(folder: str | Path, names: NameMap) -> Plan:
    """Plan ENHANCE.PET 1.6k: organs and heart on the CT, the same put on the PET's grid; PET to SUV.

    Parameters
    ----------
    folder
        With ``imaging-data/images/{CT…,PT…}/NNNN.nii.gz``, ``imaging-data/ground-truth/{Organs,Cardiac}``,
        `PT-details.xlsx` (dose, weight, times, ``Data-Source``) and `labels.json`.
    names
        Of the scheme enhance-pet; `labels.json` is held against it.
    """
    folder, plan = Path(folder), Plan(defaced=True)
    data = folder / "imaging-data"
    details = _details(folder / "PT-details.xlsx", plan)
    meaning = {group: names.of_values("enhance-pet", group) for group in ("Organs", "Cardiac")}
    _hold_against(folder / "labels.json", names, plan)
    parts: dict[str, list[Part]] = {}
    for place in subfolders(data / "ground-truth"):
        if place.name not in meaning:
            plan.leave_out(place, "a group without any of the 13 organs")
            continue
        for file in files_below(place, plan.left_out):
            parts.setdefault(stem(file), []).append(Part(file, meaning[place.name]))
    for place in subfolders(data / "images"):
        modality = {"CT": "CT", "PT": "PET"}.get(place.name.split("_")[0])
        if modality is None:
            plan.leave_out(place, "neither CT nor PT")
            continue
        for file in files_below(place, plan.left_out):
            row = details.get(stem(file), {})
            about = {_COLUMNS[k]: _person(_COLUMNS[k], v) for k, v in row.items() if k in _COLUMNS}
            about |= _licence(row.get("data_source", ""))
            if modality == "PET":
                about["tracer"] = "FDG"
            try:
                scale = 1.0 if modality == "CT" else _scale(row, file)
            except InputError as error:
                plan.leave_out(file, str(error))
                continue
            subject = f"sub-{stem(file)}"
            reference = tuple(parts.get(stem(file), ()))
            _add(plan, Planned(subject, "petct", modality, file, reference, about, scale))
    plan.structures = {s for group in meaning.values() for s in group.values()}
    plan.notes.append("brain (Organs 4) is left out: the heads are defaced")
    plan.notes.append("the labels were drawn on the CT; on the PET they stand where the CT says")
    return _paired(plan, folder, "ENHANCE.PET")


def _details(path: Path, plan: Plan) -> dict[str, dict[str, str]]:
    """Rows of `PT-details.xlsx` by file number; an empty table where it is missing, with a note."""
    import pandas as pd

    if not path.is_file():
        plan.notes.append(f"{path.name} is missing: without dose, weight and times no PET becomes SUV")
        return {}
    try:
        table = pd.read_excel(path, dtype=str).fillna("")
    except ImportError:
        raise InputError(f"Reading {path} needs openpyxl: pip install 'umdlib[import]'.") from None
    except Exception as error:  # openpyxl raises many classes for damaged workbooks
        raise InputError(f"File {path} cannot be read as a workbook: {error}.") from None
    table.columns = [normal(str(c)) for c in table.columns]
    key = next(
        (c for c in table.columns if c in ("id", "file", "filename", "case", "subject", "image_id")), None
    )
    key = key or table.columns[0]
    rows = {}
    for row in table.to_dict("records"):
        number = re.sub(r"\D", "", str(row[key]).split(".")[0])
        if number:
            rows[number.zfill(4)] = {k: str(v) for k, v in row.items()}
    return rows


def _scale(row: Mapping[str, str], file: Path) -> float:
    """Factor to SUV from a row of the details; the columns are called as DICOM's keywords."""
    if not row:
        raise InputError(f"No row of PT-details.xlsx is about {file.name}: it cannot become SUV")
    joined = {k.replace("_", ""): v for k, v in row.items()}
    return suv_factor(Acquisition.of_table(joined), source=file.name)


def _licence(source: str) -> dict[str, str]:
    """Licence by originating site, as the set's card says."""
    if not source:
        return {}
    return {"licence": "CC BY-NC 4.0" if "autopet" in source.lower() else "CC BY 4.0"}


def _hold_against(path: Path, names: NameMap, plan: Plan) -> None:
    """Note where `labels.json` names a value otherwise than the map."""
    if not path.is_file():
        plan.notes.append("labels.json is missing: the values are read as the set's card names them")
        return
    try:
        groups = json.loads(path.read_text(encoding="utf-8-sig"))
        for group, key in (("Organs", "organs"), ("Cardiac", "cardiac")):
            table = next((v for k, v in groups.items() if key in k.lower()), {})
            known = names.meanings.get(("enhance-pet", group), {})
            for value, name in table.items():
                if int(value) in known and normal(known[int(value)][0]) != normal(name):
                    plan.notes.append(
                        f"labels.json calls value {value} of {group} '{name}', the name map '{known[int(value)][0]}': "
                        "the map is used; correct it in a table (--names)"
                    )
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"File {path} cannot be read as a table of labels: {error}.") from None


def plan_autopet(folder: str | Path, names: NameMap, *, organs: str | Path | None = None) -> Plan:
    """Plan autoPET, in either form; with AutoPET-Organ's labels, only the cases that have them.

    Parameters
    ----------
    folder
        nnU-Net's raw layout (``imagesTr/{tracer}_{patient}_{study}_0000.nii.gz``, ``labelsTr``) or
        ``<patient>/<study>/{SUV,CTres,CT,SEG,PET}.nii.gz``, of which CTres and SUV, on one grid, are taken.
    names
        Of the schemes autopet and autopet-organ.
    organs
        Folder of AutoPET-Organ (``PETCT_<hash>_<study>_.nii.gz``), or of the organ maps of autoPET III's
        winner (``fdg_<hash>.nii.gz``: model output; one value for both kidneys, which are told apart by
        side); None looks for such files below `folder`.
    """
    folder = Path(folder)
    if (folder / "imagesTr").is_dir():
        case = r"(?P<subject>(?P<tracer>[A-Za-z]+)_[^_]+)_(?P<session>.+)"
        plan = plan_nnunet(folder, names, case=case)
        plan.rows = [_autopet_row(r) for r in plan.rows]
    else:
        plan = _autopet_folders(folder, names)
    labels_of = _organ_labels(Path(organs), maps=True) if organs else _organ_labels(folder, maps=False)
    if labels_of:
        _use_organs(plan, labels_of, names)
    _name_sessions(plan)
    return _paired(plan, folder, "autoPET")


def _autopet_row(row: Planned) -> Planned:
    """A case of nnU-Net's form, with its tracer; the study is the session's label for now."""
    tracer = row.subject.split("_")[0].upper()
    return replace(row, columns={"tracer": tracer} if row.modality == "PET" else {})


def _autopet_folders(folder: Path, names: NameMap) -> Plan:
    """The form of patient and study folders."""
    plan, meaning = Plan(), names.of_values("autopet")
    wanted = {"suv": "PET", "ctres": "CT"}
    reasons = {
        "ct": "CT on its own grid: CTres, on the PET's, has the reference",
        "pet": "PET in Bq/ml: SUV is taken",
        "seg": None,
    }
    for patient in subfolders(folder):
        for study in subfolders(patient):
            volumes = {stem(f): f for f in files_below(study, plan.left_out) if is_volume(f)}
            part = (Part(volumes["seg"], meaning),) if "seg" in volumes else ()
            for name, file in volumes.items():
                if name in wanted:
                    columns = {"tracer": "FDG"} if wanted[name] == "PET" else {}
                    session = f"petct-{study.name}"
                    _add(plan, Planned(patient.name, session, wanted[name], file, part, columns))
                elif reasons.get(name, "not a file of this layout"):
                    plan.leave_out(file, reasons.get(name, "not a file of this layout"))
    plan.structures = set(meaning.values())
    return plan


def _organ_labels(folder: Path, *, maps: bool) -> dict[str, Path]:
    """Key of a study, or of a patient, -> label map: of AutoPET-Organ, or `maps` of autoPET III's winner too."""
    found, start = {}, "PETCT|fdg|psma" if maps else "PETCT"
    for file in files_below(folder):
        name = composed(file.name)
        match = re.fullmatch(rf"(?:{start})_([0-9a-f]+)(?:_(.+?))?_?\.nii(\.gz)?", name)
        if match and file.parent.name not in ("imagesTr", "labelsTr", "imagesTs"):
            found[_study_key(match[1], match[2] or "")] = file
    return found


def _study_key(patient: str, study: str) -> str:
    """Letters and digits of patient and study: names of one study differ in dots, hyphens and underscores."""
    return re.sub(r"[^a-z0-9]", "", f"{re.sub('^(petct|fdg|psma)_', '', patient.lower())}{study.lower()}")


def _use_organs(plan: Plan, labels_of: dict[str, Path], names: NameMap) -> None:
    """Replace lesions by organs, and keep only the studies that have them."""
    schemes = {True: names.of_values("autopet-organ"), False: names.of_values("autopet-organ-maps")}
    rows, used, meanings = [], set(), set()
    studies: dict[str, set[str]] = {}
    for row in plan.rows:
        studies.setdefault(row.subject, set()).add(row.session)
    for row in plan.rows:
        key = _study_key(row.subject, row.session.partition("-")[2])
        alone = _study_key(row.subject, "")
        if key not in labels_of and len(studies[row.subject]) == 1:
            key = alone  # a map that names the patient only
        if key in labels_of:
            used.add(key)
            meaning = schemes[labels_of[key].name.startswith("PETCT")]
            meanings |= set(meaning.values())
            rows.append(replace(row, reference=(Part(labels_of[key], meaning),)))
        elif alone in labels_of:
            plan.leave_out(row.name, "the map of its organs does not say to which of its studies it belongs")
            used.add(alone)
        else:
            plan.leave_out(row.name, "a study without labels of AutoPET-Organ")
    for key in labels_of.keys() - used:
        plan.leave_out(labels_of[key], "labels of AutoPET-Organ without a study of autoPET")
    if not rows:
        raise InputError(
            "No study of autoPET has labels of AutoPET-Organ. Their names must be those of the release."
        )
    plan.rows, plan.structures = rows, meanings
    plan.notes.append(
        "the reference is that of --organs; lung lobes are joined; the lesions' labels are not used"
    )


def _name_sessions(plan: Plan) -> None:
    """petct for a subject's only study, petct-1, petct-2 in the order of their names for several."""
    studies: dict[str, set[str]] = {}
    for row in plan.rows:
        studies.setdefault(row.subject, set()).add(row.session)
    rows = []
    for row in plan.rows:
        order = sorted(studies[row.subject])
        session = "petct" if len(order) == 1 else f"petct-{order.index(row.session) + 1}"
        rows.append(replace(row, session=session, columns=dict(row.columns)))
    repeated = sum(len(s) > 1 for s in studies.values())
    if repeated:
        plan.notes.append(
            f"{repeated} subjects have several studies: sessions petct-1, petct-2, … in order of name"
        )
    plan.rows = rows


def plan_deep_psma(folder: str | Path, names: NameMap, *, target: str = "organs") -> Plan:
    """Plan DEEP-PSMA: two tracers of one person, as the sessions petct-fdg and petct-psma.

    Parameters
    ----------
    folder
        ``train_0001/{PSMA,FDG}/{CT,PET,TTB,totseg_24}.nii.gz``.
    names
        Of the schemes totalsegmentator and deep-psma.
    target
        ``organs``: TotalSegmentator's labels on CT and PET; ``lesions``: the tumour burden.
    """
    folder, plan = Path(folder), Plan()
    first_24 = {v: s for v, s in names.of_values("totalsegmentator").items() if v <= 24}
    file, meaning = {
        "organs": ("totseg_24", first_24),
        "lesions": ("ttb", names.of_values("deep-psma", "TTB")),
    }[target]
    for subject in subfolders(folder):
        for place in subfolders(subject):
            tracer = place.name.upper()
            if tracer not in ("PSMA", "FDG"):
                plan.leave_out(place, "neither PSMA nor FDG")
                continue
            volumes = {stem(f): f for f in files_below(place, plan.left_out) if is_volume(f)}
            part = (Part(volumes[file], meaning),) if file in volumes else ()
            for name, modality in (("ct", "CT"), ("pet", "PET")):
                if name in volumes:
                    columns = {"tracer": tracer} if modality == "PET" else {}
                    session = f"petct-{tracer.lower()}"
                    _add(plan, Planned(subject.name, session, modality, volumes[name], part, columns))
            for name in volumes.keys() - {"ct", "pet", file}:
                plan.leave_out(volumes[name], f"not what is asked for ({target})")
    plan.structures = set(meaning.values())
    if target == "organs":
        plan.notes.append("the organs are TotalSegmentator's output, not a person's drawing")
    return _paired(plan, folder, "DEEP-PSMA")


def plan_bic_mac(folder: str | Path, names: NameMap) -> Plan:
    """Plan BIC-MAC: CT, attenuation-corrected PET and MR of one person.

    Parameters
    ----------
    folder
        ``train/sub-000/features/{nacpet,mri_combined_in_phase,…}.nii.gz``, ``ct-label/{ct,organ_seg}.nii.gz``,
        ``pet-label/{acpet,organ_seg}.nii.gz``.
    names
        Of the scheme totalsegmentator, as which ``organ_seg`` is read.
    """
    folder, plan = Path(folder), Plan()
    meaning = names.of_values("totalsegmentator")
    start = folder / "train" if (folder / "train").is_dir() else folder
    for subject in subfolders(start):
        volumes = {
            composed(f.relative_to(subject)).lower().removesuffix(".gz").removesuffix(".nii"): f
            for f in files_below(subject, plan.left_out)
            if is_volume(f)
        }
        parts = {m: volumes.get(f"{m}-label/organ_seg") for m in ("ct", "pet")}
        reference = {m: (Part(f, meaning),) if f else () for m, f in parts.items()}
        corrected = "pet-label/acpet" in volumes
        for name, file in volumes.items():
            columns = {}
            if name == "ct-label/ct":
                _add(plan, Planned(subject.name, "petct", "CT", file, reference["ct"]))
            elif name == "pet-label/acpet":
                for session in ("petct", "petmr") if _mr(volumes) else ("petct",):
                    _add(
                        plan, Planned(subject.name, session, "PET", file, reference["pet"] or reference["ct"])
                    )
            elif name == _mr(volumes):
                columns = {"placement": "rigid"}
                _add(
                    plan,
                    Planned(subject.name, "petmr", "MR", file, reference["ct"] or reference["pet"], columns),
                )
            elif name == "features/nacpet":
                plan.leave_out(file, "PET that is not attenuation corrected: its values are not SUV")
            elif not name.endswith("organ_seg"):
                plan.leave_out(file, "not an image that the benchmark compares")
        if not corrected:
            plan.notes.append(f"{subject.name} has no attenuation-corrected PET")
    plan.structures = set(meaning.values())
    plan.notes += [
        "organ_seg is read as TotalSegmentator's values, which is a guess: hold it against the set's description",
        "MR is placed rigidly on the CT only (column placement): see what `umdlib check` says of its shift",
    ]
    return _paired(plan, folder, "BIC-MAC")


def _mr(volumes: Iterable[str]) -> str | None:
    """The MR that is taken: in phase, else out of phase."""
    names = ("features/mri_combined_in_phase", "features/mri_combined_out_phase")
    return next((n for n in names if n in volumes), None)


def plan_totalsegmentator(folder: str | Path, names: NameMap) -> Plan:
    """Plan TotalSegmentator's data sets: CT (or MR) with one mask per structure, no PET.

    Parameters
    ----------
    folder
        ``s0000/{ct,mri}.nii.gz`` and ``s0000/segmentations/<organ>.nii.gz``; `meta.csv` where it is there.
    names
        What the masks' names mean.
    """
    plan = plan_masks(folder, names)
    people = _people_of(Path(folder) / "meta.csv", "image_id", plan)
    plan.rows = [replace(r, columns=people.get(r.subject.lower(), {})) for r in plan.rows]
    plan.notes.append("this set holds no PET: it can be scored, not compared between modalities")
    return plan


def _people_of(path: Path, key: str, plan: Plan) -> dict[str, dict[str, str]]:
    """Subject (lower case) -> columns of a manifest, from a set's own table of persons."""
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"File {path} cannot be read: {error}.") from None
    if not lines:
        return {}
    mark = max(";,\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=mark))
    header = [normal(c) for c in rows[0]]
    place = header.index(key) if key in header else 0
    unused = [rows[0][n] for n, c in enumerate(header) if c not in _COLUMNS and n != place]
    if unused:
        plan.notes.append(f"columns of {path.name} that are not used: {', '.join(unused[:8])}")
    return {
        row[place].strip().lower(): {
            _COLUMNS[c]: _person(_COLUMNS[c], v) for c, v in zip(header, row, strict=False) if c in _COLUMNS
        }
        for row in rows[1:]
        if row
    }


def _person(column: str, text: str) -> str:
    """A field of a person as a manifest has it; empty where it is missing or has no meaning."""
    text = text.strip()
    if text.lower() in _MISSING:
        return ""
    if column == "sex":
        return {"f": "F", "w": "F", "m": "M", "o": "O"}.get(text[0].lower(), "")
    if column in ("age", "weight_kg"):
        match = re.search(r"\d+(\.\d+)?", text)
        return f"{float(match[0]):g}" if match else ""
    return text


def _add(plan: Plan, row: Planned) -> None:
    """Add a row unless its case is there already."""
    twin = plan.names.setdefault(row.name, row)
    if twin is row:
        plan.rows.append(row)
    elif twin.image != row.image:
        plan.leave_out(row.image, f"a second image of {row.name}, beside {twin.image}")


def _paired(plan: Plan, folder: Path, name: str) -> Plan:
    """The plan with its rows in order; subjects without a partner are listed."""
    if not plan.rows:
        raise InputError(
            f"No image in {folder} is laid out as {name} is. `umdlib cohorts show` describes the layout."
        )
    plan.rows.sort(key=lambda r: (r.subject, r.session, r.modality == "PET"))
    held: dict[tuple[str, str], set[bool]] = {}
    for row in plan.rows:
        held.setdefault((row.subject, row.session), set()).add(row.modality == "PET")
    alone = sorted({f"{s} {session}" for (s, session), sides in held.items() if len(sides) < 2})
    if alone:
        plan.notes.append(f"{len(alone)} examinations without a partner: {', '.join(alone[:5])}")
    return plan
