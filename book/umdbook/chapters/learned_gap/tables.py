"""Tables and sentences on trained networks: the 3 × 2 design, its contrasts, domains, new targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umdbook.names import title
from umdlib.labels import session
from umdlib.scores.empty_rules import higher_is_better, is_directed
from umdlib.statistics.domain_shift import PARTS, STILL
from umdlib.statistics.factorial import TRAINED_ON
from umdlib.statistics.unseen_structures import GROUPS
from umdlib.statistics.verdicts import FLOOR
from umdlib.tables.markdown import gap_text, number, p_text, share_text
from umdlib.tables.modality_table import metric_title, session_title
from umdlib.training.domains import DOMAINS

NO_DOMAINS = (
    "This run holds no scores of shifted cohorts: they are computed where the segmenters of the run "
    "include the three networks."
)
TITLES = {name: d.title for name, d in DOMAINS.items()}
WORDS = {name: d.words for name, d in DOMAINS.items()}
ABSENT = (
    "This run's score table holds none of the three networks, so there is nothing to show here. "
    "They are segmenters like any other: name `clicknet_structural`, `clicknet_pet` and "
    "`clicknet_both` among the segmenters of the run."
)


def design_layout(table: pd.DataFrame) -> pd.DataFrame:
    """The 3 × 2 table of every session: rows are training runs, columns what they were tested on."""
    rows = []
    for name, part in table.groupby("session", sort=False):
        structural = session(name).structural
        for trained_on, cells in part.groupby("trained_on", sort=False):
            at = cells.set_index("side")
            row = {"Session": session_title(name), "Trained on": TRAINED_ON[trained_on]}
            for side, image in (("structural", "the structural image"), ("pet", "PET")):
                row[f"Tested on {image}"] = _cell(at.loc[side]) if side in at.index else "–"
            row["n"] = str(int(cells["n_subjects"].max()))
            row["Trainings"] = str(int(cells["n_seeds"].max()))
            row["Structural"] = structural
            rows.append(row)
    columns = ["Session", "Trained on", "Tested on the structural image", "Tested on PET", "n", "Trainings"]
    return pd.DataFrame(rows, columns=columns)


def contrast_layout(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Contrasts with interval and p-value, in words."""
    return pd.DataFrame(
        {
            "Session": [session_title(s) for s in contrasts["session"]],
            "Contrast": contrasts["contrast"],
            "Means": contrasts["words"],
            f"Difference in {_metric(contrasts)}": _changes(contrasts),
            "p": [p_text(p) for p in contrasts["p_value"]],
            "n": [str(n) for n in contrasts["n_subjects"]],
        }
    )


def seed_layout(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Contrasts of every training seed side by side, in sessions that have several.

    `contrasts`: from `umdlib.statistics.factorial.contrasts_by_training_seed`.
    """
    table = _side_by_side(contrasts, "training_seed")
    return table.rename(columns={n: f"Training seed {n}" for n in contrasts["training_seed"].unique()})


def both_layout(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Contrasts with intervals over subjects and training seeds.

    `contrasts`: from `umdlib.statistics.factorial.contrasts_over_seeds`.
    """
    return pd.DataFrame(
        {
            "Session": [session_title(s) for s in contrasts["session"]],
            "Contrast": contrasts["contrast"],
            f"Difference in {_metric(contrasts)}": _changes(contrasts),
            "degrees of freedom": [number(v, 1) for v in contrasts["freedom"]],
            "subjects": [str(n) for n in contrasts["n_subjects"]],
            "trainings": [str(n) for n in contrasts["n_seeds"]],
        }
    )


def architecture_layout(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Contrasts of every family of networks side by side, in sessions that have several.

    `contrasts`: from `umdbook.chapters.learned_gap.runs.by_family`.
    """
    return _side_by_side(contrasts, "network")


def architecture_words(contrasts: pd.DataFrame) -> str:
    """Whether families of networks agree on the interaction of training and test modality.

    `contrasts`: from `umdbook.chapters.learned_gap.runs.by_family`.
    """
    sentences = []
    rows = contrasts[contrasts["contrast"].eq("interaction")]
    for name, part in rows.groupby("session", sort=False):
        if len(part) < 2:
            continue
        each = " and ".join(f"{_change(r)} with {r['network']}" for _, r in part.iterrows())
        clear = (part["ci_low"].gt(0) | part["ci_high"].lt(0)).all()
        if not np.isfinite(part[["ci_low", "ci_high"]].to_numpy(float)).all():
            verdict = "too few subjects for an interval"
        elif clear and (part["estimate"].gt(0).all() or part["estimate"].lt(0).all()):
            verdict = "in both the gap depends on the training, in the same direction"
        elif clear:
            verdict = "in both the gap depends on the training, in opposite directions"
        else:
            verdict = "an interval that holds 0 decides nothing"
        sentences.append(f"**{session_title(name)}**: the interaction is {each}: {verdict}.")
    return "\n\n".join(sentences)


def _side_by_side(contrasts: pd.DataFrame, by: str) -> pd.DataFrame:
    """Contrasts with their intervals, a column for each value of `by`."""
    counts = contrasts.groupby("session")[by].nunique()
    rows = contrasts[contrasts["session"].isin(counts.index[counts.gt(1)])]
    wide = rows.assign(cell=_changes(rows)).pivot_table(
        index=["session", "contrast"], columns=by, values="cell", aggfunc="first", sort=False
    )
    table = pd.DataFrame(
        {
            "Session": [session_title(s) for s in wide.index.get_level_values("session")],
            "Contrast": wide.index.get_level_values("contrast"),
        }
    )
    for value in wide.columns:
        table[value] = wide[value].fillna("–").to_numpy()
    return table


def answer(contrasts: pd.DataFrame, shares: pd.DataFrame) -> str:
    """Whether the gap is learned, session by session, in a sentence that the numbers decide."""
    sentences = []
    for name, part in contrasts.groupby("session", sort=False):
        at = part.set_index("contrast")
        if not {"gap", "modality effect", "transfer effect", "interaction", "reverse gap"} <= set(at.index):
            sentences.append(f"**{session_title(name)}**: not all of the three networks were run.")
            continue
        gap, modality, transfer = (at.loc[n] for n in ("gap", "modality effect", "transfer effect"))
        text = (
            f"**{session_title(name)}**: the network that was trained on structural images changes its "
            f"{_metric(contrasts)} by {_change(gap)} from the structural image to PET. {_change(modality)} are left "
            f"when each image is given to the network that was trained on it (modality effect); "
            f"{_change(transfer)} are the cost of not having been trained on PET (transfer "
            f"effect). "
        )
        share = shares[shares["session"].eq(name)]
        if len(share) and np.isfinite(share["estimate"].iloc[0]):
            row = share.iloc[0]
            text += (
                f"So {100 * row['estimate']:.0f} % of the gap goes with the training "
                f"(95 % interval over subjects {100 * row['ci_low']:.0f} to {100 * row['ci_high']:.0f} %). "
            )
        elif len(share):
            text += share["note"].iloc[0].capitalize() + ". "
        cross = at.loc["interaction"]
        text += f"The interaction of training and test modality is {_change(cross)}: "
        sentences.append(text + _verdict(cross, gap, at.loc["reverse gap"]))
    return "\n\n".join(sentences) or ABSENT


def share_words(shares: Mapping[str, pd.DataFrame]) -> str:
    """How much of the gap goes with the training, by the way that steps were shared out."""
    sentences = {}
    for shared_out, rows in shares.items():
        for row in rows[np.isfinite(rows["estimate"])].itertuples():
            share = share_text(row.estimate, row.ci_low, row.ci_high)
            sentences.setdefault(row.session, []).append(f"{share} with {shared_out}")
    lines = [
        f"- {session_title(name)}: {', '.join(parts)}" for name, parts in sentences.items() if len(parts) > 1
    ]
    if not lines:
        return ""
    return (
        "Share of the gap that goes with the training:\n\n"
        + "\n".join(lines)
        + "\n\nNeither way is neutral: at equal steps a network of one kind of image sees that kind more often, at "
        "equal exposure it takes fewer steps in all. A share of one way alone is not the share that is learned."
    )


def specialist_words(gaps: pd.DataFrame) -> str:
    """Say what networks lose on PET that were trained on PET, for as many structures by name.

    `gaps`: from `umdlib.statistics.reference_gap.supervised_gap`.
    """
    if gaps.empty:
        return "This run holds no specialists, which would say what networks lose that were trained on PET for long."
    gaps = gaps[~gaps["at_floor"].astype(bool)]
    if gaps.empty:
        return f"The gap of every specialist of this run is {FLOOR}: both scores are at the floor."
    lower, upper = gaps["estimate"].min(), gaps["estimate"].max()
    below = int(gaps["ci_high"].lt(0).sum())
    names = ", ".join(dict.fromkeys(title(s) for s in gaps["segmenter"]))
    return (
        f"The specialists of this run ({names}), each trained on the image that it is tested on, change by "
        f"{number(lower, sign=True)} to {number(upper, sign=True)} from the structural image to PET, and "
        f"{int(gaps['estimate'].lt(0).sum())} of {len(gaps)} lose ({below} with an interval below 0, each alone). "
        + (
            "Such a loss is not due to training on another kind of image: it may lie in the image, in a reference "
            "drawn on the other one, or in a training that was short."
            if below
            else "None of these losses is certain."
        )
    )


def _verdict(cross: pd.Series, gap: pd.Series, reverse: pd.Series) -> str:
    """What an interaction says of a gap and of the gap of the network trained on PET."""
    if cross["at_floor"]:
        return f"{FLOOR}, all scores are at the floor."
    if not np.isfinite(cross["ci_low"]):
        return "one subject, so no interval."
    if cross["ci_low"] <= 0 <= cross["ci_high"]:
        return "its interval holds 0."
    opposite = not (gap["at_floor"] or reverse["at_floor"]) and (
        (gap["ci_high"] < 0 < reverse["ci_low"]) or (reverse["ci_high"] < 0 < gap["ci_low"])
    )
    if opposite:
        return "the training decides which image is the hard one."
    return "the size of the gap depends on the training."


def domain_layout(changes: pd.DataFrame, titles: dict[str, str], words: dict[str, str]) -> pd.DataFrame:
    """Mean DSC per domain and training on each image, and the change against the training's domain."""
    rows = []
    for domain in (d for d in titles if d in set(changes["domain"])):
        at = changes[changes["domain"].eq(domain)].set_index(["trained_on", "modality"])
        for n, trained_on in enumerate(d for d in TRAINED_ON if d in at.index.get_level_values("trained_on")):
            row = {"Domain": titles[domain], "Differs in": words[domain]}
            row = row if n == 0 else dict.fromkeys(row, "")
            row["Trained on"] = TRAINED_ON[trained_on]
            for modality in dict.fromkeys(changes["modality"]):
                if (trained_on, modality) not in at.index:
                    row |= {f"{modality}: {_metric(changes)}": "–", f"{modality}: change": "–"}
                    continue
                here = at.loc[(trained_on, modality)]
                row[f"{modality}: {_metric(changes)}"] = number(here["score"])
                row[f"{modality}: change"] = (
                    gap_text(here["change"], here["ci_low"], here["ci_high"], here["at_floor"])
                    if np.isfinite(here["change"])
                    else "–"
                )
            row["n"] = str(int(at["n_subjects"].max()))
            rows.append(row)
    return pd.DataFrame(rows)


def withheld_layout(costs: pd.DataFrame) -> pd.DataFrame:
    """What withholding structures from a training changed, by session and group of structures.

    `costs`: from `umdlib.statistics.unseen_structures.cost_of_withholding`.
    """
    rows = costs[costs["group"].ne(GROUPS[-1])]
    return pd.DataFrame(
        {
            "Session": [session_title(s) for s in rows["session"]],
            "Structures": [f"{r.n_structures} {r.group}" for r in rows.itertuples()],
            "Trained on all": [number(v) for v in rows["full"]],
            "Trained without the withheld": [number(v) for v in rows["fewer"]],
            "Difference": _changes(rows),
            "n": [str(n) for n in rows["n_subjects"]],
        }
    )


def withheld_words(costs: pd.DataFrame) -> str:
    """Whether a network finds what it was never trained to find, session by session."""
    sentences, metric = [], costs.attrs.get("metric", "dice")
    for name, part in costs.groupby("session", sort=False):
        hidden, shown, extra = (part.set_index("group").loc[g] for g in GROUPS)
        sentences.append(
            f"**{session_title(name)}**: on structures that its training withheld the network "
            f"reaches a mean {_metric(costs)} of {number(hidden['fewer'])} on PET, where the one that was trained "
            f"on them reaches {number(hidden['full'])}: {_change(hidden)}. On the structures that both "
            f"were trained on the change is {_change(shown)}. The difference of the two is "
            f"{_change(extra)}{_withheld_verdict(extra, metric)}"
        )
    return "\n\n".join(sentences)


def _withheld_verdict(extra: pd.Series, metric: str) -> str:
    """What the interval of the difference between the two groups says."""
    low, high = extra["ci_low"], extra["ci_high"]
    if not np.isfinite([low, high]).all():
        return " (too few subjects for an interval)."
    if low <= 0 <= high:
        return ", an interval that holds 0."
    if is_directed(metric) and (high < 0) == higher_is_better(metric):
        return ": what a network was trained to find matters."
    if is_directed(metric):
        return ": the withheld structures do not pay for it here."
    return ", an interval without 0."


def _metric(table: pd.DataFrame) -> str:
    """Title of the metric that a table holds."""
    return metric_title(table.attrs.get("metric", "dice"))


def _cell(row: pd.Series) -> str:
    """Mean with its interval."""
    ends = f"{number(row['ci_low'])}, {number(row['ci_high'])}"
    return f"{number(row['estimate'])} [{ends}]"


def _changes(rows: pd.DataFrame) -> list[str]:
    return [gap_text(r.estimate, r.ci_low, r.ci_high, r.at_floor) for r in rows.itertuples()]


def _change(row: pd.Series) -> str:
    return gap_text(row["estimate"], row["ci_low"], row["ci_high"], row["at_floor"])


def domain_sentence(changes: pd.DataFrame) -> str:
    """The lowest change and the highest outside the domain, with their intervals.

    `changes`: from `domain_changes`.
    """
    if changes.empty:
        return NO_DOMAINS
    home = np.array([_home(r.trained_on, r.modality) for r in changes.itertuples()])
    known = changes["change"].notna() & ~changes["at_floor"].astype(bool)
    seen = changes[known & home & changes["domain"].ne(STILL)]
    if seen.empty:
        return "No network was tested both inside and outside its domain."
    metric = changes.attrs.get("metric", "dice")
    lowest, highest = seen.loc[seen["change"].idxmin()], seen.loc[seen["change"].idxmax()]
    ends = [(lowest, "at its lowest"), (highest, "at its highest")]
    if is_directed(metric):
        words = ("at worst", "at best") if higher_is_better(metric) else ("at best", "at worst")
        ends = sorted(zip((lowest, highest), words, strict=True), key=lambda end: end[1] != "at worst")
    ends_text = " and ".join(f"{_place(row)} {word}" for row, word in ends[: min(2, len(seen))])
    text = (
        f"On a modality that a network was trained on, leaving the training's own simulator changes "
        f"its mean {metric_title(metric)} by {ends_text} (the ends of {len(seen)} changes, n = "
        f"{int(seen['n_subjects'].min())} subjects; 95 % intervals of each alone, not corrected for "
        "their number)."
    )
    moved = (lowest["ci_high"] < 0) or (highest["ci_low"] > 0)
    return text + (" *Unseen subjects* and *unseen conditions* are two questions." if moved else "")


def parts_layout(parts: pd.DataFrame) -> pd.DataFrame:
    """Gap of each training and its two parts, one row per training.

    `parts`: from `umdlib.statistics.domain_shift.reference_parts`.
    """
    rows = []
    for trained_on, own in parts.groupby("trained_on", sort=False):
        at = own.set_index("part")
        row = {"Trained on": TRAINED_ON[trained_on]}
        row |= {words: _change(at.loc[part]) for part, words in PARTS.items()}
        rows.append(row | {"n": str(int(own["n_subjects"].max()))})
    return pd.DataFrame(rows)


def parts_words(parts: pd.DataFrame) -> str:
    """Say how much of the gap is the reference, for the network trained on PET: the modality effect's share."""
    own = parts[parts["trained_on"].eq("pet")].set_index("part")
    if own.empty:
        return NO_DOMAINS
    reference, image = own.loc["reference"], own.loc["image"]
    return (
        f"For the network that was trained on PET, references that were drawn on the structural image cost "
        f"{_change(reference)} on PET; with a reference of PET's own its score on PET minus that on CT is "
        f"{_change(image)} (n = {int(image['n_subjects'])} subjects, 95 % intervals where there are subjects enough). "
        "Both end in the modality effect above. The errors of a person who draws on one image rather than on the other "
        "are not in it."
    )


def _place(row: pd.Series) -> str:
    """A change with where it was seen."""
    value = gap_text(row["change"], row["ci_low"], row["ci_high"], row["at_floor"])
    return (
        f"{value} ({DOMAINS[row['domain']].title.lower()}, trained on {TRAINED_ON[row['trained_on']]}, tested on "
        f"{row['modality']})"
    )


def _home(trained_on: str, modality: str) -> bool:
    """Whether a modality was seen in a training."""
    return trained_on == "both" or (trained_on == "pet") == (modality == "PET")
