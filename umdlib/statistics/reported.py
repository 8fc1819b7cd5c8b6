"""Reported beside measured: the three gaps between a paper's number and this run's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import numpy as np
import pandas as pd

from umdlib.labels import MODALITIES, session
from umdlib.protocols import native_protocols
from umdlib.scores.table import KEYS
from umdlib.statistics.pairs import condition, paired_differences, subject_means

# Term of the telescoping sum -> the numbers that it is the difference of.
_GAPS = {
    "harness_gap": ("reported", "harness"),
    "data_gap": ("harness", "native"),
    "prompt_gap": ("native", "common"),
}


def _measured_means(scores: pd.DataFrame, prompt: str) -> pd.DataFrame:
    """Mean DSC over subjects (of each subject's mean over structures) per segmenter and modality."""
    scores = scores[[*KEYS, "dice", "status", "reason"]]
    rows = {"native": _native, "common": _common, "own": _own}[prompt](scores)
    if rows.empty:
        return pd.DataFrame(columns=["segmenter", "session", "modality", "mean", "n_subjects"])
    pairs = paired_differences(rows)
    by, found = ["segmenter", "session"], []
    for side in ("structural", "pet"):
        matrix = subject_means(pairs, by, value=side)
        for segmenter, name in matrix.columns:
            column = matrix[segmenter, name].dropna()
            modality = "PET" if side == "pet" else session(name).structural
            found.append((segmenter, name, modality, column.mean(), len(column)))
    columns = ["segmenter", "session", "modality", "mean", "n_subjects"]
    return pd.DataFrame(found, columns=columns)


def _native(scores: pd.DataFrame) -> pd.DataFrame:
    """First-step rows of each segmenter's own protocol, the preferred one where there are several."""
    first = scores[scores["status"].ne("unavailable") & scores["step"].eq(0)]
    parts = []
    for name, rows in first.groupby("segmenter", sort=False):
        run = set(rows["prompt"].unique())
        own = next((p for p in native_protocols(str(name)) if p in run), None)
        parts.append(rows[rows["prompt"].eq(own)])
    return pd.concat(parts) if parts else first


def own_protocol(segmenter: str) -> str:
    """Protocol that a network of this project was trained with: its first click, or its class.

    Examples
    --------
    >>> own_protocol("clicknet_pet"), own_protocol("sam_med3d_small_both"), own_protocol("nnunet_small")
    ('random', 'random', 'class')
    """
    return "random" if segmenter.startswith(("clicknet", "sam_med3d_small")) else "class"


def _own(scores: pd.DataFrame) -> pd.DataFrame:
    """First-step rows of each network's own protocol."""
    first = scores[scores["status"].ne("unavailable") & scores["step"].eq(0)]
    prompts = {name: own_protocol(name) for name in first["segmenter"].unique()}
    return first[first["prompt"].eq(first["segmenter"].map(prompts))]


def own_harness() -> pd.DataFrame:
    """Scores of each network of this project by this program, on subjects of its training.

    Recorded by ``umdlib reference-scores SCORES --own`` from a run on those subjects, drawn again by the recipe of
    the cards, on the images that it was trained on: `segmenter, session, modality, dice, n_subjects`.
    """
    file = resources.files("umdlib.statistics") / "own_subjects.tsv"
    with file.open(encoding="utf-8") as text:
        return pd.read_csv(text, sep="\t")


def measured_own(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC of every network under its own protocol, as `own_harness` has it, to six decimals."""
    table = _measured_means(scores, "own").rename(columns={"mean": "dice"})
    keys = ["segmenter", "session", "modality"]
    return table.assign(dice=table["dice"].astype(float).round(6)).sort_values(keys, ignore_index=True)


def own_sum(
    cards: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    harness: pd.DataFrame | None = None,
    asked: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The telescoping sum of networks of this project, of which every number can be had.

    ``reported - common = harness_gap + data_gap + prompt_gap``: the figure of the network's own training on its own
    subjects; this program on the same subjects; this cohort with the network's own prompt; this cohort
    with the common click.

    Parameters
    ----------
    cards
        `segmenter, session, modality, reported`: a row for every network and image that it was trained on.
    scores
        Score table of this run.
    harness
        As `own_harness`, which None takes.
    asked
        Score rows of some of this run's subjects with the networks' own prompts, for networks that the run did
        not ask with them. Both prompts are then those of these subjects.

    Returns
    -------
    pandas.DataFrame
        `segmenter, session, modality`, `reported`, `harness`, `native`, `common`, `harness_gap`, `data_gap`,
        `prompt_gap`, `total` (reported minus common), `n_own` and `n_subjects` (behind harness and run), `few`
        (whether both prompts are those of `asked`'s subjects), and
        `why_` of each gap: why it is NaN, or, of a network that takes no click, why the prompt gap is 0.
        Networks without a row in `scores` are left out.
    """
    keys = ["segmenter", "session", "modality"]
    harness = own_harness() if harness is None else harness
    here = scores.loc[scores["status"].ne("unavailable"), "segmenter"].unique()
    table = cards[cards["segmenter"].isin(here)]
    theirs = harness.rename(columns={"dice": "harness", "n_subjects": "n_own"})
    own, common = (_measured_means(scores, prompt) for prompt in ("own", "common"))
    few = set() if asked is None else set(asked["segmenter"].unique()) - set(own["segmenter"])
    if few:
        asked = asked[asked["segmenter"].isin(few)]
        same = scores.merge(asked[["subject", "session", "segmenter"]].drop_duplicates())
        own = pd.concat([own, _measured_means(asked, "own")])
        common = pd.concat([common[~common["segmenter"].isin(few)], _measured_means(same, "common")])
    own, common = own.rename(columns={"mean": "native"}), common.rename(columns={"mean": "common"})
    table = table.assign(few=table["segmenter"].isin(few))
    for part in (theirs, own[[*keys, "native", "n_subjects"]], common[[*keys, "common"]]):
        table = table.merge(part, on=keys, how="left", sort=False)
    by_class = table["segmenter"].map(own_protocol).eq("class")
    table["common"] = table["common"].where(~by_class, table["native"])
    numbers = ["reported", "harness", "native", "common"]
    table[numbers] = table[numbers].astype(float)
    why = {
        "harness": "not measured on the subjects of its training",
        "native": "its own prompt was not run",
        "common": "the common click was not run",
    }
    for name, (first, second) in _GAPS.items():
        table[name] = table[first] - table[second]
        reason = [
            "; ".join(why[c] for c in (first, second) if c in why and not np.isfinite(row[c]))
            for _, row in table.iterrows()
        ]
        table[f"why_{name}"] = reason
    takes_none = by_class & table["native"].notna()
    table["why_prompt_gap"] = table["why_prompt_gap"].mask(
        takes_none, "takes a class, no click: one prompt alone"
    )
    table["total"] = table["reported"] - table["common"]
    return table


def _common(scores: pd.DataFrame) -> pd.DataFrame:
    """First-step rows of the shared click, or of a box where a segmenter takes no click."""
    here = scores["status"].ne("unavailable") & ~scores["prompt"].isin(["class", "text"])
    return condition(scores[here], prompt="centre") if here.any() else scores[here]


def reported_table(
    printed: pd.DataFrame, scores: pd.DataFrame, *, harness: Mapping[tuple[str, str], float] | None = None
) -> pd.DataFrame:
    """UMD's table 3 with this run beside it, and the telescoping gap.

    ``reported - common = harness_gap + data_gap + prompt_gap``; a term that cannot be computed is
    NaN, with the reason beside it, and so is every sum that needs it.

    Parameters
    ----------
    printed
        ``umdlib.published.read("umd_table3")``.
    scores
        Score table of this run.
    harness
        (segmenter, modality) -> mean DSC of this program on the data that the number was reported
        on; none by default.

    Returns
    -------
    pandas.DataFrame
        `segmenter, title, setting, session, modality`, then `reported`, `printed` (what UMD
        measured), `harness`, `native`, `common`, `harness_gap, data_gap, prompt_gap`, `n_subjects`,
        and `why_<column>` for each that is NaN.
    """
    keys = ["segmenter", "session", "modality"]
    paper = _printed_rows(printed)
    native = _measured_means(scores, "native").rename(columns={"mean": "native"})
    table = paper.merge(native.drop(columns="n_subjects"), on=keys, how="outer", sort=False)
    common = _measured_means(scores, "common").rename(columns={"mean": "common"})
    table = table.merge(common, on=keys, how="outer", sort=False)
    table["title"] = table["title"].fillna(table["segmenter"])
    table = _in_order(table, list(paper["segmenter"].unique()))
    harness = harness or {}
    table["harness"] = [
        harness.get((s, m), np.nan) for s, m in zip(table["segmenter"], table["modality"], strict=True)
    ]
    numbers = ["reported", "printed", "harness", "native", "common"]
    table[numbers] = table[numbers].astype(float)
    for name, (first, second) in _GAPS.items():
        table[name] = table[first] - table[second]
    return _with_reasons(table, scores)


def _in_order(table: pd.DataFrame, first: list[str]) -> pd.DataFrame:
    """Paper's segmenters in the paper's order, then this run's; structural before PET."""
    names = [*first, *[s for s in table["segmenter"].unique() if s not in first]]
    place = table["segmenter"].map({s: i for i, s in enumerate(names)})
    pet = table["modality"].eq("PET")
    order = pd.DataFrame({"a": place, "b": table["session"], "c": pet})
    return table.loc[order.sort_values(["a", "b", "c"], kind="stable").index].reset_index(drop=True)


def _printed_rows(printed: pd.DataFrame) -> pd.DataFrame:
    """One row per segmenter, session and modality of UMD's table 3."""
    values = printed[printed["metric"].eq("dice")].copy()
    # SAT's numbers are printed as percentages inside a column of fractions.
    values["value"] = np.where(values["value"] > 1, values["value"] / 100, values["value"])
    reported = values[values["cohort"].eq("reported")].set_index(["segmenter", "modality"])
    rows = []
    settings = printed[printed["column"].eq("Setting")].set_index("segmenter")["printed"]
    for _, row in values[values["cohort"].ne("reported")].iterrows():
        key = (row["segmenter"], row["modality"])
        rows.append(
            {
                "segmenter": row["segmenter"],
                "title": row["model"],
                "session": row["session"],
                "setting": settings.get(row["segmenter"], ""),
                "modality": row["modality"],
                "reported": float(reported["value"].get(key, np.nan)),
                "reported_text": str(reported["raw"].get(key, "-")),
                "printed": row["value"],
            }
        )
    return pd.DataFrame(rows)


def _with_reasons(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Add why a number is missing."""
    reasons = scores[["segmenter", "reason"]].dropna().drop_duplicates("segmenter")
    reasons = reasons.set_index("segmenter")["reason"]
    known = scores[["segmenter", "status"]].drop_duplicates()
    gone = known["status"].eq("unavailable").groupby(known["segmenter"]).all()
    native_names = set(_native(scores[["segmenter", "prompt", "step", "status"]])["segmenter"].unique())
    table = table.copy()
    table["why_reported"] = [_why_reported(row) for _, row in table.iterrows()]
    table["why_harness"] = np.where(
        table["harness"].isna(), "the reported test data are not part of this run", ""
    )
    table["why_common"] = [_why_measured(row, "common", gone, reasons) for _, row in table.iterrows()]
    table["why_native"] = [
        (
            "its own protocol was not run"
            if native_protocols(row["segmenter"])
            else "its authors publish no rule for a click"
        )
        if row["segmenter"] in gone.index
        and not gone[row["segmenter"]]
        and row["segmenter"] not in native_names
        else _why_measured(row, "native", gone, reasons)
        for _, row in table.iterrows()
    ]
    for name, (first, second) in _GAPS.items():
        why = table[f"why_{first}"].where(table[f"why_{first}"].ne(""), table[f"why_{second}"])
        table[f"why_{name}"] = why.where(table[name].isna(), "")
    return table


def _why_reported(row: pd.Series) -> str:
    """Why there is no reported number."""
    if np.isfinite(row["reported"]):
        return ""
    if not isinstance(row.get("reported_text"), str):
        return "not in the paper's table"
    reasons = {"/": f"its test data hold no {MODALITIES[row['modality']].title}", "-": "not reported"}
    return reasons.get(row["reported_text"], "not reported")


def _why_measured(row: pd.Series, column: str, gone: pd.Series, reasons: pd.Series) -> str:
    """Why there is no measured number."""
    if np.isfinite(row[column]):
        return ""
    if row["segmenter"] not in gone.index:
        return "not part of this run"
    if gone[row["segmenter"]]:
        return "unavailable: " + (str(reasons[row["segmenter"]]) or "no reason given")
    return "takes no click" if column == "common" else "no pair was scored"
