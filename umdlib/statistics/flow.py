"""Participant flow: from the subjects enrolled to the pairs analysed."""

from __future__ import annotations

import pandas as pd

from umdlib.labels import session as session_record
from umdlib.statistics.pairs import condition, paired_differences

STEPS: dict[str, str] = {
    "enrolled": "subjects enrolled",
    "imaged": "with both images",
    "scored": "asked about both images",
    "analysed": "with a paired difference",
}


def flow_table(manifest: pd.DataFrame, scores: pd.DataFrame, *, metric: str = "dice") -> pd.DataFrame:
    """Count subjects at each step from enrolment to analysis, per session and segmenter.

    Parameters
    ----------
    manifest
        Columns `subject, session, modality`; a row per image.
    scores
        Score table of the run.
    metric
        What is analysed.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter`, the steps of `STEPS` (numbers of subjects), `n_pairs` and `n_unpaired`
        (subject and structure), `why` (the commonest reason why a pair is missing).
    """
    rows = []
    pairs = paired_differences(condition(scores), metric=metric)
    available = scores[scores["status"].ne("unavailable")]
    for name, images in manifest.groupby("session", sort=False):
        both = {session_record(name).structural, "PET"}
        held = images.groupby("subject")["modality"].agg(set)
        imaged = sum(both <= modalities for modalities in held)
        for segmenter in scores.loc[scores["session"].eq(name), "segmenter"].unique():
            mine = available[available["session"].eq(name) & available["segmenter"].eq(segmenter)]
            seen = mine.groupby("subject")["modality"].agg(set)
            part = pairs[pairs["session"].eq(name) & pairs["segmenter"].eq(segmenter)]
            paired = part["state"].eq("paired")
            why = part.loc[~paired, "why"].mode()
            rows.append(
                {
                    "session": name,
                    "segmenter": segmenter,
                    "enrolled": len(held),
                    "imaged": imaged,
                    "scored": sum(both <= modalities for modalities in seen),
                    "analysed": int(part.loc[paired, "subject"].nunique()),
                    "n_pairs": int(paired.sum()),
                    "n_unpaired": int((~paired).sum()),
                    "why": why.iloc[0] if len(why) else "",
                }
            )
    columns = ["session", "segmenter", *STEPS, "n_pairs", "n_unpaired", "why"]
    return pd.DataFrame(rows, columns=columns)
