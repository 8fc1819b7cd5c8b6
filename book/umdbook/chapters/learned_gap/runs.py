"""What the chapter on the learned gap shows of released networks and of the runs beside the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from umdlib import segmenters
from umdlib.scores import table as score_tables
from umdlib.statistics.factorial import TRAINED_ON, contrast_table, parts_of
from umdlib.tables.markdown import number
from umdlib.tables.modality_table import session_title
from umdlib.training.sessions import NETWORKS
from umdlib.weights import card

FAMILY = "clicknet"
# ClickNets that saw each kind of image for as many steps.
BALANCED = "clicknet_balanced"
# Networks with three training runs each: name -> name shown to a reader.
ARCHITECTURES = NETWORKS
# The two ways of sharing out the steps of a training: family -> name shown to a reader.
EXPOSURES = {FAMILY: "equal steps", BALANCED: "equal exposure"}
# The same training as that of FULL, with structures withheld (its card says which).
FULL, FEWER = "clicknet_pet", "clicknet_pet_visible"
NO_WEIGHTS = "This installation holds no released network of this family."
NO_CURVE = (
    "This run holds no scores of one to ten clicks: they are computed where the segmenters of the "
    "run include `clicknet_both`."
)
NO_FEWER = (
    "This run holds no scores of a network whose training withheld structures. `umdlib train "
    "promptable --without A,B` makes one."
)
ONE_GROUP = (
    "The structures of this cohort were all withheld from that training, or none was: there are no two "
    "groups to compare."
)
NO_BALANCED = (
    "This run holds no scores of networks of equal exposure: the segmenters `clicknet_balanced_structural`, "
    "`clicknet_balanced_pet` and `clicknet_balanced_both`."
)
NO_SMALL = (
    "This run holds no scores of these networks: the segmenters `sam_med3d_small_structural`, "
    "`sam_med3d_small_pet` and `sam_med3d_small_both`."
)
ONE_ARCHITECTURE = (
    "This run holds scores of fewer than two architectures, so there is nothing to compare: `clicknet_*` is "
    "one, `sam_med3d_small_*` the other."
)
ONE_SEED = (
    "This run holds networks of one training seed per modality: nothing to compare. `umdlib train "
    "promptable --seed N` makes others, and `clicknet:FOLDER/NAME.json` is such a network's name "
    "(`sam_med3d_small:FOLDER/NAME.json` of the other architecture)."
)
# Systems that take no clicks, in the order of SegAnyPET's figure 2.
SPECIALISTS = (
    "nnunet",
    "stunet",
    "swinunetr",
    "segresnet",
    "nnunet_small",
    "stunet_small",
    "swinunetr_small",
    "segresnet_small",
)
CLICKS = (1, 3, 5)


def released(family: str = FAMILY) -> list[str]:
    """Released networks of a family, first seeds first.

    Examples
    --------
    >>> all(parts_of(name) for name in released())
    True
    """
    order = {trained_on: n for n, trained_on in enumerate(TRAINED_ON)}
    found = [(parts_of(n, family=family), n) for n in card.names()]
    return [n for p, n in sorted((f for f in found if f[0]), key=lambda f: (f[0][1], order[f[0][0]]))]


def costs() -> pd.DataFrame:
    """What each released network was trained on and what that cost."""
    further = [FEWER] if FEWER in card.names() else []
    names = {family: released(family) for family in ARCHITECTURES}
    names[FAMILY] += [*further, *released(BALANCED)]
    table = card.cost_table([n for family in names.values() for n in family])
    return table.assign(title=table["title"].str.replace("on structure", "on structural images", regex=False))


def exposure() -> pd.DataFrame:
    """How many training steps each released ClickNet spent on each kind of image.

    An examination is drawn, then one of the images that the training sees: CT and MR share what
    structure gets, and PET gets half where both are seen. A balanced training draws the kind of image.
    """
    rows = []
    for family, name in ((f, n) for f in EXPOSURES for n in released(f)):
        made = card.read(name)
        steps, kinds = made.settings["steps"], made.data["modalities"]
        structural = [m for m in kinds if m != "PET"]
        left = 0.5 if structural and "PET" in kinds else 1.0
        share = {m: left / len(structural) for m in structural}
        share |= {"PET": 1 - sum(share.values())} if "PET" in kinds else {}
        if made.settings.get("balanced"):
            share = dict.fromkeys(kinds, 1 / len(kinds))
        trained_on, seed = parts_of(name, family=family)
        row = {"Training": EXPOSURES[family], "Trained on": TRAINED_ON[trained_on], "Seed": seed}
        rows.append(row | {"Steps": steps} | {m: round(steps * share.get(m, 0)) for m in ("CT", "MR", "PET")})
    columns = ["Training", "Trained on", "Seed", "Steps", "CT", "MR", "PET"]
    return pd.DataFrame(rows, columns=columns)


def sizes() -> dict[str, float]:
    """How large the networks with clicks are and what their trainings took, by their cards, for the text."""
    made = [card.read(n) for family in (*ARCHITECTURES, BALANCED) for n in released(family)]
    clicknets = [card.read(n) for n in released()]
    nan = float("nan")
    return {
        "network_mm": max((c.architecture["spacing_mm"] for c in clicknets), default=nan),
        "most_clicks": max((c.settings["clicks"] for c in clicknets), default=nan),
        "most_millions": max((c.parameters / 1e6 for c in made), default=nan),
        "most_minutes": max((c.cost["cpu_seconds"] / 60 for c in made), default=nan),
    }


def millions(family: str) -> float:
    """Parameters of a family's released networks, in millions; NaN where none is released."""
    return max((card.read(name).parameters / 1e6 for name in released(family)), default=float("nan"))


def exposure_words(exposures: pd.DataFrame) -> str:
    """Say for how many steps the networks saw a kind of image, `exposures` being of `exposure`."""
    sentences = []
    for shared_out, rows in exposures.groupby("Training", sort=False):
        seen = rows[["CT", "MR", "PET"]].where(rows[["CT", "MR", "PET"]] > 0)
        low, high = int(seen.min().min()), int(seen.max().max())
        if low == high:
            sentences.append(
                f"With {shared_out} every network saw each of its kinds of image for {low:,} steps."
            )
        else:
            sentences.append(
                f"With {shared_out} a network saw a kind of image for {low:,} to {high:,} steps: the one trained on "
                "PET spent all of them on PET, the one trained on structural images shared them between CT and MR. "
                "So part of a contrast between these networks may be exposure."
            )
    return " ".join(sentences)


def balanced_words() -> str:
    """In what else the trainings of equal exposure differ from those of equal steps, by their cards."""
    first = {shared_out: card.read(released(family)[0]) for family, shared_out in EXPOSURES.items()}
    each = [
        f"{c.data['subjects']} bodies in {c.settings['precision']} with {shared_out}"
        for shared_out, c in first.items()
    ]
    words = f"The trainings differ in more than the steps: {' and '.join(each)}, so the columns are not one "
    words += "experiment. "
    each_way = [
        f"{len({parts_of(n, family=f)[1] for n in released(f)})} with {s}" for f, s in EXPOSURES.items()
    ]
    return words + (
        f"Training seeds that were run: {' and '.join(each_way)}. The intervals of this table hold other subjects of "
        "one training each, and not what another training would change."
    )


def logs(seed: int = 0, family: str = FAMILY) -> dict[str, pd.DataFrame]:
    """Loss curves of one seed of a family, by training."""
    parts = {n: parts_of(n, family=family) for n in released(family)}
    return {p[0]: card.read_log(n) for n, p in parts.items() if p[1] == seed}


def read(path: str | Path) -> pd.DataFrame:
    """A score table beside the run's; an empty one where the file does not exist."""
    if not Path(path).is_file():
        columns = [*score_tables.KEYS, "dice", "status", "reason", "seconds"]
        return pd.DataFrame(columns=columns)
    return score_tables.read_scores(path)


def with_further(table: pd.DataFrame, further: pd.DataFrame, family: str = FAMILY) -> pd.DataFrame:
    """A family's rows of a run's table and of a table of further training runs, on the same subjects.

    A training that both tables hold is taken from the run's.
    """
    both = beside(table, further)
    return both[both["segmenter"].isin([s for s in both["segmenter"].unique() if parts_of(s, family=family)])]


def by_family(trainings: Mapping[str, pd.DataFrame], titles: Mapping[str, str], **options) -> pd.DataFrame:
    """`umdlib.statistics.factorial.contrast_table` of each family of networks, with its title in `network`."""
    tables = [
        contrast_table(rows, **options).assign(network=titles[family]) for family, rows in trainings.items()
    ]
    metrics = {t.attrs.get("metric", "dice") for t in tables}
    table = pd.concat(tables, ignore_index=True)
    table.attrs["metric"] = metrics.pop()
    return table


def beside(table: pd.DataFrame, further: pd.DataFrame) -> pd.DataFrame:
    """A run's table and a table of further networks on its subjects; the run's where both have one."""
    new = further[~further["segmenter"].isin(table["segmenter"].unique())]
    new = new[new["subject"].isin(table["subject"].unique())]
    return pd.concat([table, new], ignore_index=True) if len(new) else table


def withheld_structures() -> list[str]:
    """Structures that were never prompted in the training of `FEWER`; none where it is not released."""
    return list(card.read(FEWER).data["withheld"]) if FEWER in card.names() else []


def seed_sentence(contrasts: pd.DataFrame) -> str:
    """How far training runs of several seeds differ, beside the largest of the effects.

    `contrasts`: from `umdlib.statistics.factorial.contrasts_by_training_seed`.
    """
    spread = contrasts.groupby(["session", "contrast"], sort=False)["estimate"].agg(["min", "max", "nunique"])
    spread = spread[spread["nunique"].gt(1)]
    if spread.empty:
        return ""
    width = spread["max"] - spread["min"]
    session, contrast = width.idxmax()
    gaps = [
        f"{number(row['max'], sign=True)} to {number(row['min'], sign=True)} in {session_title(name)}"
        for (name, of), row in spread.iterrows()
        if of == "gap"
    ]
    return (
        f"Between training seeds the {contrast} varies most, by {number(width.max())} in {session_title(session)}"
        + (f"; the gap itself is {' and '.join(gaps)}" if gaps else "")
        + "."
    )


def titles(table: pd.DataFrame) -> dict[str, str]:
    """Title of every system of a score table that is known here."""
    known = set(segmenters.names())
    return {n: segmenters.get(n).title for n in table["segmenter"].unique() if n in known}


def compared(table: pd.DataFrame, titles: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Systems of a score table for the form of SegAnyPET's figure 2: (label, segmenter, step).

    Specialists first, then every system that takes clicks, after 1, 3 and 5 of them where the run
    goes that far, and after its last click otherwise.
    """
    here = table.loc[table["status"].ne("unavailable"), ["segmenter", "step"]].drop_duplicates()
    names = list(here["segmenter"].unique())
    order = [n for n in SPECIALISTS if n in names] + [n for n in names if n not in SPECIALISTS]
    systems = []
    for name in order:
        steps = set(here.loc[here["segmenter"].eq(name), "step"])
        if steps == {0}:
            systems.append((titles.get(name, name), name, 0))
            continue
        for clicks in CLICKS:
            if clicks - 1 in steps:
                word = "click" if clicks == 1 else "clicks"
                systems.append((f"{titles.get(name, name)}, {clicks} {word}", name, clicks - 1))
        if max(steps) < CLICKS[-1] - 1 and max(steps) + 1 not in CLICKS:
            label = f"{titles.get(name, name)}, {max(steps) + 1} clicks"
            systems.append((label, name, max(steps)))
    return systems
