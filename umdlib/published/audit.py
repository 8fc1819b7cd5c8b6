"""The audit: every check on one table, on the tables of a paper together, and on both papers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.published import bounds, checks
from umdlib.published.checks import outcome
from umdlib.published.printed import SOURCES, cells, fact, n_scans, read

MOMENTS = ["umd_table1", "umd_table2"]
JOIN = ["cohort", "modality", "structure", "segmenter"]


def audit_table(table: pd.DataFrame, *, n: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Every check that one table allows by itself.

    Parameters
    ----------
    table
        One row per printed number, with the columns of `umdlib.published.read`. A row whose
        `structure` is ``average`` is checked against the others of its cohort, modality, model,
        prompt and metric.
    n
        Subjects of each cohort. What needs an n that is not given is graded ``not testable``.

    Returns
    -------
    pandas.DataFrame
        One row per test: ``check, grade, table, where, printed, arithmetic``; most severe first.

    Raises
    ------
    InputError
        If a needed column or a cell is missing, or an SD stands without a mean.

    Examples
    --------
    >>> table = read("umd_table1")
    >>> found = audit_table(table, n={"UMD-PETCT": 490})
    >>> found.query("grade == 'impossible'")[["where", "printed"]].to_numpy().tolist()
    [['Avg, PET, SAM-Med3D-tb', '0.4101(0.5016)']]
    """
    missing = set(read("umd_table1").columns) - set(table.columns)
    if missing:
        raise InputError(f"Missing column {sorted(missing)} in the table. See published.read.")
    n = n or {}
    wide = cells(table)
    _check_complete(wide)
    found = [
        checks.score_range(wide),
        checks.sd_bound(wide, n),
        checks.average_sd(wide, n),
        checks.average_mean(wide),
        checks.counts_at_one(wide, n),
        checks.one_large_score(wide, n),
        checks.copied_cells(wide, n),
        checks.quartile_order(wide),
        checks.unit_mix(wide),
        checks.shared_variation(wide),
    ]
    return severe_first(pd.concat([f for f in found if len(f)], ignore_index=True))


def _check_complete(wide: pd.DataFrame) -> None:
    """Refuse a table in which one line has fewer cells than another."""
    sizes = wide.groupby("line").size()
    if sizes.min() < sizes.max():
        short = sizes.idxmin()
        raise InputError(
            f"Missing cell in {wide['table'].iloc[0]}, line {short}: {sizes.min()} of "
            f"{sizes.max()} cells. A cell without a number must be marked ('/', '-')."
        )


def severe_first(found: pd.DataFrame) -> pd.DataFrame:
    """Tests sorted by grade, otherwise in the order in which they were made."""
    rank = found["grade"].map({g: i for i, g in enumerate(checks.GRADES)})
    return found.assign(rank=rank).sort_values("rank", kind="stable").drop(columns="rank")


def audit_across(moments: pd.DataFrame, quartiles: pd.DataFrame, n: Mapping[str, int]):
    """Means and SDs of one table against quartiles of another for the same scores.

    Parameters
    ----------
    moments, quartiles
        Tables as `read` returns them; joined on cohort, modality, structure, segmenter.
    n
        Subjects of each cohort.

    Returns
    -------
    pandas.DataFrame
        Two tests per common cell: whether any distribution in [0, 1] with these quartiles has
        this mean, and whether any with these quartiles and this mean has this SD.
    """
    a = cells(moments)
    b = cells(quartiles)[[*JOIN, "median", "q1", "q3", "raw", "table"]]
    both = a.drop(columns=["median", "q1", "q3"]).merge(b, on=JOIN, suffixes=("", "_other"))
    rows = []
    for c in both.to_dict("records"):
        size = checks.known_n(n, c["cohort"])
        where = {**c, "raw": f"{c['raw']} | {c['raw_other']}", "section": "across"}
        where["table"] = f"{c['table']} and {c['table_other']}"
        if not size:
            rows.append(outcome("mean in quartiles", where, True, "not testable", "n unknown."))
            continue
        rows += [_mean_in_quartiles(c, where, size), _sd_in_quartiles(c, where, size)]
    return checks.outcomes(rows)


def _mean_in_quartiles(c: checks.Cell, where: checks.Cell, n: int) -> dict:
    """Can scores with these quartiles have this mean."""
    low, high = bounds.mean_range_from_quartiles(c["q1"], c["median"], c["q3"], n=n)
    slack = 2 * c["half_unit"]
    bad = not low - slack <= c["mean"] <= high + slack
    text = (
        f"Scores with quartiles {c['q1']:.4f}, {c['median']:.4f}, {c['q3']:.4f} have a mean of "
        f"{low:.4f} to {high:.4f}; printed {c['mean']:.4f}."
    )
    return outcome("mean in quartiles", where, bad, "inconsistent", text)


def _sd_in_quartiles(c: checks.Cell, where: checks.Cell, n: int) -> dict:
    """Can scores with these quartiles and this mean have this SD."""
    low, high = bounds.sd_range_from_quartiles(
        c["q1"], c["median"], c["q3"], c["mean"], n=n, half_unit=c["half_unit"]
    )
    if np.isnan(low):
        text = "The mean does not fit these quartiles."
        return outcome("sd in quartiles", where, True, "not testable", text)
    bad = not low <= c["sd"] + c["half_unit"] or not c["sd"] - c["half_unit"] <= high
    text = (
        f"Scores with quartiles {c['q1']:.4f}, {c['median']:.4f}, {c['q3']:.4f} and mean "
        f"{c['mean']:.4f} have an SD of {low:.4f} to {high:.4f}; printed {c['sd']:.4f}."
    )
    return outcome("sd in quartiles", where, bad, "inconsistent", text)


def totals() -> pd.DataFrame:
    """Sums and products in SegAnyPET table 1 and in the text around it."""
    wide = cells(read("seganypet_table1"))
    scans, masks = (wide[wide["unit"] == u].set_index("line")["value"] for u in ("scans", "masks"))
    first = {"Dev": range(1, 5), "Int": range(6, 9), "Ext": range(10, 13)}
    rows = []
    for (label, lines), total in zip(first.items(), (5, 9, 13), strict=True):
        for unit, column in (("scans", scans), ("masks", masks)):
            parts = [column[i] for i in lines]
            rows.append(_sum(f"{label}, {unit}", parts, column[total]))
    for line, k in ((2, 5), (3, 5), (4, 5), (6, 11), (10, 13), (11, 13)):
        rows.append(_product(line, k, scans, masks))
    rows += [
        _sum(
            "Methods, C1: scans by diagnosis",
            _facts("none melanoma lung lymphoma", "autopet"),
            fact("autopet_scans"),
        ),
        _sum("Methods, C2: subjects by scanner", _facts("quadra uexplorer", "udpet"), fact("udpet_subjects")),
        _sum(
            "Methods, C7: scans with and without lesions", _facts("with without", "psma"), fact("psma_scans")
        ),
        _statement("Global batch", fact("batch_per_gpu") * fact("batch_gpus"), fact("batch_global")),
        _statement(
            "Private cohorts in the development set: Methods, Results",
            fact("private_methods"),
            fact("private_results"),
        ),
        _statement(
            "External sets: two places of the Results",
            fact("external_results"),
            fact("external_generalisation"),
            grade="note",
        ),
        _statement(
            "Learning rate after a step, per cent of the rate before: words, gamma",
            100 - fact("rate_reduction"),
            100 * fact("rate_factor"),
            grade="note",
        ),
        _statement(
            "Field of view of UMD-PETCT holds the brain (1 yes, 0 no): UMD's appendix "
            "(to the top of the head), SegAnyPET's Methods (from the skull base)",
            fact("brain_in_view_umd"),
            fact("brain_in_view_seganypet"),
        ),
        _statement(
            "UMD masks, 13 organs in each of 954 scans, to the nearest thousand",
            round((fact("umd_petct") + fact("umd_petmr")) * fact("umd_organs"), -3),
            fact("umd_masks"),
            paper="UMD",
        ),
    ]
    return checks.outcomes(rows)


def _facts(keys: str, prefix: str) -> list[float]:
    return [fact(f"{prefix}_{key}") for key in keys.split()]


def _row(check: str, bad: bool, grade: str, where: str, printed: str, text: str, paper: str) -> dict:
    return {
        "check": check,
        "grade": grade if bad else "passed",
        "table": paper,
        "where": where,
        "printed": printed,
        "arithmetic": text,
    }


def _sum(where: str, parts: list[float], total: float) -> dict:
    text = f"{' + '.join(f'{p:,.0f}' for p in parts)} = {sum(parts):,.0f}; printed {total:,.0f}."
    paper = "SegAnyPET, text" if where.startswith("Methods") else "SegAnyPET, Table 1"
    bad = sum(parts) != total
    return _row("total", bad, "inconsistent", where, f"{total:,.0f}", text, paper)


def _product(line: int, k: int, scans: pd.Series, masks: pd.Series) -> dict:
    text = f"{scans[line]:,.0f} × {k} = {scans[line] * k:,.0f}; printed {masks[line]:,.0f}."
    cohort = cells(read("seganypet_table1")).query("line == @line")["cohort"].iloc[0]
    return _row(
        "total",
        scans[line] * k != masks[line],
        "inconsistent",
        f"{cohort}: {k} masks per scan",
        f"{masks[line]:,.0f}",
        text,
        "SegAnyPET, Table 1",
    )


def _statement(
    where: str, a: float, b: float, *, grade: str = "inconsistent", paper: str = "SegAnyPET"
) -> dict:
    text = f"{a:,.0f} against {b:,.0f}."
    return _row("statement", a != b, grade, where, f"{b:,.0f}", text, f"{paper}, text")


def overview() -> pd.DataFrame:
    """UMD table 3 against the average rows of tables 1 and 2, rounded to its three places."""
    table3 = cells(read("umd_table3"))
    rows = []
    for _, own in pd.concat([cells(read(name)) for name in MOMENTS]).iterrows():
        if own["structure"] != checks.AVERAGE:
            continue
        same = table3[
            (table3["segmenter"] == own["segmenter"])
            & (table3["session"] == own["session"])
            & (table3["modality"] == own["modality"])
        ].iloc[0]
        bad = abs(own["mean"] - same["value"]) > same["half_unit"] + own["half_unit"] + 1e-12
        text = f"{own['table']} prints {own['mean']:.4f}, table 3 {same['value']:.3f}."
        rows.append(outcome("overview", same, bad, "inconsistent", text))
    return checks.outcomes(rows)


def line_order() -> pd.DataFrame:
    """Which of an organ's two lines is PET, from two places that do not depend on colours.

    The average rows read either way against table 3, and the means of either line against the
    quartiles that the other paper prints for PET.
    """
    table3 = cells(read("umd_table3")).query("cohort != 'reported'")
    n = cohort_sizes()
    rows = []
    for name in MOMENTS:
        table = read(name)
        own = cells(table).query("structure == 'average'")
        both = own.merge(table3, on=["session", "segmenter"], suffixes=("", "_3"))
        fits = (both["mean"] - both["value_3"]).abs() <= both["half_unit_3"] + both["half_unit"]
        same = both["modality"] == both["modality_3"]
        swapped = table.assign(modality=np.where(table["modality"] == "PET", "swapped", "PET"))
        wrong = [
            int((audit_across(t, read("seganypet_s4"), n)["grade"] == "inconsistent").sum())
            for t in (table, swapped)
        ]
        text = (
            f"{(fits & same).sum()} of {same.sum()} averages equal table 3 with the structural "
            f"image first, {(fits & ~same).sum()} of {(~same).sum()} with PET first; read as PET, "
            f"the second lines break {wrong[0]} and the first lines {wrong[1]} of 130 bounds from "
            "SegAnyPET's quartiles."
        )
        where = f"{own['table'].iloc[0]}, caption"
        rows.append(_row("line order", True, "note", where, "colours", text, "UMD"))
    return checks.outcomes(rows)


def same_cells() -> pd.DataFrame:
    """Cells that the supplementary tables print twice: common cells of 1 and 4, and of 3 and 4."""
    wide = {name: cells(read(name)) for name in ("seganypet_s1", "seganypet_s3", "seganypet_s4")}
    keys = [*JOIN, "prompt", "metric"]
    rows = []
    for name in ("seganypet_s1", "seganypet_s3"):
        both = wide[name].merge(wide["seganypet_s4"], on=keys, suffixes=("", "_4"))
        for c in both.to_dict("records"):
            bad = any(c[s] != c[f"{s}_4"] for s in ("median", "q1", "q3"))
            text = f"{c['table']}: {c['raw']}; {c['table_4']}: {c['raw_4']}."
            rows.append(outcome("same cell twice", c, bad, "inconsistent", text))
    both = wide["seganypet_s3"].merge(wide["seganypet_s4"], on=keys)
    text = (
        f"The caption says NSD, the header DSC. {len(both)} cells are also in Supplementary "
        "Table 4, whose metric is DSC, with the same digits: they cannot be both."
    )
    where = "Supplementary Table 3, caption"
    rows.append(_row("same cell twice", True, "inconsistent", where, "NSD", text, "SegAnyPET"))
    return checks.outcomes(rows)


def cohort_sizes() -> dict[str, int]:
    """Printed n of the cohorts whose scores are printed."""
    return {
        c: n_scans(c)
        for c in ("UMD-PETCT", "UMD-PETMR", "PETS-Organ", "PETS-Lymph", "PETS-LC", "AutoPET-PSMA")
    }


def audit_papers() -> pd.DataFrame:
    """Every check on both papers: one row per test, most severe first."""
    n = cohort_sizes()
    scores = [name for name in SOURCES if name != "seganypet_table1"]
    found = [audit_table(read(name), n=n) for name in scores]
    quartiles = read("seganypet_s4")
    found += [audit_across(read(name), quartiles, n) for name in MOMENTS]
    found += [totals(), overview(), line_order(), same_cells()]
    return severe_first(pd.concat(found, ignore_index=True)).reset_index(drop=True)
