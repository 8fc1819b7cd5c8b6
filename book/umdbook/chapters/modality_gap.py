"""Tables and sentences of the chapter on the modality gap."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.statistics.failures import rate_interval
from umdlib.tables.markdown import count, gap_text, number, p_text
from umdlib.tables.modality_table import metric_title, structure_title
from umdlib.tables.titles import segmenter_title


def failure_rows(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Comparisons in which a pair fails on one modality only, with McNemar's p.

    `comparisons`: from `umdlib.statistics.comparison.compare`.
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


def pair_words(row: pd.Series, metric: str = "dice") -> str:
    """Describe one comparison in a sentence."""
    if not np.isfinite(row["estimate"]):
        return f"{segmenter_title(row['segmenter'])}: {row['note']}."
    change = gap_text(row["estimate"], row["ci_low"], row["ci_high"], row["at_floor"])
    note = f" Note: {row['note']}." if row["note"] else ""
    has = np.isfinite(row["ci_low"])
    return (
        f"{segmenter_title(row['segmenter'])}, {structure_title(row['structure']).lower()}: {change} "
        f"{metric_title(metric)} (mean difference{', 95 % interval' if has else ''}, "
        f"n = {count(row['n_pairs'], 'subject')}). Hodges–Lehmann shift {number(row['hl'], sign=True)}; rank-biserial "
        f"correlation {number(row['rank_biserial'], 2, sign=True)}, where −1 would mean that every "
        f"subject has the lower value on PET.{note}"
    )


def mark_words(uncorrected: pd.DataFrame, corrected: pd.DataFrame) -> str:
    """How many marks of `umdlib.tables.modality_table` a correction takes away."""
    raw, sure = (int((c["mark"].ne("") & c["structure"].ne("all")).sum()) for c in (uncorrected, corrected))
    known = uncorrected[uncorrected["state"].eq("") & uncorrected["structure"].ne("all")]
    return (
        f"Without a correction, {raw} of {len(known) // 2} comparisons of a segmenter on a "
        f"structure would carry a mark; {sure} keep it."
    )
