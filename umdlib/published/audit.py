"""The audit: every check on one table, on the tables of a paper together, and on both papers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdlib.errors import InputError
from umdlib.published import across, checks, copies, series, statements
from umdlib.published.outcomes import Place, outcome, outcomes, severe_first
from umdlib.published.printed import SOURCES, cells, n_scans, read, read_captions

_MOMENTS = ["umd_table1", "umd_table2"]
_SCORED = ("UMD-PETCT", "UMD-PETMR", "PETS-Organ", "PETS-Lymph", "PETS-LC", "AutoPET-PSMA")


def audit_table(
    table: pd.DataFrame, *, n: Mapping[str, int] | None = None, complete: bool = False
) -> pd.DataFrame:
    """Run every check that one table allows by itself.

    Parameters
    ----------
    table
        One row per printed number, with the columns of `umdlib.published.read`; `read_table` makes it
        from a file. A row whose `structure` is ``average`` is checked against the others of its
        cohort, modality, model, prompt and metric.
    n
        Subjects of each cohort. What needs an n that is not given is graded ``not testable``.
    complete
        Whether the paper says that every structure was scored in every subject: an average that is
        not that of its rows then contradicts it.

    Returns
    -------
    pandas.DataFrame
        One row per test: ``check, grade, table, where, printed, arithmetic``; most severe first.

    Raises
    ------
    InputError
        If a needed column or a cell is missing, or an SD has no mean.

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
    wide = checks.sized(table, n)
    _check_complete(wide)
    found = [
        checks.score_range(wide),
        checks.sd_bound(wide),
        checks.average_sd(wide, complete=complete),
        checks.average_mean(wide, complete=complete),
        checks.counts_at_one(wide),
        checks.fullest_subject(wide),
        checks.one_large_score(wide),
        copies.copied_cells(wide),
        series.uneven_steps(wide),
        checks.quartile_order(wide),
        checks.interval_order(wide),
        checks.unit_mix(wide),
        checks.shared_variation(wide),
    ]
    kept = [f for f in found if len(f)]
    return severe_first(pd.concat(kept, ignore_index=True)) if kept else outcomes([])


def _check_complete(wide: pd.DataFrame) -> None:
    """Refuse a table in which one line has fewer cells than another."""
    sizes = wide.groupby("line").size()
    if sizes.min() < sizes.max():
        short = sizes.idxmin()
        raise InputError(
            f"Missing cell in {wide['table'].iloc[0]}, line {short}: {sizes.min()} of "
            f"{sizes.max()} cells. A cell without a number must be marked ('/', '-')."
        )


def overview() -> pd.DataFrame:
    """UMD table 3 against the average rows of tables 1 and 2, rounded to its three places."""
    table3 = cells(read("umd_table3"))
    averages = pd.concat([cells(read(name)) for name in _MOMENTS]).query("structure == 'average'")
    both = averages.merge(table3, on=["segmenter", "session", "modality"], suffixes=("", "_3"))
    rows = []
    for c in both.to_dict("records"):
        printed = {k: c[f"{k}_3"] for k in ("paper", "table", "row", "column", "section", "cohort", "raw")}
        bad = abs(c["mean"] - c["value_3"]) > c["half_unit_3"] + c["half_unit"] + 1e-12
        text = f"{c['table']} prints {c['mean']:.4f}, table 3 {c['value_3']:.3f}."
        where = printed | {"modality": c["modality"]}
        rows.append(outcome("overview", where, bad, "inconsistent", text))
    return outcomes(rows)


def line_order() -> pd.DataFrame:
    """Whether an organ's two lines stand in the order in which the caption names the modalities.

    Told from two places that do not depend on colours: the average rows read either way against table
    3, and the means of either line against the quartiles that the other paper prints for PET.
    """
    table3 = cells(read("umd_table3")).query("cohort != 'reported'")
    order = read_captions().query("key == 'order'").set_index("name")["value"]
    rows = []
    for name in _MOMENTS:
        table = read(name)
        own = cells(table).query("structure == 'average'")
        both = own.merge(table3, on=["session", "segmenter"], suffixes=("", "_3"))
        agree = (both["mean"] - both["value_3"]).abs() <= both["half_unit_3"] + both["half_unit"]
        same = both["modality"] == both["modality_3"]
        swapped = table.assign(modality=np.where(table["modality"] == "PET", "swapped", "PET"))
        found = [across.audit_across(t, read("seganypet_s4"), cohort_sizes()) for t in (table, swapped)]
        wrong = [int((f["grade"] == "inconsistent").sum()) for f in found]
        pet_first = (agree & ~same).sum() > (agree & same).sum() and wrong[1] < wrong[0]
        text = (
            f"{(agree & same).sum()} of {same.sum()} averages equal table 3 with the structural "
            f"image first, {(agree & ~same).sum()} of {(~same).sum()} with PET first; read as PET, "
            f"the second lines break {wrong[0]} and the first lines {wrong[1]} of {len(found[0])} bounds "
            "from SegAnyPET's quartiles."
        )
        bad = pet_first != order[name].startswith("PET")
        rows.append(
            outcome(
                "line order", Place("UMD", f"{SOURCES[name].table}, caption", "colours"), bad, "note", text
            )
        )
    return outcomes(rows)


def cohort_sizes() -> dict[str, int]:
    """Return the printed n of the cohorts whose scores are printed."""
    return {c: n_scans(c) for c in _SCORED}


def _counts_every_structure(cohort: str, structures: int) -> bool:
    """Whether SegAnyPET's table 1 counts a mask of every structure in every scan of a cohort.

    Examples
    --------
    >>> _counts_every_structure("UMD-PETCT", 13), _counts_every_structure("PETS-LC", 1)
    (True, False)
    """
    own = cells(read("seganypet_table1")).query("cohort == @cohort").set_index("unit")["value"]
    return bool(own["scans"] * structures == own["masks"])


def audit_papers() -> pd.DataFrame:
    """Run every check on both papers: one row per test, most severe first."""
    n = cohort_sizes()
    found = []
    for name in SOURCES:
        if name == "seganypet_table1":
            continue
        table = read(name)
        organs = table["structure"].nunique() - 1
        complete = name in _MOMENTS and _counts_every_structure(table["cohort"].iloc[0], organs)
        found.append(audit_table(table, n=n, complete=complete))
    quartiles = read("seganypet_s4")
    for name in _MOMENTS:
        found += [f(read(name), quartiles, n) for f in (across.audit_across, across.reversed_orders)]
        found.append(across.which_is_the_copy(read(name), quartiles, n))
    found += [across.same_cells(read(name), quartiles) for name in ("seganypet_s1", "seganypet_s3")]
    found += [overview(), line_order(), statements.totals(), statements.statements(), statements.captions()]
    found += [statements.pointers(), statements.shared_centres(), statements.against_reference()]
    return severe_first(pd.concat([f for f in found if len(f)], ignore_index=True))
