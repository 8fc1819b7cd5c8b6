"""Train a promptable network: cohort, training, card."""

from __future__ import annotations

from dataclasses import replace

from umdlib import segmenters, tables
from umdlib.cohort.manifest import Cohort, read_cohort
from umdlib.errors import NothingToShow
from umdlib.figures import training_curves
from umdlib.labels import SESSIONS
from umdlib.training.sessions import settings_of, train_cohort, use_threads
from umdlib.weights import card
from umdlib.weights.card import check, cost_table, read_log

__all__ = ["check", "read_log", "settings_of", "train_cohort", "training_curves", "use_threads"]


def training_cohort(manifest: str, folder: str, smoke: bool) -> tuple[Cohort, str]:
    """The cohort and the folder of a training; a smoke test takes four pairs, in a folder of their own."""
    cohort = read_cohort(manifest)
    if not cohort.pairs():
        raise NothingToShow("No subject of this cohort has both images, and the network learns from pairs.")
    if not smoke:
        return cohort, folder
    few = replace(cohort, cases=tuple(case for pair in cohort.pairs()[:4] for case in pair))
    return few, f"{folder}/{few.hash()[:12]}"  # a smoke test of other images is another training


_SHOWN = (
    "clicknet_pet",
    "clicknet_pet_visible",
    "clicknet_balanced_pet",
    "clicknet_pair",
    "sam_med3d_small_pet",
)


def commands() -> dict[str, str]:
    """The commands that make a training cohort and a network of each kind that is released, by their cards."""
    found = {}
    for name in _SHOWN:
        if name not in card.names():
            continue
        made = card.read(name)
        data, chosen = made.data, made.settings
        each = data["subjects"] // len(SESSIONS)
        folder = f"training_{each}"
        words = [f"umdlib train promptable {folder}/manifest.tsv --out networks --name {name}"]
        words += [f"--network {chosen['network']}"] if chosen.get("network", "clicknet") != "clicknet" else []
        words += [f"--trained-on {chosen['trained_on']}", f"--steps {chosen['steps']}"]
        words += [f"--precision {chosen['precision']}"] if chosen["precision"] != "float32" else []
        words += [f"--without {','.join(data['withheld'])}"] if data.get("withheld") else []
        words += ["--balanced"] if chosen.get("balanced") else []
        words += [f"--start {chosen['start']}"] if chosen.get("start") else []
        cohort = f"umdlib synthesise {folder} --subjects {each} --seed {data['seed']}"
        found[made.title] = f"{cohort}\n{words[0]} \\\n  {' '.join(words[1:])}"
    return found


def commands_markdown() -> str:
    """`commands`, one block for each kind of network."""
    return "\n\n".join(f"{title}:\n\n```bash\n{lines}\n```" for title, lines in commands().items())


def cost_markdown(names: list[str], folder: str) -> str:
    """What training runs cost, as a table."""
    return tables.markdown_table(tables.cost_layout(cost_table(names, folder=folder)))


def record_of(network: str, folder: str, name: str) -> tuple[str, str, str]:
    """Name and title of a trained network as a segmenter, and why it cannot run here, if so."""
    record = segmenters.get(f"{network}:{folder}/{name}.json")
    return record.name, record.title, segmenters.availability(record).reason
