"""Published tables as the Markdown of a numbered table, and as LaTeX."""

from __future__ import annotations

import pandas as pd

from umdlib.labels import MODALITIES, SESSIONS
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.outcomes import GRADES, INNOCENT
from umdlib.published.printed import cells, read
from umdlib.published.significance import CERTAIN, DEPENDS, NEVER, modality_ranges
from umdlib.statistics.verdicts import FLOOR, at_floor
from umdlib.tables.markdown import markdown_table, number, p_text

# Marks of a difference that is certain for every correlation, and the class that shades it.
MARKS = ((1e-4, "‡", "umd-sig4"), (1e-2, "†", "umd-sig2"))


def pipe_table(frame: pd.DataFrame, *, text: bool = False) -> str:
    """Write a table of texts in Markdown: the first column to the left, the others to the right.

    With `text`, every column to the left.

    Examples
    --------
    >>> print(pipe_table(pd.DataFrame({"Organ": ["Liver"], "DSC": ["0.70"]})))
    | Organ | DSC |
    |:--|--:|
    | Liver | 0.70 |
    """
    sides = {c: "left" if text or i == 0 else "right" for i, c in enumerate(frame.columns)}
    return markdown_table(frame.astype(str), align=sides)


def span(text: str, *classes: str) -> str:
    """Markdown text with classes (MyST's ``attrs_inline``).

    Examples
    --------
    >>> span("0.70", "umd-ct")
    '[0.70]{.umd-ct}'
    """
    return f"[{text}]" + "{" + " ".join(f".{c}" for c in classes if c) + "}"


def _modality_class(name: str) -> str:
    """CSS class of a modality."""
    return f"umd-{name.lower()}"


def _centre_and_spread(cell: pd.Series, *, best: bool = False) -> str:
    """A cell as printed, with a space before the bracket, its centre bold if it is the best.

    Examples
    --------
    >>> cell = pd.Series({"raw": "0.7039(0.1155)"})
    >>> _centre_and_spread(cell), _centre_and_spread(cell, best=True)
    ('0.7039 (0.1155)', '**0.7039** (0.1155)')
    """
    centre, bracket, spread = cell["raw"].partition("(")
    centre = centre.strip()
    return (f"**{centre}**" if best else centre) + (f" {bracket}{spread}" if bracket else "")


def modality_table(name: str) -> pd.DataFrame:
    """UMD table 1 or 2 as printed: an organ per row, both modalities in each cell.

    The best system of each line is bold. † and ‡ mark the better modality where a paired
    test has p < 0.01 or p < 0.0001 for every correlation of the pairs (`modality_ranges`).

    Returns
    -------
    pandas.DataFrame
        Markdown cells: ``Organ``, ``Image`` with the two modalities, one column per
        system.
    """
    table = read(name)
    wide = cells(table)
    structural = SESSIONS[wide["session"].iloc[0]].structural
    best = wide.groupby(["structure", "modality"])["mean"].transform("max") == wide["mean"]
    marks = _certain_marks(table)
    rows = []
    for organ, group in wide.assign(best=best).groupby("row", sort=False):
        names = [span(MODALITIES[m].title, _modality_class(m)) for m in (structural, "PET")]
        row = {"Organ": organ, "Image": " ".join(names)}
        for model, pair in group.groupby("segmenter", sort=False):
            parts = []
            for _, c in pair.sort_values("row_line").iterrows():
                mark, shade = marks.get((c["structure"], model, c["modality"]), ("", ""))
                text = _centre_and_spread(c, best=bool(c["best"])) + mark
                parts.append(span(text, _modality_class(c["modality"]), shade))
            row[MODELS[model]] = " ".join(parts)
        rows.append(row)
    return pd.DataFrame(rows)


def _certain_marks(table: pd.DataFrame) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(structure, segmenter, better modality) -> mark and class, the strictest level first."""
    marks: dict[tuple[str, str, str], tuple[str, str]] = {}
    for alpha, mark, shade in MARKS:
        found = modality_ranges(table, alpha=alpha)
        for _, r in found[found["verdict"] == CERTAIN].iterrows():
            marks.setdefault((r["structure"], r["segmenter"], r["better"]), (mark, shade))
    return marks


def overview_table() -> pd.DataFrame:
    """UMD table 3 as printed: reported performance, and the averages on UMD."""
    table = read("umd_table3").drop_duplicates(["line", "column"])
    own = cells(read("umd_table3"))
    own = own[own["cohort"] != "reported"]
    best = own.loc[own.groupby("column")["value"].idxmax()].set_index("column")["line"].to_dict()
    rows = []
    for line, group in table.groupby("line"):
        row = {"System": MODELS[group["segmenter"].iloc[0]]}
        for _, c in group.iterrows():
            bold = best.get(c["column"]) == line
            row[c["column"]] = f"**{c['raw']}**" if bold else c["raw"]
        rows.append(row)
    return pd.DataFrame(rows)


def count_table() -> pd.DataFrame:
    """SegAnyPET table 1 as printed."""
    table = read("seganypet_table1").drop_duplicates(["line", "column"])
    wide = table.pivot(index="line", columns="column", values="raw")
    wide = wide[list(dict.fromkeys(table["column"]))]
    total = wide["Cohort ID"].isin(["Dev", "Int", "Ext"])
    return wide.where(~total, "**" + wide + "**").replace("****", "").reset_index(drop=True)


def quartile_table(name: str, *, cohort: str | None = None, rows: str = "structure"):
    """A SegAnyPET table as printed, with the best median of each comparison bold.

    Parameters
    ----------
    name
        ``seganypet_s1`` to ``seganypet_s4``.
    cohort
        One section of supplementary table 4.
    rows
        ``"structure"``: structures as rows and systems as columns (as in supplementary table 4);
        ``"model"``: the other way round (as in the others).

    Returns
    -------
    pandas.DataFrame
        Markdown cells.
    """
    table = read(name)
    if cohort is not None:
        table = table[table["cohort"] == cohort]
    wide = cells(table)
    best = wide.groupby(["structure", "metric"])["median"].transform("max") == wide["median"]
    wide = wide.assign(best=best & (wide["median"] > 0))
    label, other = ("row", "column") if rows == "structure" else ("line", "column")
    out = []
    for key, group in wide.groupby(label, sort=False):
        first = group.iloc[0]
        row = {"Structure": key} if rows == "structure" else {"System": _system(first)}
        for _, c in group.iterrows():
            row[c[other]] = _centre_and_spread(c, best=bool(c["best"]))
        out.append(row)
    return pd.DataFrame(out)


def _system(cell: pd.Series) -> str:
    """A system with its prompt."""
    prompt = "" if cell["prompt"] == "none" else f", {cell['prompt']}"
    return f"{MODELS[cell['segmenter']]}{prompt}"


def findings_table(found: pd.DataFrame) -> pd.DataFrame:
    """Findings of an audit for a reader: where, what is printed, the arithmetic, what else.

    Findings of the same table with the same words share a line.
    """
    same = ["check", "table", "printed", "arithmetic"]
    found = found.groupby(same, sort=False)["where"].agg("; ".join).reset_index()
    return pd.DataFrame(
        {
            "Where": found["table"] + ": " + found["where"],
            "Printed": found["printed"],
            "Arithmetic": _with_minus(found["arithmetic"]),
            "What else it could be": found["check"].map(INNOCENT),
        }
    )


def checks_table(found: pd.DataFrame) -> pd.DataFrame:
    """How many tests of each check were made, and how they ended."""
    counts = found.groupby(["check", "grade"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(GRADES), fill_value=0)
    counts = counts.loc[:, counts.sum() > 0]
    counts.insert(0, "tests", counts.sum(axis=1))
    counts.loc["all"] = counts.sum()
    counts.columns = [c.capitalize() for c in counts]
    return counts.rename_axis("Check").reset_index()


def claims_table(claims: pd.DataFrame) -> pd.DataFrame:
    """Evaluated claims for a reader: words, what we test, the numbers."""
    return pd.DataFrame(
        {
            "Words of the paper": "“" + claims["quote"] + "”",
            "Source": claims["paper"] + ", " + claims["where"],
            "Tested as": claims["reading"],
            "Numbers": _with_minus(claims["numbers"]),
        }
    )


def _with_minus(texts: pd.Series) -> pd.Series:
    """Texts with a minus sign, not a hyphen, before a negative number."""
    return texts.str.replace(r"(?<![\w)])-(?=\d)", "−", regex=True)


def certainty_table(table: pd.DataFrame, *, alpha: float) -> pd.DataFrame:
    """Per system, in how many organs the modalities differ for every, for some, for no ρ."""
    found = modality_ranges(table, alpha=alpha)
    found = found[found["structure"] != "average"]
    label = found["verdict"].where(found["verdict"] != CERTAIN, found["better"] + " better")
    label = label.replace({DEPENDS: "depends on ρ", NEVER: "no difference for any ρ"})
    label = label.where(found["difference"] != 0, "equal in print")
    counts = pd.crosstab(found["segmenter"], label)
    order = [c for c in counts if c.endswith("better")]
    rest = ("depends on ρ", "no difference for any ρ", "equal in print")
    order += [c for c in rest if c in counts]
    counts = counts.loc[list(dict.fromkeys(found["segmenter"])), order]
    counts.index = [MODELS[m] for m in counts.index]
    return counts.rename_axis("System").reset_index()


def training_table(training: pd.DataFrame) -> pd.DataFrame:
    """Training data for a reader; a number that was not published is said to be so."""
    volumes = training["volumes"].map("{:,.0f}".format, na_action="ignore")
    return pd.DataFrame(
        {
            "System": training["system"],
            "Modality": training["modality"].replace("unknown", "not published"),
            "Coverage": training["coverage"]
            .replace("unknown", "not published")
            .where(training["volumes"] != 0, "—"),
            "Volumes": volumes.fillna("not published"),
            "Certainty": training["certainty"],
            "Source": training["source"],
        }
    )


def ranges_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Range of p over ρ for some cells, for a reader; a difference between two floors has that word."""
    floor = at_floor(rows, sides=("structural", "pet"))
    word = floor.map({True: f", *{FLOOR}*", False: ""})
    return pd.DataFrame(
        {
            "System": rows["segmenter"].map(MODELS),
            "Structure": rows["structure"].map(STRUCTURES),
            "Difference": [number(d, 4, sign=True) for d in rows["difference"]] + word,
            "p, best ρ": rows["p_low"].map(p_text),
            "p, worst ρ": rows["p_high"].map(p_text),
            "ρ needed": [number(r, 2).replace("–", "none") for r in rows["rho_needed"]],
            "Verdict": rows["verdict"],
        }
    )
