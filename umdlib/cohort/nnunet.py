"""nnU-Net's raw layout: channels named in `dataset.json`, one label map per case."""

from __future__ import annotations

import json
import re
from pathlib import Path

from umdlib import labels
from umdlib.cohort.names import LEFT_OUT, NameMap
from umdlib.cohort.plan import Part, Plan, Planned, given_values
from umdlib.cohort.walk import VOLUMES, files_below
from umdlib.errors import InputError


def plan_nnunet(folder: str | Path, names: NameMap, *, case: str = r"(?P<subject>.+)") -> Plan:
    """Plan a cohort of ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``.

    Parameters
    ----------
    folder
        With `dataset.json`: ``channel_names`` (or version 1's ``modality``) say which channel is CT, MR or PET,
        ``labels`` what the values mean. ``imagesTs`` is enrolled without references.
    names
        What the labels' names mean; a name that is not known is kept as it is.
    case
        Regular expression of a case's name with the groups ``subject`` and, optional, ``session``.

    Raises
    ------
    InputError
        No such folder, a `dataset.json` that is missing or cannot be read, no channel of a known modality.
    """
    folder, plan = Path(folder), Plan()
    about = _about(folder / "dataset.json")
    channels = _channels(about, folder, plan)
    meaning = _meaning(about, folder, names, plan)
    suffix = str(about.get("file_ending", ".nii.gz"))
    if suffix not in VOLUMES:
        raise InputError(
            f"{folder}/dataset.json says that files end with {suffix}. Known: {', '.join(VOLUMES)}."
        )
    for place, reference in (("imagesTr", "labelsTr"), ("imagesTs", "")):
        if not (folder / place).is_dir():
            continue
        for file in files_below(folder / place, plan.left_out):
            match = re.fullmatch(rf"{case}_(?P<channel>\d{{4}}){re.escape(suffix)}", file.name)
            if match is None:
                plan.leave_out(file, f"not named CASE_0000{suffix}")
            elif int(match["channel"]) not in channels:
                plan.leave_out(file, "a channel that is not CT, MR or PET")
            else:
                label = folder / reference / f"{file.name.rsplit('_', 1)[0]}{suffix}" if reference else None
                _enrol(plan, file, match.groupdict(), channels, label, meaning)
    if not plan.rows:
        raise InputError(f"No image in {folder}/imagesTr or imagesTs is named CASE_0000{suffix}.")
    plan.structures = set(meaning.values())
    return plan


def _about(path: Path) -> dict:
    """The content of `dataset.json`."""
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"File {path} cannot be read: {error.strerror or error}. nnU-Net's raw layout has one."
        ) from None
    except ValueError as error:
        raise InputError(f"File {path} is not JSON: {error}.") from None
    if not isinstance(about, dict):
        raise InputError(f"File {path} holds no record of a data set.")
    return about


def _channels(about: dict, folder: Path, plan: Plan) -> dict[int, str]:
    """Channel number -> modality."""
    named = about.get("channel_names") or about.get("modality") or {}
    if not isinstance(named, dict):
        raise InputError(f"channel_names of {folder}/dataset.json is not a table of number and name.")
    found = {}
    for number, name in named.items():
        modality = labels.modality_in(str(name))
        if modality is None or not str(number).isdecimal():
            plan.notes.append(f"channel {number} '{name}' is not CT, MR or PET")
        elif modality in found.values():
            plan.notes.append(f"channel {number} '{name}' is a second {modality}; the first one is taken")
        else:
            found[int(number)] = modality
    if not found:
        raise InputError(f"No channel of {folder}/dataset.json is CT, MR or PET: {named}.")
    return found


def _meaning(about: dict, folder: Path, names: NameMap, plan: Plan) -> dict[int, str]:
    """Label value -> structure; a region of several values names none of them."""
    given = about.get("labels") or {}
    if not isinstance(given, dict):
        raise InputError(f"labels of {folder}/dataset.json is not a table.")
    found = {}
    for key, value in given.items():
        name, number = (value, key) if isinstance(value, str) else (key, value)
        if isinstance(number, list):
            plan.notes.append(
                f"label '{name}' is a region of the values {number}: its parts count, not the region"
            )
            for part in number:
                found.setdefault(int(part), str(name))
            continue
        if not str(number).isdecimal():
            raise InputError(
                f"Label '{name}' of {folder}/dataset.json has the value {number}. Must be a whole number."
            )
        if int(number) and name != "ignore":
            known = names.of_name(name)
            if known == LEFT_OUT:
                plan.notes.append(f"label {number} '{name}' is left out on purpose")
            found[int(number)] = name if known is None else known
        elif name == "ignore":
            found[int(number)] = LEFT_OUT
    return found | given_values(names)


def _enrol(
    plan: Plan, file: Path, fields: dict, channels: dict[int, str], label: Path | None, meaning: dict
) -> None:
    """Add one channel of one case."""
    modality = channels[int(fields["channel"])]
    structural = next((m for m in channels.values() if m != "PET"), "CT")
    kind = next(s.name for s in labels.SESSIONS.values() if s.structural == structural)
    session = f"{kind}-{fields['session']}" if fields.get("session") else kind
    parts: tuple[Part, ...] = ()
    if label is not None and label.is_file():
        parts = (Part(label, meaning),)
    elif label is not None:
        plan.leave_out(label, "a reference that is missing: its image is enrolled without one")
    plan.rows.append(Planned(fields["subject"], session, modality, file, parts))
