"""Tables, figure and sentences of the chapter on what the second image adds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from umdbook import names
from umdlib.figures.style import axes, nothing, rows_down
from umdlib.labels import MODALITIES
from umdlib.scores import table as score_tables
from umdlib.statistics.failures import DELINEATED
from umdlib.statistics.second_image import ALL, BOTH, OF_ITS_KIND, second_image_table, with_and_without
from umdlib.statistics.verdicts import FLOOR, at_floor
from umdlib.tables.markdown import count, gap_texts, interval, intervals, number, p_text
from umdlib.tables.modality_table import session_title, structure_title
from umdlib.weights import card

__all__ = ["second_image_table"]

NOTHING = (
    "This run holds no scores with both images and with one: they need examinations with a structural image and PET, "
    "and `umdlib score MANIFEST --segmenters clicknet_pair,clicknet_pair_alone --prompts centre:1:0 --out RUN`."
)
NO_KIND = (
    "This run holds no scores of the networks of one kind of image beside those with both: they need "
    f"`{'`, `'.join(sorted(set(OF_ITS_KIND.values())))}` among the segmenters."
)
NO_LESIONS = "This run holds no subject whose lesions are known one by one."


def read(path: str, scores: str) -> pd.DataFrame:
    """Score rows with both images beside those of the run; the run's where there are no others."""
    table = score_tables.read_scores(scores)
    if not Path(path).is_file():
        return table
    more = score_tables.read_scores(path)
    more = more[~more["segmenter"].isin(table["segmenter"].unique())]
    return pd.concat([table, more], ignore_index=True)


def network_words() -> str:
    """How the network of both images was trained, by its card, and those that it is compared with."""
    made = card.read(BOTH)
    start = card.read(made.settings["start"])
    others = {name: card.read(name).settings["steps"] for name in sorted(set(OF_ITS_KIND.values()))}
    listed = " and ".join(f"{names.title(name)} for {steps:,} steps" for name, steps in others.items())
    return (
        f"The network (`{BOTH}`) sees both images at once, as channels. It began with the weights of "
        f"{names.title(start.name)} ({start.settings['steps']:,} steps on CT, MR and PET in turn) and was trained for "
        f"{made.settings['steps']:,} steps more ({made.cost['cpu_seconds'] / 60:.0f} CPU minutes) on "
        f"{made.data['subjects']} synthetic subjects: in half of the steps it saw both images, in a "
        "quarter each of them beside a blank one. So it knows either alone too. It is compared with networks "
        f"of one kind of image: {listed}."
    )


def title(row: pd.Series) -> str:
    """What was added to what.

    Examples
    --------
    >>> title(pd.Series({"added": "PET", "modality": "CT"}))
    'PET added to CT'
    """
    return f"{row['added']} added to {row['modality']}"


def layout(table: pd.DataFrame) -> pd.DataFrame:
    """With one image and with both, structures down; what both leave at the floor is not identifiable."""
    floors = table.assign(at_floor=at_floor(table, sides=("alone", "both")))
    return pd.DataFrame(
        {
            "session": table["session"].map(session_title),
            "image": [title(r) for _, r in table.iterrows()],
            "structure": table["structure"].map(structure_title),
            "one image": [number(v) for v in table["alone"]],
            "both": [number(v) for v in table["both"]],
            "added [95 %]": gap_texts(floors),
            "p": table["p_value"].map(p_text),
            "n": table["n_subjects"],
        }
    )


def words(table: pd.DataFrame) -> str:
    """What the second image added, in a sentence for each segmented image."""
    if table.empty:
        return NOTHING
    table = table[~at_floor(table, sides=("alone", "both"))]
    overall = table[table["structure"].eq(ALL)]
    lines = []
    for _, row in overall.iterrows():
        part = table[
            table["session"].eq(row["session"])
            & table["modality"].eq(row["modality"])
            & table["structure"].ne(ALL)
        ]
        if part.empty:
            continue
        most = part.loc[part["estimate"].idxmax()]
        sides = (part["estimate"].gt(0), part["ci_low"].gt(0), part["estimate"].lt(0), part["ci_high"].lt(0))
        better, shown, worse, lost = (int(side.sum()) for side in sides)
        lines.append(
            f"- {session_title(row['session'])}, {title(row)}: "
            f"{interval(row['estimate'], row['ci_low'], row['ci_high'])} DSC over "
            f"{count(row['n_subjects'], 'subject')}; higher in {better} of {len(part)} structures (with an interval "
            f"above 0 in {shown}), most in {structure_title(most['structure']).lower()} "
            f"({number(most['estimate'], sign=True)}); lower in {worse} ({lost} with an interval below 0)."
        )
    return "\n".join(lines) or f"What the second image adds is {FLOOR}: both scores are at the floor."


def of_its_kind(table: pd.DataFrame, **options) -> pd.DataFrame:
    """Both images against the network that was trained on images of that kind alone, all structures together."""
    added = second_image_table(table, alone=OF_ITS_KIND, **options)
    return added[added["structure"].eq(ALL)].reset_index(drop=True)


def kind_words(table: pd.DataFrame) -> str:
    """Both images against the network of one kind of image, in a sentence."""
    if table.empty:
        return NO_KIND
    below = table["ci_high"].lt(0)
    changes = zip(table.iterrows(), intervals(table, "estimate", "ci_low", "ci_high"), strict=True)
    listed = "; ".join(f"{session_title(r['session'])}, {title(r)}: {text}" for (_, r), text in changes)
    return (
        f"The network of both images, given both, scores lower than the network of one kind in {int(below.sum())} of "
        f"{len(table)} comparisons with an interval below 0, and higher in {int(table['ci_low'].gt(0).sum())} with one "
        f"above 0 ({listed}). The difference holds the training as well as the image."
    )


def lesions_of(path: str, *, metric: str, empty: str, **options) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the second image adds for lesions, over subjects; and every lesion with its score with one and with both."""
    if not Path(path).is_file():
        return pd.DataFrame(), pd.DataFrame()
    scores = score_tables.read_scores(path)
    added = second_image_table(scores, metric=metric, empty=empty, **options)
    return added[added["structure"].eq(ALL)], with_and_without(scores, metric=metric, empty=empty)


def lesion_layout(added: pd.DataFrame, each: pd.DataFrame) -> pd.DataFrame:
    """Mean over a subject's lesions with one image and with both, and how many lesions each delineates."""
    rows = layout(added).drop(columns=["structure"])
    parts = [
        each[each["session"].eq(r.session) & each["modality"].eq(r.modality)] for r in added.itertuples()
    ]
    rows["lesions"] = [len(part) for part in parts]
    for side, heading in (("alone", "delineated with one"), ("both", "delineated with both")):
        rows[heading] = [int(part[side].ge(DELINEATED).sum()) for part in parts]
    return rows


def lesion_words(added: pd.DataFrame, each: pd.DataFrame) -> str:
    """What the second image added for lesions, in a sentence for each segmented image."""
    if added.empty:
        return NO_LESIONS
    lines = []
    for row, listed in zip(added.itertuples(), lesion_layout(added, each).to_dict("records"), strict=True):
        found = listed["delineated with both"]
        few = "" if row.n_subjects > 1 else ": n is too small for an interval, and for an answer"
        lines.append(
            f"- {listed['image']}: {listed['added [95 %]']}, the difference in DSC of a subject's mean lesion, over "
            f"{count(row.n_subjects, 'subject')}{few}. Of {count(listed['lesions'], 'lesion')} "
            f"{found} {'is' if found == 1 else 'are'} delineated with both images and "
            f"{listed['delineated with one']} with one."
        )
    return "\n".join(lines)


def plot(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Difference between both images and one, structures down, one colour for each segmented image."""
    structures = list(dict.fromkeys(table["structure"]))
    ax = axes(ax, figsize=(6.0, 1.4 + 0.34 * max(len(structures), 2)))
    if table.empty:
        return nothing(ax)
    ax.axvline(0, color="#444444", lw=0.9)
    images = list(dict.fromkeys(table["modality"]))
    for n, modality in enumerate(images):
        part = table[table["modality"].eq(modality)]
        y = [structures.index(s) + (n - (len(images) - 1) / 2) * 0.3 for s in part["structure"]]
        colour = MODALITIES[modality].colour
        ax.hlines(y, part["ci_low"], part["ci_high"], color=colour, lw=1.6)
        marker = "D" if modality == "PET" else "o"
        ax.plot(part["estimate"], y, marker, color=colour, ms=5, label=title(part.iloc[0]))
    rows_down(ax, map(structure_title, structures))
    ax.set_xlabel("DSC with both images minus with one")
    below = -0.6 / ax.figure.get_figheight()  # each panel has its own: colours differ with the session
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=2)
    return ax
