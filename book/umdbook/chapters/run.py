"""How a run was produced: tables of its record."""

from __future__ import annotations

import pandas as pd

from umdbook.build import job_table
from umdlib.scores.table import missing_pairs, read_scores
from umdlib.tables.markdown import numbered_table
from umdlib.tables.modality_table import session_title, with_session_titles

__all__ = ["read_scores"]


def fact_table(table: pd.DataFrame) -> str:
    """What was run: cohort, subjects, tolerances, versions."""
    stamp, subjects = table.attrs["stamp"], table.groupby("session")["subject"].nunique()
    facts = {
        "cohort": f"{stamp['cohort']} ({stamp['cohort_hash'][:12]})",
        "subjects": ", ".join(f"{n} in {session_title(s)}" for s, n in subjects.items()),
        "rows of the score table": f"{len(table):,}",
        "surface Dice at": " and ".join(f"{t:g} mm" for t in stamp["tolerances_mm"]),
        "device": stamp["device"],
        "umdlib": f"{stamp['umdlib']} {stamp['commit']}".strip(),
        "Python": f"{stamp['python']} on {stamp['platform']}",
        "packages": ", ".join(f"{k} {v}" for k, v in stamp["packages"].items()),
    }
    shown = pd.DataFrame(facts.items(), columns=["what", "value"])
    return numbered_table(shown, "What was run.", "tab-facts")


def prompt_table(table: pd.DataFrame) -> str:
    """Prompts that each segmenter was given."""
    available = table[table["status"].ne("unavailable")]
    given = available.groupby(["segmenter", "session", "prompt"], sort=False)
    given = with_session_titles(given.agg({"seed": "nunique", "step": "max"}).reset_index())
    given.columns = ["segmenter", "session", "prompt", "draws", "corrective clicks"]
    return numbered_table(given, "Prompts given, by segmenter.", "tab-run-prompts")


def segmenter_table(table: pd.DataFrame) -> str:
    """Versions and weights of the segmenters, and how many predictions failed why."""
    rows = []
    for name, part in table.groupby("segmenter", sort=False):
        identity = table.attrs["stamp"]["segmenters"].get(name, {})
        weights = ", ".join(f"{f} ({h[:12]})" if h else f for f, h in identity.get("weights", {}).items())
        status = part["status"].value_counts()
        reason = part.loc[part["status"].isin(["failed", "unavailable"]), "reason"]
        counts = int(status.get("ok", 0)), int(status.get("failed", 0))
        why = reason.iloc[0] if len(reason) else ""
        rows.append([name, identity.get("version", ""), weights or "none", *counts, why])
    columns = ["segmenter", "version", "weights (sha256)", "scored", "failed", "why"]
    shown = pd.DataFrame(rows, columns=columns)
    return numbered_table(shown, "Segmenters of this run.", "tab-run-segmenters")


def state_table(table: pd.DataFrame) -> str:
    """Predictions by state."""
    states = table.groupby(["segmenter", "modality", "status"]).size().unstack(fill_value=0)
    states = states.rename(columns=lambda state: state.replace("_", " "))
    return numbered_table(states.reset_index(), "Predictions by state.", "tab-run-states")


def partnerless(table: pd.DataFrame) -> str:
    """Predictions without a partner in the other image: how many, and the first ten."""
    gaps = missing_pairs(table)
    return "\n".join([f"{len(gaps)} predictions have no partner in the other image.", *gaps[:10]])


def cost_table(table: pd.DataFrame) -> str:
    """Seconds and memory of the predictions."""
    done = table[table["seconds"].notna()].groupby(["segmenter", "modality"])
    shown = done.agg({"seconds": ["size", "mean", "sum"], "peak_mb": "max"}).reset_index()
    formats = {"mean (s)": ".2f", "total (s)": ".0f", "memory added (MB)": ".0f"}
    shown.columns = ["segmenter", "modality", "predictions", *formats]
    return numbered_table(shown, "Cost of the predictions.", "tab-run-cost", formats)


def jobs(root: str) -> str:
    """Cost of each job of the graph."""
    shown, formats = job_table(f"{root}/benchmarks"), {"seconds": ".1f", "peak MB": ".0f"}
    return numbered_table(shown, "Jobs of the graph, the slowest first.", "tab-run-jobs", formats)
