"""New targets: what a promptable network makes of structures that its training withheld."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from umdlib.labels import ORGANS
from umdlib.scores.empty_rules import check_scores, with_empty_rule
from umdlib.statistics import bootstrap
from umdlib.statistics.pairs import means_over_structures
from umdlib.statistics.verdicts import at_floor

GROUPS = ("withheld", "trained", "withheld minus trained")
COLUMNS = ["session", "subject", "structure", "withheld", "full", "fewer", "difference"]


def paired_scores(
    scores: pd.DataFrame,
    full: str,
    fewer: str,
    withheld: Sequence[str],
    *,
    metric: str = "dice",
    empty: str = "drop",
) -> pd.DataFrame:
    """Scores of two networks on the same PET image and centre click.

    Parameters
    ----------
    scores
        Score table with both networks.
    full, fewer
        Network trained on all structures, and the one whose training withheld some.
    withheld
        Names of those structures.
    metric, empty
        What is compared. Structures of a cohort other than the 13 organs, which neither training run
        showed, are left out.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: one row per subject and structure for which both have a score;
        ``difference`` is fewer minus full. Empty where one of the two is not in the table.
    """
    check_scores(scores[:0], [metric])
    rows = scores[
        scores["segmenter"].isin([full, fewer])
        & scores["status"].ne("unavailable")
        & scores["prompt"].eq("centre")
        & scores["step"].eq(0)
        & scores["modality"].eq("PET")
        & scores["structure"].isin({s.name for s in ORGANS})
    ].reset_index(drop=True)
    if set(rows["segmenter"].unique()) != {full, fewer}:
        return pd.DataFrame(columns=COLUMNS)
    check_scores(rows, [metric])
    rows = rows.assign(score=with_empty_rule(rows, metric, empty))
    wide = rows.pivot_table(
        index=["session", "subject", "structure"], columns="segmenter", values="score", sort=False
    )
    wide = wide.reindex(columns=[full, fewer]).set_axis(["full", "fewer"], axis=1)
    table = wide.dropna().reset_index()
    table = table.assign(
        withheld=table["structure"].isin(set(withheld)), difference=table["fewer"] - table["full"]
    )[COLUMNS]
    table.attrs["metric"] = metric
    return table


_NUMBERS = ["full", "fewer", "difference"]


def cost_of_withholding(pairs: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Change on the withheld structures, on the others, and the difference of the two.

    Parameters
    ----------
    pairs
        From `paired_scores`.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        `session, group` (of `GROUPS`), `full`, `fewer`
        (means; NaN in the last group), `estimate, ci_low, ci_high, n_structures, n_subjects, at_floor`
        (both means at the floor, `umdlib.statistics.verdicts.at_floor`).
        A subject's value is its mean over the structures of the group, standardised where it lacks some.
    """
    found = []
    metric = pairs.attrs.get("metric", "dice")
    for session, part in pairs.groupby("session", sort=False):
        cells = part.set_index(["subject", "structure"])
        of_group = {
            hidden: means_over_structures(cells.loc[cells["withheld"].eq(hidden), _NUMBERS], sort=True)
            for hidden in (True, False)
        }
        wide = pd.concat(of_group, axis=1).swaplevel(axis=1).dropna()
        if wide.empty or not {True, False} <= set(part["withheld"]):
            continue
        change = {hidden: wide["difference", hidden].to_numpy() for hidden in (True, False)}
        for group, values, hidden in (
            (GROUPS[0], change[True], True),
            (GROUPS[1], change[False], False),
            (GROUPS[2], change[True] - change[False], None),
        ):
            kind = "contrast" if hidden is None else "difference"
            of_mean = bootstrap.interval_of_mean(values, metric, n_resamples, seed, kind=kind)
            of = part if hidden is None else part[part["withheld"].eq(hidden)]
            found.append(
                {
                    "session": session,
                    "group": group,
                    "full": np.nan if hidden is None else wide["full", hidden].mean(),
                    "fewer": np.nan if hidden is None else wide["fewer", hidden].mean(),
                    **of_mean.columns(),
                    "n_structures": of["structure"].nunique(),
                    "n_subjects": len(wide),
                }
            )
    columns = ["session", "group", "full", "fewer", "estimate", "ci_low", "ci_high", "n_structures"]
    columns += ["n_subjects"]
    table = pd.DataFrame(found, columns=columns)
    table["at_floor"] = at_floor(table, metric=metric, sides=("full", "fewer"))
    table.attrs["metric"] = metric
    return table
