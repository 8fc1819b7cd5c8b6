"""Layouts of models, rankings, clicks and reported numbers: tables of texts, one per chapter."""

from __future__ import annotations

import pandas as pd

from umdlib.labels import sorted_sessions
from umdlib.statistics.failures import rate_interval
from umdlib.tables.markdown import interval, number, p_text
from umdlib.tables.modality_table import metric_title, session_title, structure_title

_SETTING = ["session", "modality", "metric", "empty", "common"]

REPORTED_COLUMNS: dict[str, str] = {
    "reported": "reported",
    "printed": "UMD printed",
    "native": "here, own prompt",
    "common": "here, common prompt",
}


def failure_rows(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Comparisons in which a pair fails on one modality only, with McNemar's p.

    Parameters
    ----------
    comparisons
        From `umdlib.statistics.comparison.compare`.
    """
    rows = comparisons[comparisons[["structural_only", "pet_only"]].sum(axis=1) > 0]
    table = rows[["segmenter", "structure"]].assign(structure=rows["structure"].map(structure_title))
    names = ["both", "structural_only", "pet_only", "neither"]
    titles = ["both work", "structural only", "PET only", "neither"]
    counts = rows[names].astype(int).set_axis(titles, axis=1)
    table = table.join(counts)
    for side, alone in (("structural", "pet_only"), ("PET", "structural_only")):
        table[f"fails on {side} [95 %]"] = [
            _rate(lost, n) for lost, n in zip(rows[alone] + rows["neither"], counts.sum(axis=1), strict=True)
        ]
    return table.assign(**{"p (McNemar)": rows["p_mcnemar"].map(p_text)})


def _rate(failed: int, n: int) -> str:
    """A failure rate in percent with its exact interval."""
    low, high = rate_interval(failed, n)
    return f"{100 * failed / n:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def interval_rows(overall: pd.DataFrame) -> pd.DataFrame:
    """Three intervals of each mean difference: studentised, BCa, Student's.

    Parameters
    ----------
    overall
        From `umdlib.statistics.comparison.compare`, rows without an estimate are left out.
    """
    rows = overall[overall["estimate"].notna()]
    table = pd.DataFrame(
        {
            "session": rows["session"].map(session_title),
            "segmenter": rows["segmenter"],
            "subjects": rows["n_subjects"].astype(int),
            "mean difference": [number(v, sign=True) for v in rows["estimate"]],
        }
    )
    titles = {"ci": "studentised bootstrap", "bca": "BCa bootstrap", "t": "Student’s t"}
    for name, title in titles.items():
        ends = zip(rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
        table[title] = [f"{number(a, sign=True)} to {number(b, sign=True)}" for a, b in ends]
    return table


def hurdle_layout(model: pd.DataFrame) -> pd.DataFrame:
    """The rows *all structures* of `umdlib.statistics.hurdle.hurdle`, with interval and tests."""
    rows = model[model["structure"].eq("all")]
    return pd.DataFrame(
        {
            "session": rows["session"].map(session_title),
            "segmenter": rows["segmenter"],
            "part": rows["part"],
            "PET against structural [95 %]": [
                interval(r.estimate, r.ci_low, r.ci_high) for r in rows.itertuples()
            ],
            "scale": rows["scale"].map(metric_title),
            "p": rows["p_value"].map(p_text),
            "p (same in every structure)": rows["p_interaction"].map(p_text),
            "subjects": rows["n_subjects"],
            "rows": rows["n_rows"],
            "fitted by": rows["method"].replace("", "–"),
            "note": rows["note"].replace("", "–"),
        }
    )


def modality_shares(components: pd.DataFrame) -> str:
    """How much of the spread involves the modality, one Markdown list item per segmenter.

    Parameters
    ----------
    components
        From `umdlib.statistics.variance_components.variance_components`.
    """
    known = components[components["share"].notna()]
    known = known[known["source"].str.contains("modality")]
    lines = [
        f"- {session_title(session)}, {segmenter}: {100 * part['share'].sum():.0f} % of the spread "
        f"involves the modality (n = {part['n_subjects'].iloc[0]} subjects, "
        f"{part['n_structures'].iloc[0]} structures, {part['n_prompts'].iloc[0]} prompts each; "
        f"{part['n_left_out'].iloc[0]} subjects left out as incomplete)"
        for (session, segmenter), part in known.groupby(["session", "segmenter"], sort=False)
    ]
    return "\n".join(lines) or "No segmenter has two subjects with a complete set of scores."


def verdict_counts(comparisons: pd.DataFrame) -> str:
    """How many comparisons differ, are equivalent, or are undecided; and the family sizes."""
    known = comparisons[comparisons["estimate"].notna()]
    margin = comparisons.attrs.get("margin", 0.02)
    differ, same = known["p_holm"].lt(0.05), known["equivalent"].astype(bool)
    families = [
        f"{session_title(name)}: {_sizes(part['n_holm'])} p-values per segmenter (Holm), "
        f"{_sizes(part['n_bh'])} per structure (Benjamini–Hochberg)"
        for name, part in known.groupby("session", sort=False)
    ]
    return (
        f"Of {len(known)} comparisons of a segmenter on a structure, {int(differ.sum())} differ "
        f"(p < 0.05 after Holm), {int(same.sum())} are equivalent within ±{margin:g} (p < 0.05), "
        f"and {int((~differ & ~same).sum())} are undecided: too few subjects for either claim. "
        f"Families: {'; '.join(families)}." + reachable_words(known)
    )


def reachable_words(comparisons: pd.DataFrame, *, level: float = 0.05) -> str:
    """Whether the sign-flip test can give a p-value that Holm's correction leaves under `level`.

    A sentence that begins with a space where it cannot, nothing where it can.
    """
    known = comparisons[comparisons["estimate"].notna()]
    smallest = 2.0 ** (1 - known["n_subjects"])
    barred = known[(smallest * known["n_holm"]).ge(level)]
    if barred.empty:
        return ""
    n = int(barred["n_subjects"].max())
    family = int(barred.loc[barred["n_subjects"].eq(n), "n_holm"].max())
    return (
        f" With {n} subjects the smallest p-value that a sign-flip test can give is "
        f"2 in {2**n:,}, {p_text(2.0 ** (1 - n))}; times a family of {family} that is "
        f"{p_text(min(family * 2.0 ** (1 - n), 1.0))}. So in {len(barred)} of the {len(known)} "
        f"comparisons no difference, however large, could have had p < {level:g} after Holm."
    )


def _sizes(family: pd.Series) -> str:
    """The sizes of families of p-values, in words."""
    return " or ".join(str(int(n)) for n in sorted(family.unique()))


def ranking_notes(ranks: pd.DataFrame) -> str:
    """Stability of every ranking of `umdlib.statistics.ranking.rank_segmenters`, as a Markdown list."""
    lines = []
    for (session, modality), part in ranks.groupby(["session", "modality"], sort=False):
        row = part.iloc[0]
        lines.append(
            f"- {session_title(session)}, {modality}: mean Kendall τ of the resampled rankings "
            f"with this one {number(row['kendall_tau'], 2)}; n = {row['n_subjects']} subjects, "
            f"{row['n_cases']} common cases, {row['n_dropped']} left out because "
            "a segmenter lacks them"
        )
    for (name, note), gone in ranks[ranks["note"].ne("")].groupby(["segmenter", "note"], sort=False):
        places = [
            f"{session_title(s)} ({', '.join(part['modality'])})"
            for s, part in gone.groupby("session", sort=False)
        ]
        lines.append(f"- {name} is not ranked on {', '.join(places)}: {note}")
    return "\n".join(lines)


def state_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """Number of predictions of each status, per session, segmenter and modality."""
    keys = ["session", "segmenter", "modality"]
    table = scores.groupby([*keys, "status"], sort=False).size().reset_index(name="n")
    wide = table.pivot_table(index=keys, columns="status", values="n", fill_value=0, sort=False)
    wide.columns = [str(c).replace("_", " ") for c in wide.columns]
    table = wide.astype(int).reset_index()
    order = pd.DataFrame({"session": table["session"].map(sorted_sessions(table["session"]).index)})
    order["pet"] = table["modality"].eq("PET")
    order["segmenter"] = table["segmenter"]
    order = order.sort_values(["session", "segmenter", "pet"], kind="stable").index
    return _titled(table.loc[order])


def _titled(table: pd.DataFrame) -> pd.DataFrame:
    """The table with sessions under their titles."""
    return table.assign(session=table["session"].map(session_title))


def rule_verdicts(summaries: pd.DataFrame) -> pd.DataFrame:
    """How far the empty rule moves each mean difference, and whether its verdict changes.

    Parameters
    ----------
    summaries
        Rows of `umdlib.statistics.comparison.compare` by session and segmenter, for several rules and metrics,
        with columns `empty` and `metric`.
    """
    keys = ["session", "segmenter", "metric"]
    some = summaries["estimate"].notna().groupby([summaries[k] for k in keys]).transform("any")
    known = summaries[some]
    sign = known["estimate"].gt(0).map({True: 1, False: -1})
    verdict = (known["p_value"].lt(0.05) * sign).where(known["estimate"].notna(), "no pairs")
    known = known.assign(verdict=verdict.astype(str))
    grouped = known.groupby(["session", "segmenter", "metric"], sort=False)
    table = grouped["estimate"].agg(["min", "max"]).reset_index()
    changes = grouped["verdict"].nunique().gt(1).to_numpy()
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "segmenter": table["segmenter"],
            "metric": table["metric"].map(metric_title),
            "lowest": [number(v, sign=True) for v in table["min"]],
            "highest": [number(v, sign=True) for v in table["max"]],
            "verdict": ["**depends on the rule**" if c else "the same" for c in changes],
        }
    )


def winners(ranks: pd.DataFrame) -> pd.DataFrame:
    """The winner under every metric and choice of cases, an empty rule per column.

    A winner is bold where it is not that of the first setting; the number of cases follows.

    Parameters
    ----------
    ranks
        From `umdlib.statistics.ranking.ranking_sensitivity`.
    """
    best = ranks.groupby(_SETTING)["rank"].transform("min")
    rows = ranks[ranks["rank"].eq(best)].groupby(_SETTING, sort=False)
    table = rows["segmenter"].agg(" = ".join).rename("winner").reset_index()
    changes = rows["winner_changes"].first().to_numpy(bool)
    cases = rows["n_cases"].first()
    table["winner"] = [
        (f"**{w}**" if c else w) + f" ({n})" for w, c, n in zip(table["winner"], changes, cases, strict=True)
    ]
    rules = list(dict.fromkeys(table["empty"]))
    keys = [k for k in _SETTING if k != "empty"]
    lowest = ranks.groupby(keys, sort=False)["tau"].min()
    table = (
        table.pivot_table(index=keys, columns="empty", values="winner", aggfunc="first", sort=False)
        .reindex(columns=rules)
        .fillna("–")
    )
    table["lowest τ"] = [number(t, 2) for t in lowest.reindex(table.index)]
    table = table.reset_index()
    table["metric"] = table["metric"].map(metric_title)
    table["common"] = table["common"].map({True: "common", False: "each its own"})
    return _titled(table).rename(columns={"common": "on cases"}).rename_axis(columns=None)


def gain_rows(curves: pd.DataFrame) -> pd.DataFrame:
    """Gain of every corrective click on either modality, and their difference.

    Parameters
    ----------
    curves
        From `umdlib.statistics.click_curves.click_curves`.
    """
    later, rows = curves[curves["gain"].notna()], []
    keys = ["session", "segmenter", "prompt", "step"]
    for key, part in later.groupby(keys, sort=False):
        found = {r.modality: interval(r.gain, r.gain_low, r.gain_high) for r in part.itertuples()}
        pet, gap = found.pop("PET", "–"), found.pop("difference", "–")
        structural = next(iter(found.values()), "–")
        rows.append([*key, part["n_subjects"].min(), structural, pet, gap])
    columns = ["session", "segmenter", "prompt", "click", "n", "structural", "PET"]
    return _titled(pd.DataFrame(rows, columns=[*columns, "PET − structural"]))


def effort_layout(effort: pd.DataFrame) -> pd.DataFrame:
    """Scores and seconds of `umdlib.statistics.click_curves.effort_table`, modalities side by side."""
    if effort.empty:
        return pd.DataFrame(columns=["session", "segmenter", "prompt", "clicks", "coordinates"])
    rows = effort.assign(
        score=[f"{number(r.median)} ({number(r.q1)}–{number(r.q3)})" for r in effort.itertuples()],
        time=[number(s, 2) for s in effort["seconds"]],
    )
    keys = ["session", "segmenter", "prompt", "step", "coordinates"]
    wide = rows.pivot_table(
        index=keys, columns="modality", values=["score", "time"], aggfunc="first", sort=False
    )
    table = wide.index.to_frame(index=False)
    modalities = [m for m in ("CT", "MR", "PET") if m in set(rows["modality"])]
    for name, unit in (("score", ""), ("time", " (s)")):
        for modality in modalities:
            table[modality + unit] = wide[name, modality].fillna("–").to_numpy()
    return _titled(table).rename(columns={"step": "clicks"})


def reported_layout(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers and gaps of `umdlib.statistics.reported.reported_table`; a dash where there is none."""
    table = rows[["title", "session", "modality"]].rename(columns={"title": "system"})
    for column, title in REPORTED_COLUMNS.items():
        table[title] = rows[column].map(number)
    # The paper's mark for a number that is known as an average over modalities only.
    average = rows["reported_text"].astype(str).str.startswith("~")
    table["reported"] = table["reported"].where(~average, "~" + table["reported"])
    table = _titled(table)
    for gap in ("harness_gap", "data_gap", "prompt_gap"):
        table[gap.replace("_", " ")] = [number(v, sign=True) for v in rows[gap]]
    return table


def missing_reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """Why numbers of `umdlib.statistics.reported.reported_table` are missing, with the systems they lack."""
    names = {**REPORTED_COLUMNS, "harness": "this program on the reported data"}
    found = []
    for column, title in names.items():
        if f"why_{column}" in rows:
            gone = rows[rows[f"why_{column}"].ne("")]
            for why, part in gone.groupby(f"why_{column}", sort=False):
                found.append([title, why, ", ".join(dict.fromkeys(part["title"]))])
    return pd.DataFrame(found, columns=["number", "why it is missing", "systems"])
