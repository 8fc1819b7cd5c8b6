"""Any folder whose files follow one naming pattern: a label map, or one mask per structure, beside each image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from umdlib import labels
from umdlib.cohort.manifest import read_structures
from umdlib.cohort.names import LEFT_OUT, NameMap, named_within, normal, read_names
from umdlib.cohort.plan import Part, Plan, Planned, given_values
from umdlib.cohort.walk import VOLUMES, composed, files_below
from umdlib.errors import InputError
from umdlib.labels import Structure

_FIELDS = {"subject": r"[^/\\]+?", "session": r"[A-Za-z0-9-]+?", "structure": r"[^/\\]+?"}


def plan_pattern(
    folder: str | Path,
    *,
    image: str,
    reference: str = "",
    modalities: Mapping[str, str] | None = None,
    structures: Iterable[Structure] | None = None,
    names: NameMap | None = None,
    beside: Path | None = None,
) -> Plan:
    """Plan a cohort of files named by a pattern.

    Each PET is paired with each structural image of its subject: with CT as session petct, with MR as petmr.

    Parameters
    ----------
    folder
        Where to look, links followed.
    image
        Pattern relative to `folder` with ``{subject}``, ``{modality}`` and, where there are several
        examinations of a subject, ``{session}``: ``"{subject}/{session}/{modality}.nii.gz"``; ``*`` is any
        part of a name.
    reference
        Pattern of the label map with the same fields, or of masks with ``{structure}``; empty: there is none.
    modalities
        Name in the file names -> CT, MR or PET. A modality without a name here is called CT, MR or PET.
    structures
        What the label values mean; None takes what a `dseg.tsv` or `dataset.json` in `beside` or in
        `folder` says, without one the 13 organs, and says that this is a guess.
    names
        Of structures, for masks, and of label values where the user's table gives any; None takes those
        that ship with the project.
    beside
        Folder of the manifest.

    Raises
    ------
    InputError
        No such folder, a pattern without its fields, no file that matches, no image with its reference.
    """
    folder, plan = Path(folder), Plan()
    given = dict(modalities or {})
    named = {labels.modality(m).name for m in given.values()}
    modalities = {m: m for m in labels.MODALITIES if m not in named} | given
    for name in ("{subject}", "{modality}"):
        if name not in image:
            raise InputError(f"Pattern '{image}' lacks the field {name}.")
    _check_suffix(image)
    files = {composed(f.relative_to(folder)): f for f in files_below(folder, plan.left_out)}
    images = _matches(image, files, modalities)
    if not images:
        raise InputError(
            f"No file in {folder} matches '{image}' with a modality of {', '.join(modalities)}. "
            + _held(files, plan)
        )
    used = {f for _, f in images}
    known: dict[int, str] = {}
    guessed, names = False, names or read_names()
    if reference and "{structure}" not in reference:
        known, guessed = _known_structures(plan, structures, beside, folder)
        if given := given_values(names):
            known, guessed = ({} if guessed else known) | given, False
            plan.structures = ()
    for key, file in images:
        parts, more = _parts(reference, key, files, names, known, plan)
        used |= more
        if guessed:  # some programs write into the file what its values mean
            parts = tuple(Part(p.path, named_within(p.path, names) or known) for p in parts)
        if reference and not parts:
            plan.leave_out(file, "its reference is missing: enrolled without one")
        _enrol(plan, key, files[file], parts, modalities)
    if reference and not any(row.reference for row in plan.rows):
        raise InputError(
            f"Image {folder / images[0][1]} has no reference, and no other has: nothing matches '{reference}'."
        )
    enrolled = [p for r in plan.rows for p in r.reference]
    if guessed or not plan.structures:
        plan.structures = {name for p in enrolled for name in p.names()}
    if guessed and any(p.meaning is known for p in enrolled):
        plan.notes.append(
            "no dseg.tsv or dataset.json says what the label values mean: the 13 organs are assumed, which is a "
            "guess. Write a dseg.tsv (index, name) if it is wrong"
        )
    _pair_pets(plan)
    _tell_unmatched(plan, set(files) - used, image, reference)
    return plan


def _tell_unmatched(plan: Plan, unused: set[str], image: str, reference: str) -> None:
    """List the volumes that matched no pattern, with the option that may enrol them."""
    any_modality = re.compile(_expression(image, {}, ()).replace("(?P<modality>)", "(?P<modality>[^/]+)"))
    for name in sorted(unused):
        if name.lower().endswith(VOLUMES):
            other = any_modality.fullmatch(name)
            why = "matches neither pattern"
            if other:
                why += f", '{other['modality']}' being no known modality; name it: --modality {other['modality']}=MR"
            if other and not reference:
                why += ", or references by --reference"
            plan.leave_out(name, why)


def _held(files: Mapping[str, Path], plan: Plan) -> str:
    """What a folder holds in which nothing matched, and what in it was not looked at."""
    text = (
        f"It holds {len(files)} other files, e.g. {', '.join(list(files)[:3])}."
        if files
        else "It holds no file."
    )
    return " ".join([text, *(f"Left out: {what}: {why}." for what, why in plan.left_out[:3])])


def _check_suffix(pattern: str) -> None:
    """Refuse patterns of single slices, which are not volumes."""
    if pattern.lower().endswith((".dcm", ".ima", ".dicom")):
        raise InputError(
            f"Pattern '{pattern}' names DICOM slices. `umdlib import dicom` makes volumes of them."
        )
    if not pattern.lower().endswith(VOLUMES):
        raise InputError(f"Pattern '{pattern}' must end with one of {', '.join(VOLUMES)}.")


def _expression(pattern: str, fixed: Mapping[str, str], modalities: Iterable[str]) -> str:
    """Regular expression of a pattern; fields in `fixed` have that value."""
    groups = _FIELDS | {"modality": "|".join(re.escape(m) for m in sorted(modalities, key=len, reverse=True))}
    expression = re.escape(pattern).replace(r"\*", "[^/]*")
    for name, group in groups.items():
        placeholder = re.escape(f"{{{name}}}")
        if name in fixed:
            expression = expression.replace(placeholder, re.escape(fixed[name]))
        else:
            expression = expression.replace(placeholder, f"(?P<{name}>{group})", 1)
            expression = expression.replace(placeholder, f"(?P={name})")
    if unknown := re.search(r"\\\{(\w+)\\\}", expression):
        raise InputError(
            f"Pattern '{pattern}' has the field {{{unknown[1]}}}. Known: subject, session, modality, structure."
        )
    return expression


def _matches(
    pattern: str, files: Mapping[str, Path], modalities: Mapping[str, str]
) -> list[tuple[dict, str]]:
    """(fields, file) of every file that matches."""
    expression = re.compile(_expression(pattern, {}, modalities))
    found = ((expression.fullmatch(name), name) for name in files)
    return [(match.groupdict(), name) for match, name in found if match]


def _known_structures(
    plan: Plan, structures: Iterable[Structure] | None, beside: Path | None, folder: Path
) -> tuple[dict[int, str], bool]:
    """Value -> name of label maps, put into the plan, and whether it is a guess."""
    found, guessed = (tuple(structures), False) if structures is not None else ((), True)
    for place in () if found else (beside, folder):
        if place is not None and guessed:
            found, guessed = read_structures(place)
    plan.structures = found
    return {s.value: s.name for s in found}, guessed


def _parts(
    reference: str, key: dict, files: Mapping[str, Path], names: NameMap, known: dict, plan: Plan
) -> tuple[tuple[Part, ...], set[str]]:
    """Parts of one image's reference, and the files that they are."""
    if not reference:
        return (), set()
    if "{structure}" not in reference:
        name = reference
        for field, text in key.items():
            name = name.replace(f"{{{field}}}", text or "")
        if "{" in name or "*" in name:
            match = re.compile(_expression(reference, key, ()))
            name = next((f for f in files if match.fullmatch(f)), "")
        return ((Part(files[name], known),), {name}) if name in files else ((), set())
    parts, used = [], set()
    for match, file in _matches_of(reference, key, files):
        used.add(file)
        structure = names.of_name(match)
        if structure is None:
            plan.leave_out(file, f"'{normal(match)}' is not a known structure; name it in a table (--names)")
        elif structure == LEFT_OUT:
            plan.leave_out(file, "a structure that is left out on purpose")
        else:
            parts.append(Part(files[file], structure))
    return tuple(parts), used


def _matches_of(reference: str, key: dict, files: Mapping[str, Path]) -> list[tuple[str, str]]:
    """(structure's name, file) of the masks of one image."""
    expression = re.compile(_expression(reference, key, ()))
    found = ((expression.fullmatch(name), name) for name in files)
    return [(match["structure"], name) for match, name in found if match]


def _enrol(plan: Plan, key: dict, file: Path, parts: tuple[Part, ...], modalities: Mapping[str, str]) -> None:
    """Add one image to the plan; its session's kind is decided by `_pair_pets`."""
    modality = labels.modality(modalities[key["modality"]]).name
    session = key.get("session") or ""
    twin = next(
        (r for r in plan.rows if (r.subject, r.session, r.modality) == (key["subject"], session, modality)),
        None,
    )
    if twin is not None:
        plan.leave_out(file, f"a second {modality} of its subject; name one of the two in --modality")
        return
    plan.rows.append(Planned(key["subject"], session, modality, file, parts))


def _pair_pets(plan: Plan) -> None:
    """Turn session labels into petct and petmr; a PET with CT and MR is enrolled with each."""
    kinds = {s.structural: s.name for s in labels.SESSIONS.values()}
    held: dict[tuple[str, str], set[str]] = {}
    for row in plan.rows:
        held.setdefault((row.subject, row.session), set()).add(row.modality)
    rows, twice = [], set()
    for row in plan.rows:
        present = held[row.subject, row.session]
        structural = [m for m in kinds if m in present] if row.modality == "PET" else [row.modality]
        if len(structural) > 1:
            twice.add(row.subject)
        for m in structural or ["CT"]:
            rows.append(
                Planned(
                    row.subject, session_name(kinds[m], row.session), row.modality, row.image, row.reference
                )
            )
    if twice:
        plan.notes.append(
            f"{len(twice)} subjects have CT, MR and PET: the PET is enrolled twice, in petct and in petmr. Whether "
            "the MR was taken together with the PET is not known from file names"
        )
    plan.rows = sorted(rows, key=lambda r: (r.subject, r.session, r.modality == "PET"))


def session_name(kind: str, label: str) -> str:
    """Session of a kind with a label from a file name.

    Examples
    --------
    >>> session_name("petct", ""), session_name("petct", "ses-petct"), session_name("petct", "ses-01")
    ('petct', 'petct', 'petct-01')
    """
    label = re.sub(r"[^A-Za-z0-9]", "", re.sub(r"^ses-", "", label))
    return kind if label.lower() in ("", kind) else f"{kind}-{label}"
