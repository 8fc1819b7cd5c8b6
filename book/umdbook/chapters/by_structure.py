"""Tables and sentences of the chapter on structures."""

from __future__ import annotations

import pandas as pd

from umdbook import page
from umdlib.statistics import read_ceilings, structure_ceilings
from umdlib.tables.ceilings import NO_CEILINGS, ceilings_layout, kinds_words
from umdlib.tables.markdown import count, intervals, numbered_table, p_text
from umdlib.tables.modality_table import metric_title, session_title
from umdlib.tables.titles import segmenter_title


def hurdle_layout(model: pd.DataFrame) -> pd.DataFrame:
    """The rows *all structures* of `umdlib.statistics.hurdle.hurdle_table`, with interval and tests."""
    rows = model[model["structure"].eq("all")]
    return pd.DataFrame(
        {
            "session": rows["session"].map(session_title),
            "segmenter": rows["segmenter"],
            "part": rows["part"],
            "PET against structural [95 %]": intervals(rows, "estimate", "ci_low", "ci_high"),
            "scale": rows["scale"].map(metric_title),
            "p": rows["p_value"].map(p_text),
            "p (same in every structure)": rows["p_interaction"].map(p_text),
            "subjects": rows["n_subjects"],
            "rows": rows["n_rows"],
            "fitted by": rows["method"].replace("", "–"),
            "note": rows["note"].replace("", "–"),
        }
    )


def ceilings_text(path: str) -> str:
    """Numbered tables of the ceilings of every session, and what each kind is."""
    if not path:
        return NO_CEILINGS
    ceilings, parts = structure_ceilings(read_ceilings(path)), {}
    if ceilings.empty:
        return "No pair of this cohort has two references that could be read: there is no ceiling."
    for name in ceilings["session"].unique():
        n = int(ceilings.loc[ceilings["session"].eq(name), "n_subjects"].max())
        caption = (
            f"Mean DSC over {count(n, 'subject')} that the references of {session_title(name)} allow: no segmenter "
            "was asked."
        )
        written = numbered_table(ceilings_layout(ceilings, name), caption, f"tab-ceilings-{name}")
        parts[session_title(name)] = written
    return f"{page.tabs(parts)}\n\n{kinds_words(ceilings)}"


def modality_shares(components: pd.DataFrame) -> str:
    """How much of the spread involves the modality, one Markdown list item per segmenter.

    `components`: from `umdlib.statistics.variance_components.component_table`.
    """
    known = components[components["share"].notna()]
    known = known[known["source"].str.contains("modality")]
    lines = [
        f"- {session_title(session)}, {segmenter_title(segmenter)}: {100 * part['share'].sum():.0f} % of the spread "
        f"involves the modality (n = {part['n_subjects'].iloc[0]} subjects, "
        f"{part['n_structures'].iloc[0]} structures, {part['n_prompts'].iloc[0]} prompts each; "
        f"{part['n_left_out'].iloc[0]} subjects left out as incomplete)"
        for (session, segmenter), part in known.groupby(["session", "segmenter"], sort=False)
    ]
    return "\n".join(lines) or "No segmenter has two subjects with a complete set of scores."
