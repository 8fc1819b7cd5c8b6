"""The score table: one row per prediction, as checked and stamped Parquet."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from umdlib.errors import InputError, unknown_name
from umdlib.files import read_stamped, write_stamped
from umdlib.version import __version__

SCHEMA_VERSION = "1"

KEYS: tuple[str, ...] = ("subject", "session", "modality", "structure", "segmenter", "prompt", "step", "seed")

STATUSES: dict[str, str] = {
    "ok": "reference and prediction both hold voxels",
    "reference_empty": "the structure is not in the reference; the prediction holds voxels",
    "prediction_empty": "the structure is in the reference; the prediction is empty",
    "both_empty": "neither holds a voxel: nothing to score",
    "failed": "the segmenter stopped with an error; see reason",
    "unavailable": "the segmenter could not be loaded here (weights, package) or was not asked; see reason",
}

_NUMBERS = (
    *("hausdorff", "hausdorff_95", "assd", "reference_ml", "prediction_ml", "rvd"),
    *("ceiling", "coordinates", "seconds", "peak_mb"),
)

_STAMP = b"umdlib"


def _surface_dice_column(tolerance_mm: float) -> str:
    """Name of the surface Dice column at a tolerance.

    Examples
    --------
    >>> _surface_dice_column(1.0), _surface_dice_column(2.5)
    ('surface_dice_1mm', 'surface_dice_2.5mm')
    """
    return f"surface_dice_{tolerance_mm:g}mm"


def check_scores(table: pd.DataFrame, *, source: str = "the score table") -> pd.DataFrame:
    """The table with its columns typed and ordered, or an error.

    Parameters
    ----------
    table
        Columns `KEYS`, ``dice``, ``status``, ``reason`` and any of the other metrics.
    source
        What errors call it.

    Returns
    -------
    pandas.DataFrame
        Sorted by `KEYS`, index reset.

    Raises
    ------
    InputError
        A missing column, an unknown status, a Dice or surface Dice outside [0, 1], a failed row
        with a number, two rows with one key.
    """
    for column in (*KEYS, "dice", "status", "reason"):
        if column not in table:
            raise InputError(f"Column '{column}' is missing in {source}.")
    table = table.copy(deep=False)  # columns are replaced, none is written to
    for column in ("step", "seed"):
        table[column] = table[column].astype("int64")
    metrics = ["dice", *[c for c in table if c.startswith("surface_dice_")]]
    for column in [*metrics, *[c for c in _NUMBERS if c in table]]:
        table[column] = table[column].astype("float64")
    for status in table["status"].unique():
        if status not in STATUSES:
            raise unknown_name(f"status in {source}", status, STATUSES)
    for column in metrics:
        wrong = (table[column] < 0) | (table[column] > 1)
        if wrong.any():
            first = table[wrong].iloc[0]
            raise InputError(
                f"{column} of {_name(first)} in {source} is {first[column]}. Must lie in [0, 1]."
            )
    invented = table["status"].isin(["failed", "unavailable"]) & table["dice"].notna()
    if invented.any():
        raise InputError(f"{_name(table[invented].iloc[0])} in {source} failed and yet has a Dice.")
    order = [*KEYS, *metrics, *[c for c in _NUMBERS if c in table], "status", "reason"]
    order += [c for c in table if c not in order]
    if _is_in_order(table):
        return (table if order == list(table) else table[order]).reset_index(drop=True)
    table = _spelt_out(table)
    double = table[table.duplicated(list(KEYS))]
    if len(double):
        raise InputError(f"{_name(double.iloc[0])} occurs twice in {source}.")
    return table[order].sort_values(list(KEYS), ignore_index=True)


def _is_in_order(table: pd.DataFrame) -> bool:
    """Whether each row's key is above that of the row before; False also where that is not known."""
    place, levels = np.zeros(len(table), np.int64), 1
    for key in KEYS:
        column = table[key]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, names = column.cat.codes.to_numpy(), column.cat.categories
        else:
            codes, names = pd.factorize(column)
        levels *= max(len(names), 1)
        if levels > 2**62 or (codes < 0).any():
            return False
        rank = np.argsort(np.argsort(np.asarray(names)))  # few names, many rows
        place = place * len(names) + rank[codes]
    return bool((np.diff(place) > 0).all())


def _asked(
    column: Callable[[str], pd.Series], subjects: Iterable[str] | None, step: int | None
) -> np.ndarray:
    """Mask of the rows that `read_scores` reads: of subjects, and of a number of corrective clicks.

    Of a segmenter and protocol that has no row with that number, and where it was not available, every row.
    """
    named = column("subject").isin(set(subjects)).to_numpy() if subjects is not None else None
    if step is None:
        return named
    columns = pd.DataFrame({name: column(name) for name in ("segmenter", "prompt", "step", "status")})
    here = columns["status"].ne("unavailable").to_numpy(bool)
    if named is not None:
        here = here & named
    kind = columns.groupby(["segmenter", "prompt"], sort=False, observed=True).ngroup().to_numpy()
    asked = here & columns["step"].eq(step).to_numpy()
    has = np.zeros(kind.max(initial=-1) + 1, bool)
    has[kind[asked]] = True
    wanted = asked | columns["status"].eq("unavailable").to_numpy(bool) | ~has[kind]
    return wanted if named is None else wanted & named


def _spelt_out(table: pd.DataFrame) -> pd.DataFrame:
    """A table with text where it has categories."""
    words = {n: c.cat for n, c in table.items() if isinstance(c.dtype, pd.CategoricalDtype)}
    text = {
        n: pd.array(c.categories, "str").take(c.codes.to_numpy(), allow_fill=True) for n, c in words.items()
    }
    return table.assign(**text) if text else table


def missing_pairs(table: pd.DataFrame) -> list[str]:
    """Examinations of which one modality was scored and the other was not, by name.

    Returns
    -------
    list of str
        ``"sub-003 petct spleen threshold centre step 0 seed 0: PET is missing"``, sorted.
    """
    keys = [k for k in KEYS if k != "modality"]
    first = table[table["step"] == 0]
    lines = []
    for session, rows in first.groupby("session"):
        modalities = sorted(rows["modality"].unique())
        if len(modalities) < 2:
            modalities = sorted(
                {*modalities, "PET", {"petct": "CT", "petmr": "MR"}.get(session.partition("-")[0], "PET")}
            )
        for name, present in rows.groupby(keys)["modality"].agg(set).items():
            for gap in sorted(set(modalities) - present):
                subject, _, structure, segmenter, prompt, step, seed = name
                lines.append(
                    f"{subject} {session} {structure} {segmenter} {prompt} "
                    f"step {step} seed {seed}: {gap} is missing"
                )
    return sorted(lines)


def write_scores(path: str | Path, table: pd.DataFrame, *, stamp: dict | None = None) -> None:
    """Check and write a score table, atomically, with its provenance in the file's metadata.

    Raises
    ------
    InputError
        As `check_scores`, and where the file cannot be written.
    """
    table = check_scores(table, source=str(path))
    write_stamped(path, table, _STAMP, {"schema": SCHEMA_VERSION, **(stamp or {})})


def read_scores(
    path: str | Path, *, subjects: Iterable[str] | None = None, step: int | None = None
) -> pd.DataFrame:
    """Read a score table; `table.attrs["stamp"]` is its provenance.

    Parameters
    ----------
    path
        Of the file.
    subjects
        Keep the rows of these alone: of a released run the images of a few subjects are at hand.
    step
        Keep, of the rows of each segmenter and protocol, those after this number of corrective clicks, where
        there are such: what `umdlib.statistics.condition` chooses from. None keeps every step.

    Raises
    ------
    InputError
        A missing, damaged or foreign file, another schema version, and as `check_scores`.
    """
    rows = None
    if subjects is not None or step is not None:
        rows = functools.partial(_asked, subjects=subjects, step=step)
    found, stamp = read_stamped(
        path, _STAMP, name="Score table", made_by="umdlib score", by_column=True, rows=rows
    )
    if stamp.get("schema") != SCHEMA_VERSION:
        raise InputError(
            f"Score table {path} has schema version {stamp.get('schema')}. "
            f"This umdlib reads version {SCHEMA_VERSION}."
        )
    table = _spelt_out(check_scores(found, source=str(path)))
    table.attrs["stamp"] = stamp
    return table


def add_cases(path: str | Path, table: pd.DataFrame) -> None:
    """Write a stamped table to `path`, with the rows that the table there has of other cases.

    Those are kept where segmenters, settings, prompts and cohort are the same; otherwise the table
    there is out of date. A case that has numbers there and none in `table` keeps its numbers.
    Several processes may add cases to one table: each waits for the other.

    Raises
    ------
    InputError
        As `read_scores` and `write_scores` do.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            both = _with_other_cases(table, path)
            write_scores(path, both, stamp=both.attrs["stamp"])
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from None


def _with_other_cases(table: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """A table and the rows of an earlier one, at `path`, of cases of which it holds no number.

    Only of the same segmenters, settings, prompts and cohort.
    """
    if not Path(path).is_file():
        return table
    earlier, stamp = read_scores(path), table.attrs["stamp"]
    given = json.loads(json.dumps(stamp))  # as it is read back
    same = ("cohort_hash", "segmenters", "tolerances_mm", "metrics", "plans", "prompts")
    if any(earlier.attrs["stamp"].get(k) != given.get(k) for k in same):
        return table
    case = ["subject", "session", "modality"]
    numbered = [pd.MultiIndex.from_frame(t.loc[t["dice"].notna(), case]) for t in (table, earlier)]
    where = [pd.MultiIndex.from_frame(t[case]) for t in (table, earlier)]
    # a number is not replaced by an absence
    lost = where[0].isin(numbered[1]) & ~where[0].isin(numbered[0])
    table = table[~lost]
    others = earlier[~where[1].isin(where[0][~lost])]
    both = check_scores(pd.concat([table, others], ignore_index=True)) if len(others) else table
    both.attrs["stamp"] = stamp
    return both


def combine(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Score tables one under the other, checked as one; their stamps merged.

    Raises
    ------
    InputError
        No table, two rows with one key, or tables of different cohorts.
    """
    tables = [read_scores(path) for path in paths]
    if not tables:
        raise InputError("No score table to combine.")
    stamps = [t.attrs["stamp"] for t in tables]
    cohorts = sorted({s.get("cohort_hash", "") for s in stamps} - {""})
    if len(cohorts) > 1:
        raise InputError(
            f"The score tables come from {len(cohorts)} cohorts: {', '.join(c[:12] for c in cohorts)}."
        )
    for table in tables:
        table.attrs = {}
    merged = check_scores(pd.concat(tables, ignore_index=True), source="the combined tables")
    merged.attrs["stamp"] = _merge(stamps)
    return merged


def provenance(**more) -> dict:
    """Versions, commit and machine of this run, for a stamp; `more` is added."""
    packages = ("numpy", "scipy", "scikit-image", "torch", "monai")
    return {
        "umdlib": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "packages": {p: v for p in packages if (v := _version(p))},
        **more,
    }


def _merge(stamps: list[dict]) -> dict:
    """One stamp of many: mappings are united, the rest is taken from the first that has it."""
    merged: dict = {}
    for stamp in stamps:
        for key, value in stamp.items():
            if isinstance(value, dict):
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "device" and value not in merged.get(key, value).split(", "):
                merged[key] += f", {value}"
            else:
                merged.setdefault(key, value)
    return merged


def _name(row: pd.Series) -> str:
    """The key of a row in words."""
    return " ".join(str(row[k]) for k in KEYS)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Commit of the checkout that holds this package, with '+' where it has changes; '' without git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        out = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--match="],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return out.stdout.strip()
