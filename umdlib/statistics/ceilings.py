"""Scores beside the best that a system could have where it looks at parts of an image only."""

from __future__ import annotations

import pandas as pd

_KEYS = ["session", "segmenter", "prompt", "step", "modality"]


def beside_ceilings(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC and mean ceiling of every system, protocol, step and modality that has a ceiling.

    Means over seeds and structures within subjects, then over subjects; a prediction that failed counts
    in neither.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, prompt, step, modality, dice, ceiling, n_subjects`; empty where the table
        has no ceilings.

    Examples
    --------
    >>> keys = {"session": "petct", "segmenter": "a", "prompt": "centre", "step": 0, "modality": "CT"}
    >>> rows = [{**keys, "subject": s, "dice": d, "ceiling": 0.8} for s, d in (("1", 0.2), ("1", 0.4), ("2", 0.7))]
    >>> beside_ceilings(pd.DataFrame(rows))[["dice", "ceiling", "n_subjects"]].round(3).values.tolist()
    [[0.5, 0.8, 2.0]]
    """
    columns = [*_KEYS, "dice", "ceiling", "n_subjects"]
    if "ceiling" not in scores:
        return pd.DataFrame(columns=columns)
    known = scores[scores["ceiling"].notna() & scores["dice"].notna()]
    subjects = known.groupby([*_KEYS, "subject"], sort=False)[["dice", "ceiling"]].mean()
    grouped = subjects.groupby(_KEYS, sort=False)
    return grouped.mean().assign(n_subjects=grouped.size()).reset_index()[columns]
