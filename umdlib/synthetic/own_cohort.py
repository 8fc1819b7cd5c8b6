"""A cohort of one, made from a user's label map."""

from __future__ import annotations

from pathlib import Path

from umdlib.errors import InputError
from umdlib.files import read_tsv
from umdlib.images.formats import label_names
from umdlib.images.volume import read_label_map
from umdlib.labels import SESSIONS
from umdlib.labels import session as session_record
from umdlib.synthetic.cohort import image_paths, manifest_rows, write_pair, write_tables
from umdlib.synthetic.limits import Settings
from umdlib.synthetic.scanner.simulation import simulate
from umdlib.synthetic.truth import record_path


def simulate_cohort(
    label_map: Path | str,
    out: Path | str,
    *,
    session: str = "petct",
    seed: int = 0,
    names: dict[int, str] | None = None,
    settings: Settings | None = None,
) -> Path:
    """Write both images of the body in a label map, their references, the truth, and a manifest.

    Parameters
    ----------
    label_map
        NIfTI file of whole numbers.
    out
        Folder; the subject is named after the file.
    session, seed, names, settings
        As in `simulate`; without `names`, those that the file holds itself, as TotalSegmentator writes them.

    Returns
    -------
    pathlib.Path
        The manifest.

    Raises
    ------
    InputError
        A file that cannot be read or written, and all that `simulate` refuses.
    """
    session_record(session)
    settings, names = settings or Settings(), names or label_names(label_map) or None
    pair = simulate(read_label_map(label_map), session=session, seed=seed, names=names, settings=settings)
    out, subject = Path(out), _subject_named(label_map)
    folder = out / subject / f"ses-{session}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make folder {folder}: {error.strerror}.") from None
    modalities = (SESSIONS[session].structural, "PET")
    paths = {m: image_paths(folder, subject, session, m) for m in modalities}
    request = {
        "subject": subject,
        "session": session,
        "source": Path(label_map).name,
        "seed": int(seed),
        "spacing_mm": float(settings.spacing_mm),
        "factors": settings.factors.record(),
    }
    record = write_pair(pair, session, paths, record_path(folder, subject, session), request)
    write_tables(out, manifest_rows(out, record, paths))
    return out / "manifest.tsv"


def _subject_named(path: Path | str) -> str:
    """Name of the subject of a file: ``sub-`` and its letters and digits.

    Examples
    --------
    >>> _subject_named("maps/fdg_108c.nii.gz")
    'sub-fdg108c'
    """
    stem = Path(path).name.removesuffix(".gz").removesuffix(".nii")
    return "sub-" + ("".join(c for c in stem if c.isalnum() and c.isascii()) or "001")


def read_names(path: Path | str) -> dict[int, str]:
    """Value to structure name from a tab-separated file with the columns ``index`` and ``name``.

    Raises
    ------
    InputError
        A missing file or column, an index that is not a whole number, a value with two names.
    """
    table, names = read_tsv(path, ("index", "name")), {}
    for line, index, name in zip(table.index, table["index"], table["name"], strict=True):
        if not index.isdecimal() or not name:
            raise InputError(
                f"Line {line} of {path} has the index '{index}' and the name '{name}'. The index must be a whole "
                "number, and a structure must have a name."
            )
        if names.setdefault(int(index), name) != name:
            raise InputError(
                f"Line {line} of {path} names value {index} '{name}', after '{names[int(index)]}'."
            )
    if not names:
        raise InputError(f"File {path} names no structure.")
    return names


def read_strengths(texts) -> dict[str, float]:
    """Strengths from words like ``noise=0``.

    Examples
    --------
    >>> read_strengths(["noise=0", "contrast=0.5"])
    {'noise': 0.0, 'contrast': 0.5}

    Raises
    ------
    InputError
        A word without '=' or with something else than a number behind it.
    """
    strengths = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            strengths[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"Invalid factor '{text}'. Write NAME=STRENGTH, e.g. noise=0.") from None
    return strengths
