"""What a second image adds: a system given both images of an examination, against one given the image alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdlib.labels import ORGANS, session
from umdlib.scores.empty_rules import with_empty_rule
from umdlib.statistics.bootstrap import interval_of_mean
from umdlib.statistics.pairs import condition, means_over_structures

BOTH = "clicknet_pair"
# By modality of the segmented image: the same weights with the other image blank, and the network of that kind alone.
ALONE = dict.fromkeys(("CT", "MR", "PET"), "clicknet_pair_alone")
OF_ITS_KIND = {"CT": "clicknet_structural", "MR": "clicknet_structural", "PET": "clicknet_pet"}
ALL = "all"
COLUMNS = ["session", "modality", "added", "structure", "alone", "both", "estimate", "ci_low", "ci_high"]
COLUMNS += ["p_value", "n_subjects"]


def second_image_table(
    scores: pd.DataFrame,
    *,
    alone: Mapping[str, str] = ALONE,
    metric: str = "dice",
    empty: str = "drop",
    n_resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score with both images minus score with one, paired by subject, structure and click.

    Parameters
    ----------
    scores
        Score table; first prompts of `BOTH` and of those given one image count.
    alone
        Modality of the segmented image -> segmenter that is given it alone.
    metric, empty
        Column of the score table; what an empty mask counts.
    n_resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    pandas.DataFrame
        One row per image and structure, and one with structure ``all`` (a subject's mean over its
        structures): `session, modality` (of the segmented image), `added` (modality of the second
        image), `structure, alone, both` (means over subjects), `estimate` (their paired difference),
        `ci_low, ci_high, p_value, n_subjects`. No rows of a modality for which the table lacks one of the two.
    """
    pairs = with_and_without(scores, alone=alone, metric=metric, empty=empty)
    order = {s.name: n for n, s in enumerate(ORGANS)}
    rows = []
    images = pairs.groupby(["session", "modality"])
    for (name, modality), part in sorted(images, key=lambda image: (image[0][0], image[0][1] == "PET")):
        structures = sorted(part["structure"].unique(), key=lambda s: (order.get(s, len(order)), s))
        cells = part.set_index(["subject", "structure"])[["alone", "both"]]
        blocks = [(ALL, means_over_structures(cells, sort=True))]
        blocks += [
            (s, part[part["structure"].eq(s)].set_index("subject")[["alone", "both"]]) for s in structures
        ]
        added = "PET" if modality != "PET" else session(name).structural
        for structure, block in blocks:
            values = (block["both"] - block["alone"]).to_numpy()
            found = interval_of_mean(values, metric, n_resamples, seed)
            about = [name, modality, added, structure, block["alone"].mean(), block["both"].mean()]
            rows.append([*about, *found])
    return pd.DataFrame(rows, columns=COLUMNS)


def with_and_without(
    scores: pd.DataFrame, *, alone: Mapping[str, str] = ALONE, metric: str = "dice", empty: str = "drop"
) -> pd.DataFrame:
    """Scores with both images and with one, where there are both; parameters of `second_image_table`.

    Returns
    -------
    pandas.DataFrame
        `session, modality, subject, structure, alone, both`, seeds averaged.
    """
    keys = ["session", "modality", "subject", "structure"]
    single = scores["segmenter"].eq(scores["modality"].map(alone))
    rows = scores[(scores["segmenter"].eq(BOTH) | single) & scores["status"].ne("unavailable")]
    if rows.empty:
        return pd.DataFrame(columns=[*keys, "alone", "both"])
    rows = condition(rows).reset_index(drop=True)
    rows = rows.assign(
        score=with_empty_rule(rows, metric, empty), side=np.where(rows["segmenter"].eq(BOTH), "both", "alone")
    ).dropna(subset=["score"])
    wide = rows.pivot_table(index=keys, columns="side", values="score", sort=False)
    return wide.reindex(columns=["alone", "both"]).dropna().reset_index()
