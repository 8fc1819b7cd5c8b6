"""The tables of the two papers, as data that nobody edits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from umdlib.errors import InputError, unknown_name
from umdlib.published.parsing import half_unit


@dataclass(frozen=True)
class Source:
    """Where one table was printed, and what its cells are, in our words."""

    name: str
    paper: str
    table: str
    title: str
    arxiv: str


_UMD, _SEG = "2602.07643", "2603.11627"
SOURCES: dict[str, Source] = {
    s.name: s
    for s in (
        Source("umd_table1", "UMD", "Table 1", "DSC on PET/CT, mean (SD)", _UMD),
        Source("umd_table2", "UMD", "Table 2", "DSC on PET/MR, mean (SD)", _UMD),
        Source("umd_table3", "UMD", "Table 3", "Average DSC: reported before, and on UMD", _UMD),
        Source("seganypet_table1", "SegAnyPET", "Table 1", "Cohorts: scans and masks", _SEG),
        Source(
            "seganypet_s1",
            "SegAnyPET",
            "Supplementary Table 1",
            "DSC beside task-specific models, median (quartiles)",
            _SEG,
        ),
        Source(
            "seganypet_s2",
            "SegAnyPET",
            "Supplementary Table 2",
            "NSD beside task-specific models, median (quartiles)",
            _SEG,
        ),
        Source(
            "seganypet_s3",
            "SegAnyPET",
            "Supplementary Table 3",
            "DSC, points and seconds per case on UMD-PETCT, median (quartiles)",
            _SEG,
        ),
        Source(
            "seganypet_s4",
            "SegAnyPET",
            "Supplementary Table 4",
            "DSC of promptable models on seven tasks, median (quartiles)",
            _SEG,
        ),
    )
}
# Preprints of the systems that UMD scores.
PREPRINTS = {
    "SAM-Med3D": "2310.15161",
    "SegVol": "2311.13385",
    "nnInteractive": "2503.08373",
    "VISTA3D": "2406.05285",
    "SAT": "2312.17183",
}
STATISTICS = ("mean", "sd", "median", "q1", "q3", "iqr", "lower", "upper", "value")
CENTRES = ("mean", "median", "value")
_KEYS = ["paper", "table", "line", "row", "row_line", "section", "column", "cohort", "session", "modality"]
_KEYS += ["structure", "model", "segmenter", "prompt", "metric", "unit", "raw"]


def _data(file: str) -> pd.DataFrame:
    path = files("umdlib.published") / "data" / file
    with path.open(encoding="utf-8") as text:
        return pd.read_csv(text, sep="\t", keep_default_na=False, dtype=str, quoting=3)


def read(name: str) -> pd.DataFrame:
    """One table of the papers, one row per printed number.

    Parameters
    ----------
    name
        Key of `SOURCES`, e.g. ``"umd_table1"``.

    Returns
    -------
    pandas.DataFrame
        Columns ``paper, table, line, row, row_line, section, column, cohort, session, modality,
        structure, model, segmenter, prompt, metric, statistic, value, unit, raw, printed,
        half_unit``. `line` counts the lines of the printed table, `row_line` the lines of one
        row (1: CT or MR, 2: PET in UMD's tables 1 and 2); `raw` is the cell as printed;
        `value` is NaN where no number is printed; `half_unit` is how far rounding can have
        moved it. Labels of the paper stay in `row`, `column` and `model`; `structure` and
        `segmenter` are ours.

    Raises
    ------
    InputError
        If there is no such table.

    Examples
    --------
    >>> liver = read("umd_table1").query("row == 'Liver' and model == 'SAT'")
    >>> liver[["modality", "statistic", "value"]].to_numpy().tolist()[:2]
    [['CT', 'mean', 0.0057], ['CT', 'sd', 0.0205]]
    """
    if name not in SOURCES:
        raise unknown_name("published table", name, SOURCES)
    return _table(name).copy()


@cache
def _table(name: str) -> pd.DataFrame:
    """The table as `read` gives it, read once."""
    frame = _data(f"{name}.tsv").rename(columns={"value": "printed"})
    frame[["line", "row_line"]] = frame[["line", "row_line"]].astype(int)
    frame["value"] = pd.to_numeric(frame["printed"].replace("", None), errors="raise").astype(float)
    frame["half_unit"] = [half_unit(p) if p else np.nan for p in frame["printed"]]
    return frame[[*_KEYS[:-2], "statistic", "value", "unit", "raw", "printed", "half_unit"]]


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """One row per printed cell: the statistics of `table` side by side.

    Parameters
    ----------
    table
        As `read` returns it.

    Returns
    -------
    pandas.DataFrame
        The labels of `read`, then ``mean, sd, median, q1, q3, iqr, lower, upper, value`` (NaN where
        the cell has none), `centre` (the mean, median or value) and `half_unit` of the cell (the
        largest of its numbers).

    Raises
    ------
    InputError
        If a cell has an SD without a mean, or quartiles without a median.
    """
    grouped = table[table["statistic"] != "text"]
    keys = [*_KEYS]
    wide = grouped[keys].drop_duplicates().set_index(["line", "column"])
    spread = grouped.pivot(index=["line", "column"], columns="statistic", values="value")
    for statistic in STATISTICS:
        wide[statistic] = spread.get(statistic, np.nan)
    wide["half_unit"] = grouped.groupby(["line", "column"])["half_unit"].max()
    wide["centre"] = wide["mean"].fillna(wide["median"]).fillna(wide["value"])
    wide = wide.reset_index()[[*keys, *STATISTICS, "centre", "half_unit"]]
    _check_spreads(wide)
    return wide


def _check_spreads(wide: pd.DataFrame) -> None:
    """Refuse a cell whose spread has no centre."""
    alone = (wide["sd"].notna() & wide["mean"].isna()) | (
        wide[["q1", "q3", "iqr"]].notna().any(axis=1) & wide["median"].isna()
    )
    if alone.any():
        bad = wide[alone].iloc[0]
        raise InputError(
            f"Invalid cell {bad['raw']!r} in {bad['table']}, line {bad['line']}, column "
            f"'{bad['column']}'. An SD needs a mean, quartiles need a median."
        )


def printed_lines(table: pd.DataFrame) -> list[str]:
    """Body of a table as it was printed, one tab-separated line per line of the text.

    Raises
    ------
    InputError
        If a cell is missing: a line must have as many cells as the others.
    """
    by_line = table.drop_duplicates(["line", "column"]).groupby("line", sort=True)
    width = max(len(group) for _, group in by_line)
    lines, section = [], ""
    for number, group in by_line:
        if len(group) != width:
            raise InputError(
                f"Missing cell in {group['table'].iloc[0]}, line {number}: {len(group)} of {width} cells."
            )
        if group["section"].iloc[0] != section:
            section = group["section"].iloc[0]
            lines.append(section + "\t" * width)
        label = group["row"].iloc[0] if group["row_line"].iloc[0] == 1 else ""
        own_label = group["column"].iloc[0] in ("Cohort ID",)
        lines.append("\t".join(group["raw"] if own_label else [label, *group["raw"]]))
    return lines


def is_intact(name: str) -> bool:
    """Whether the table still gives, byte for byte, the lines it was read from.

    The SHA-256 of each table's body was taken from the paper's text when it was transcribed.

    Examples
    --------
    >>> all(is_intact(name) for name in SOURCES)
    True
    """
    digests = _data("digests.tsv").set_index("name")["sha256"]
    body = "\n".join(printed_lines(read(name))).encode()
    return hashlib.sha256(body).hexdigest() == digests[name]


def n_scans(cohort: str) -> int:
    """Scans in a cohort, from SegAnyPET table 1 (UMD's abstract gives the same 490 and 464).

    Examples
    --------
    >>> n_scans("UMD-PETCT"), n_scans("UMD-PETMR")
    (490, 464)

    Raises
    ------
    InputError
        If the cohort is not in that table: its n is unknown, and is not guessed.
    """
    sizes = _table("seganypet_table1").query("unit == 'scans'").set_index("cohort")["value"]
    if cohort not in sizes:
        raise unknown_name("cohort with a published n", cohort, sizes.index)
    return int(sizes[cohort])


def read_facts() -> pd.DataFrame:
    """Numbers of the papers' running text, one per row.

    Columns ``key, paper, where, value, unit, what``: `where` is the section, `what` says in our
    words what is counted.
    """
    frame = _data("facts.tsv")
    frame["value"] = frame["value"].astype(float)
    return frame


def fact(key: str) -> float:
    """One number of the papers' running text.

    Examples
    --------
    >>> fact("udpet_quadra") + fact("udpet_uexplorer")
    1447.0
    """
    facts = read_facts().set_index("key")["value"]
    if key not in facts:
        raise unknown_name("published fact", key, facts.index)
    return float(facts[key])


def read_training() -> pd.DataFrame:
    """Training data of each system, one row per system, modality and coverage.

    Columns ``system, segmenter, modality, coverage, volumes, certainty, source``: `coverage` is
    ``whole-body``, ``regional`` or ``unknown``; `volumes` counts 3D images and is NaN where no
    number was published; `certainty` is ``quoted``, ``rounded``, ``counted`` or ``unknown``.
    """
    frame = _data("training.tsv")
    frame["volumes"] = pd.to_numeric(frame["volumes"].replace("", None)).astype(float)
    return frame


def read_pet_only() -> pd.DataFrame:
    """Printed scores of networks trained and tested on PET of patients alone; one row per test.

    Columns ``study, year, doi, tracer, images, structures, dice_low, dice_high, where``: the mean DSC over
    `structures` organs, or its range over several conditions. Their references are segmentations of the CT.

    Examples
    --------
    >>> float(read_pet_only().query("tracer == 'FDG'")["dice_low"].min())
    0.81
    """
    frame = _data("pet_only.tsv")
    numbers = {"year": int, "structures": int, "dice_low": float, "dice_high": float}
    return frame.astype(numbers)


def read_captions() -> pd.DataFrame:
    """Facts in the captions of the tables: ``name, key, value, words``.

    `key` is a column of `read`, or ``order`` for the order of an organ's lines; `value` lists our names.
    """
    return _data("captions.tsv")


def read_pointers() -> pd.DataFrame:
    """Tables that the running text points at: ``paper, where, pointed, key, value, what``.

    The table `pointed` should hold rows whose column `key` is `value`.
    """
    return _data("pointers.tsv")


def read_centres() -> pd.DataFrame:
    """Where SegAnyPET's cohorts come from: ``cohort, role, centre, scanner, where``."""
    return _data("centres.tsv")


def read_claims() -> pd.DataFrame:
    """Sentences of the papers that are tested: ``key, paper, where, quote, reading``."""
    return _data("claims.tsv")


def read_acquisition() -> pd.DataFrame:
    """How the images of UMD and of a public set were acquired: ``group, key, what, unit, source, value, where``."""
    return _data("acquisition.tsv")


def read_annotations() -> pd.DataFrame:
    """Our doubts about printed cells, beside the tables: ``name, line, column, doubt, reading``.

    Nothing in the tables is changed by them.
    """
    frame = _data("annotations.tsv")
    frame["line"] = frame["line"].replace("", "0").astype(int)
    return frame
