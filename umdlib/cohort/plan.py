"""What an import would do, as a record that is printed or carried out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy

from umdlib import labels
from umdlib.cohort import privacy
from umdlib.cohort.manifest import write_manifest, write_structures
from umdlib.cohort.names import LEFT_OUT, SIDES, NameMap, structures_of
from umdlib.errors import InputError
from umdlib.files import in_utf8, write_tsv
from umdlib.images import geometry, masks, volume
from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure

# A side with a smaller share of both organs is a fragment of the other one.
_LEAST_SIDE = 0.1

# What lies outside the field of view.
_OUTSIDE = {"HU": -1000.0, "SUV": 0.0, "a.u.": 0.0}


@dataclass(frozen=True)
class Part:
    """A file that holds a part of a reference.

    Attributes
    ----------
    path
        NIfTI label map or mask.
    meaning
        Value -> structure; empty: left out on purpose. A text instead: every voxel above 0 is that structure.
    """

    path: Path
    meaning: Mapping[int, str] | str

    def names(self) -> set[str]:
        """The structures that it may hold."""
        return {self.meaning} if isinstance(self.meaning, str) else set(self.meaning.values())


@dataclass(frozen=True)
class Planned:
    """One image that an import would enrol.

    Attributes
    ----------
    subject, session, modality
        As in the manifest; `subject` as the source calls the person.
    image
        File that is used where it lies, or a function that makes the volume.
    reference
        Its parts, or a function of the image; empty where there is none.
    columns
        Further columns of the manifest.
    scale
        Factor to the unit of the modality, e.g. Bq/ml to SUV.
    """

    subject: str
    session: str
    modality: str
    image: Path | Callable[[], Volume]
    reference: tuple[Part, ...] | Callable[[Volume], tuple[LabelMap, list[str]]] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def name(self) -> str:
        """``subject_session_modality`` in the words of the source."""
        return f"{self.subject}_{self.session}_{self.modality}"


@dataclass
class Plan:
    """All that an import would do.

    Attributes
    ----------
    rows
        What would be enrolled.
    structures
        Names that the references hold, for `names.structures_of`, or records.
    notes
        What was chosen, and why.
    left_out
        (what, why) of everything that was found and is not enrolled.
    defaced
        Whether the source says that faces were removed.
    names
        Name of a row -> the row, of those that an importer added under it.
    """

    rows: list[Planned] = field(default_factory=list)
    structures: Iterable[str] | tuple[Structure, ...] = ()
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    defaced: bool = False
    names: dict[str, Planned] = field(default_factory=dict, repr=False)

    def leave_out(self, what: object, why: str) -> None:
        """Record what is not enrolled, once."""
        if (str(what), why) not in self.left_out[-50:]:
            self.left_out.append((str(what), why))

    def records(self) -> tuple[Structure, ...]:
        """The structures as records; none where no row has a reference."""
        found = tuple(self.structures)
        if found and isinstance(found[0], Structure):
            return found
        return structures_of(found) if set(found) - {LEFT_OUT} else ()

    def text(self, most: int = 40) -> str:
        """The plan for a reader: rows by session and modality, notes, what is left out and why."""
        counts = Counter((r.session, r.modality, bool(r.reference)) for r in self.rows)
        order = labels.sorted_sessions({r.session for r in self.rows})
        lines = [f"{len({r.subject for r in self.rows})} subjects, {len(self.rows)} images:"]
        for session, modality, with_reference in sorted(counts, key=lambda k: (order.index(k[0]), k[1:])):
            n = counts[session, modality, with_reference]
            lines.append(f"  {session} {modality}: {n}{'' if with_reference else ' without a reference'}")
        if records := self.records():
            lines.append(f"Structures: {', '.join(f'{s.value} {s.name}' for s in records)}")
        lines += [f"Note: {note}" for note in self.notes]
        reasons: dict[str, list[str]] = {}
        for what, why in self.left_out:
            reasons.setdefault(why, []).append(what)
        for why, whats in reasons.items():
            shown = ", ".join(whats[:3]) + (f" and {len(whats) - 3} more" if len(whats) > 3 else "")
            lines.append(f"Left out ({len(whats)}): {shown}: {why}")
        hidden = len(lines) - most
        return "\n".join(lines[:most] + ([f"and {hidden} lines more"] if hidden > 0 else []))


def given_values(names: NameMap) -> dict[int, str]:
    """Value -> structure by the rows of the user's table that give a value and no scheme."""
    return {value: structure for value, (_, structure) in names.meanings.get(("*", "*"), {}).items()}


@dataclass(frozen=True)
class Destination:
    """Where an import writes: the manifest's folder, and beside it what stays with the user."""

    manifest: Path
    stem: Path

    @classmethod
    def of(cls, path: str | Path) -> Destination:
        """A folder, or a manifest named ``….tsv``."""
        path = Path(path).expanduser().absolute()
        if path.suffix == ".tsv":
            return cls(path, path.with_suffix(""))
        return cls(path / "manifest.tsv", path)

    @property
    def folder(self) -> Path:
        """Folder of the manifest."""
        return self.manifest.parent

    def beside(self, kind: str) -> Path:
        """A file beside the folder, which is not handed on with it; beside a manifest that was named itself."""
        return self.stem.with_name(f"{self.stem.name}_{kind}.tsv")


def carry_out(
    plan: Plan,
    destination: str | Path,
    *,
    ids: privacy.Ids | None = None,
    copy: bool = False,
    outside: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write a cohort as planned: manifest, structures, references, and images that had to be made.

    Parameters
    ----------
    plan
        Of an importer. What fails on the way is added to `plan.left_out`; the others go on.
    destination
        Folder, or a manifest in it. An image without texts in its header is used where it lies.
    ids
        New identifiers; None keeps those of the source.
    copy
        Whether every image and reference is copied, scrubbed, under the names of the cohort.
    outside
        Whether voxels that are not a number are taken to lie outside the field of view: they become air
        (-1000 HU) or 0 in a copy. Else their image is left out.
    say
        Takes a line of progress.

    Returns
    -------
    pathlib.Path
        The manifest. Beside its folder, ``…_import.tsv`` lists notes and what was left out.

    Raises
    ------
    InputError
        Nothing to enrol; a destination that cannot be written.
    """
    place = Destination.of(destination)
    ids = ids or privacy.Ids({}, None)
    structures = plan.records()
    rows, heads, seen, enrolled = [], set(), {}, []
    for number, planned in enumerate(plan.rows, start=1):
        subject = ids.subject(planned.subject)
        row = replace(planned, subject=subject)
        if seen.setdefault((subject.casefold(), row.session, row.modality), planned.name) != planned.name:
            plan.leave_out(planned.name, f"becomes {row.name}, as another does; give ids in a table (--ids)")
            continue
        try:
            made, notes, head = _make(row, place, structures, copy, outside)
        except InputError as error:
            plan.leave_out(planned.name, str(error))
            say(f"{number} of {len(plan.rows)} {row.name}: left out")
            continue
        rows.append(made)
        enrolled.append(planned)
        plan.notes += [f"{row.name}: {note}" for note in notes]
        heads |= {subject} if head else set()
        say(f"{number} of {len(plan.rows)} {row.name}")
    plan.rows = enrolled
    if not plan.defaced:
        plan.notes += _faces(heads, any(row["modality"] == "MR" for row in rows))
    if ids.path is not None and not copy and any(not callable(r.image) for r in plan.rows):
        plan.notes.append(
            "images that need no change are used where they lie: the manifest names them by the names of the source, "
            "which may hold what --ids replaces. --copy writes all under new names"
        )
    ids.write()
    _write_report(plan, place)
    if not rows:
        raise InputError(f"Nothing could be enrolled. {place.beside('import')} lists why.")
    if structures:
        write_structures(place.folder / "dseg.tsv", structures)
    return write_manifest(place.manifest, rows)


def _faces(heads: set[str], mr: bool) -> Iterator[str]:
    """Warnings about faces: subjects whose head a CT shows, and MR, which is not examined."""
    if heads:
        shown = ", ".join(sorted(heads)[:5]) + (" …" if len(heads) > 5 else "")
        yield f"{privacy.FACE_WARNING} ({shown})"
    if mr:
        yield (
            "no MR was looked at for a head in view: the book publishes volumes and slices of the subjects; see to it "
            "that faces are removed"
        )


def _make(
    row: Planned, place: Destination, structures: tuple[Structure, ...], copy: bool, outside: bool
) -> tuple[dict, list[str], bool]:
    """Image and reference of one row; returns the manifest's row, notes, and whether a head is in view."""
    unit = labels.MODALITIES[row.modality].unit
    notes: list[str] = []
    path, texts, filled = None, {}, False
    if callable(row.image):
        image = row.image()
    else:
        path, texts = row.image, privacy.header_texts(row.image)
        image, filled = _read_image(row.image, unit, outside)
    if filled:
        notes.append(f"voxels that are not a number were made {_OUTSIDE[unit]:g} in a copy")
    if row.scale != 1.0:
        image = Volume(
            (image.data * np.float32(row.scale)).astype(np.float32), image.affine, unit, image.name
        )
    if path is None or copy or texts or filled or row.scale != 1.0:
        if "format" in texts:
            notes.append(f"{path.name} is {texts['format']}: converted, without the texts of its header")
        elif texts:
            notes.append(f"header texts scrubbed in a copy: {', '.join(sorted(texts))}")
        path = place.folder / "images" / f"{row.name}.nii.gz"
        volume.write_volume(path, Volume(image.data, image.affine, unit, row.name))
    reference = None
    if row.reference:
        reference, more = _reference(row, image, place, structures, copy)
        notes += more
    for used in filter(None, (path, reference)):
        if in_utf8(str(used)) != str(used):
            raise InputError(
                f"the name {in_utf8(str(used))} is not UTF-8, which a manifest is: rename it, or --copy"
            )
    made = {
        "subject": row.subject,
        "session": row.session,
        "modality": row.modality,
        "image": os.path.relpath(path.resolve(), place.folder.resolve()),
        "reference": os.path.relpath(reference.resolve(), place.folder.resolve()) if reference else None,
        "unit": unit,
    }
    return made | dict(row.columns), notes, privacy.head_in_view(image)


def _read_image(path: Path, unit: str, outside: bool) -> tuple[Volume, bool]:
    """An image, and whether voxels of it that are not a number were filled."""
    try:
        return volume.read_volume(path, unit=unit, two_files=True), False
    except InputError as error:
        if not outside or "NaN or infinite" not in str(error):
            raise
    return volume.read_volume(path, unit=unit, two_files=True, nan=_OUTSIDE[unit]), True


def _reference(
    row: Planned, image: Volume, place: Destination, structures: tuple[Structure, ...], copy: bool
) -> tuple[Path, list[str]]:
    """The reference where it lies, if nothing needs to be changed, else written anew."""
    if callable(row.reference):
        made, notes = row.reference(image)
    else:
        value = {s.name: s.value for s in structures}
        if not copy and (path := _as_it_is(row.reference, image, value)) is not None:
            return path, []
        made, notes = union(row.reference, image, value)
    if not made.data.any():
        notes.append("the reference holds no structure")
    path = place.folder / "references" / f"{row.name}.nii.gz"
    volume.write_label_map(path, made)
    return path, notes


def _as_it_is(parts: tuple[Part, ...], image: Volume, value: Mapping[str, int]) -> Path | None:
    """The one file that already is the reference, or None."""
    if len(parts) != 1 or isinstance(parts[0].meaning, str) or privacy.header_texts(parts[0].path):
        return None
    part = parts[0]
    found = volume.read_label_map(part.path, two_files=True)
    present = set(np.unique(found.data).tolist()) - {0}
    same = all(value.get(part.meaning.get(v, LEFT_OUT)) == v for v in present)
    return part.path if same and volume.grid_difference(image, found) is None else None


def union(parts: tuple[Part, ...], image: Volume, value: Mapping[str, int]) -> tuple[LabelMap, list[str]]:
    """One label map on the image's grid from the parts of a reference.

    Parameters
    ----------
    parts
        Where two parts give a voxel two structures, the first one keeps it, and the note says how many.
    image
        Parts on another grid are put on this one: each voxel takes the label at its centre.
    value
        Structure -> label value.

    Returns
    -------
    LabelMap
        On the grid of `image`.
    list of str
        Values that no name is known for, conflicts, and parts that were put on another grid.
    """
    whole = np.zeros(image.shape, np.uint8 if max(value.values()) < 256 else np.uint16)
    notes, conflicts, moved = [], 0, []
    for part in parts:
        found = volume.read_label_map(part.path, two_files=True)
        data, more = _named(found, part, value, whole.dtype)
        notes += more
        if volume.grid_difference(image, found) is not None:
            moved.append(part.path.name)
            data = geometry.resample(data, found.affine, image.affine, image.shape, order=0)
        clash = (whole != 0) & (data != 0) & (whole != data)
        conflicts += int(clash.sum())
        np.copyto(whole, data, where=(data != 0) & (whole == 0))
    if conflicts:
        notes.append(f"{conflicts} voxels belong to two structures; the first one keeps them")
    if moved:
        notes.append(f"put on the image's grid (label at each voxel's centre): {_few(moved)}")
    return LabelMap(whole, image.affine, image.name), notes


def _named(
    found: LabelMap, part: Part, value: Mapping[str, int], dtype: np.dtype
) -> tuple[np.ndarray, list[str]]:
    """The voxels of a part under the label values of the cohort, and what is not known or cannot be told apart."""
    data, meaning, notes = found.data, part.meaning, []
    if isinstance(meaning, str):
        data, meaning = (data > 0).view(np.uint8), {1: meaning}
    counts = np.bincount(data.ravel("K"))
    for v in np.flatnonzero(counts).tolist():
        if v and v not in meaning:
            notes.append(
                f"value {v} of {part.path.name} ({counts[v]} voxels) has no known name and is left out; "
                "name it in a table (--names)"
            )
    present = {v: name for v, name in meaning.items() if v < len(counts) and counts[v] and name}
    lookup = np.zeros(len(counts), dtype)
    for v, name in present.items():
        lookup[v] = 0 if SIDES in name else value[name]
    named = lookup[data]
    for v, name in present.items():
        if SIDES in name:
            notes += put_sides(named, data == v, found.affine, name, value)
    return named, notes


def put_sides(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, name: str, value: Mapping[str, int]
) -> list[str]:
    """Write the left and the right organ of one mask into label data; a note where they cannot be told apart.

    Each connected part belongs to the side of the middle between the mask's outermost voxels that its centre lies on.
    """
    (box,) = masks.bounding_boxes(mask.astype(np.uint8), [1])
    if box is None:
        return []
    parts, count = scipy.ndimage.label(mask[box])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    centres = np.array(scipy.ndimage.center_of_mass(mask[box], parts, range(1, count + 1)))
    start = [side.start for side in box]
    x = geometry.to_world(affine, centres + start)[:, 0]
    reach = geometry.to_world(affine, np.argwhere(mask[box]) + start)[:, 0]
    right = x > (reach.min() + reach.max()) / 2
    shares = [sizes[right == side].sum() / sizes.sum() for side in (False, True)]
    if min(shares) < _LEAST_SIDE:
        return [f"left and right of {name} cannot be told apart ({int(sizes.sum())} voxels): left out"]
    for side, organ in zip((False, True), name.split(SIDES), strict=True):
        data[box][np.isin(parts, np.flatnonzero(right == side) + 1)] = value[organ]
    return []


def _few(names: list[str]) -> str:
    """The first three names, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _write_report(plan: Plan, place: Destination) -> None:
    """What was chosen and left out, beside the cohort: it may name the source's persons."""
    import pandas as pd

    rows = [("note", "", in_utf8(note)) for note in plan.notes]
    rows += [("left out", in_utf8(what), in_utf8(why)) for what, why in plan.left_out]
    write_tsv(place.beside("import"), pd.DataFrame(rows, columns=["kind", "what", "why"]))
