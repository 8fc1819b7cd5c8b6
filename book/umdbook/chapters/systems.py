"""What the book says of each system: its card, its state on this machine, its parity."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pandas as pd

from umdbook import page
from umdbook.names import title
from umdlib import segmenters
from umdlib.cohort.manifest import read_cohort
from umdlib.errors import InputError
from umdlib.labels import ORGANS
from umdlib.scores.table import read_scores
from umdlib.segmenters.ceilings import ceiling_table
from umdlib.segmenters.contract import Segmenter, Weights
from umdlib.statistics import comparison
from umdlib.tables.markdown import count, gap_texts, markdown_table, numbered_table
from umdlib.tables.modality_table import session_title, structure_title
from umdlib.weights import reading as weights


def state_table(device: str = "cpu") -> pd.DataFrame:
    """One row per system: title, prompts, licence of the weights, whether it can run here."""
    rows = []
    for name in segmenters.names():
        record = segmenters.get(name)
        where = "in its own environment" if record.external else "in process"
        here = "ready" if segmenters.availability(record, device).ok else "unavailable"
        rows.append([f"{record.title} (`{name}`)", _kinds(record), where, here])
    return pd.DataFrame(rows, columns=["System", "Takes", "Runs", "Here"])


def card(name: str, device: str = "cpu") -> str:
    """A system's card in Markdown, folded: what it is, takes, was trained on, what is missing, what users report."""
    record = segmenters.get(name)
    state = segmenters.availability(record, device)
    facts = {
        "Missing here": "" if state.ok else state.reason,
        "Takes": _kinds(record),
        "Sees": f"both images, of {' and '.join(record.partner)}" if record.partner else "",
        "Computes on": record.grid,
        "Native protocol": record.native,
        "Trained on": record.trained_on,
        "Made for": ", ".join(record.modalities),
        "Users report": record.users,
        "Paper": record.paper,
        "Licence of the code": record.code_licence,
        "Weights": "; ".join(_weights(record)) or "none needed",
        "Deterministic": "yes" if record.deterministic else "no",
    }
    lines = [f"- **{key}**: {value}" for key, value in facts.items() if value]
    return page.fold(record.title, "\n".join([record.summary, "", *lines]))


def cards(device: str = "cpu") -> str:
    """All cards in one fold, in the order of the registry."""
    every = [card(name, device) for name in segmenters.names()]
    return f":::::{{dropdown}} The cards of all {len(every)} systems\n" + "\n\n".join(every) + "\n:::::"


def weights_table() -> pd.DataFrame:
    """Official weights: whose, how many files, under which licence, and whether a public hash is known."""
    rows = {}
    for name in segmenters.names():
        record = segmenters.get(name)
        for item in record.weights:
            if item.licence != "yours" and not item.package.startswith("umdlib"):
                kind = "published" if item.sha256 or item.md5 else item.hash_words
                key = (tuple(w.file for w in record.weights), item.licence, kind)
                owners, words = rows.setdefault(key, ([], {}))
                owners.append(record.title)
                words[item.file] = item.hash_words
    shown = []
    for (_, licence, _), (owners, words) in rows.items():
        (*one, last), each = set(words.values()), "published sha256 of each file"
        shown.append([", ".join(dict.fromkeys(owners)), len(words), licence, each if one else last])
    return pd.DataFrame(shown, columns=["System", "Files", "Licence", "Hash"])


def structures_table() -> pd.DataFrame:
    """Which of the benchmark's structures the systems answer that know a fixed list of names."""
    rows = []
    for name in segmenters.names():
        record = segmenters.get(name)
        if not record.structures or record.conditions:
            continue
        known = [s.name for s in ORGANS if s.name in record.structures]
        missing = [structure_title(s.name) for s in ORGANS if s.name not in record.structures]
        rest = [structure_title(s) for s in record.structures if s not in known]
        without = ", ".join(missing) if known else "all of them"
        rows.append([record.title, ", ".join(record.modalities), len(known), without, ", ".join(rest)])
    counted = f"Of {len(ORGANS)} structures"
    return pd.DataFrame(rows, columns=["System", "Trained on", counted, "Not", "Also"])


def parity() -> pd.DataFrame:
    """Each adapter against the official code, on one phantom: the package's own record.

    Columns: system, segmenters (names, by spaces), official code, commit, versions, network, grid
    (of the phantom), prompts, voxels, foreground, differing, tolerance (voxels), why, command.
    """
    path = resources.files("umdlib") / "segmenters" / "parity.tsv"
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file, sep="\t", keep_default_na=False)


def parity_summary() -> str:
    """A row per system: comparisons with its official code, how many agree in every voxel, the most that differ."""
    grouped = parity().groupby("system", sort=False)["differing"]
    shown = grouped.agg(["size", lambda n: int((n == 0).sum()), "max"]).reset_index()
    columns = ["System", "Comparisons", "Equal in every voxel", "Most voxels that differ"]
    return markdown_table(shown.set_axis(columns, axis=1))


def parity_markdown() -> str:
    """The record of parity, folded: differing voxels, their number per voxel in the mask, and the commands."""
    table = parity()
    shown = table[["system", "prompts", "grid"]].set_axis(["System", "Prompt", "Phantom"], axis=1)
    shown["In the mask"] = table["foreground"].map("{:,}".format)
    shown["Differing"] = table["differing"].map("{:,}".format)
    shown["Of the mask"] = table["per_foreground"].map("{:.2%}".format)
    sides = dict.fromkeys(shown.columns[3:], "right")
    every = page.fold("Every comparison", markdown_table(shown, align=sides))
    lines = []
    for name, rows in table.groupby("system", sort=False):
        first = rows.iloc[0]
        networks = "; ".join(dict.fromkeys(rows["network"]))
        lines.append(
            f"- **{name}**: {first['official code']}, {first['commit']}; {first['versions']}; "
            f"network: {networks}. `python {first['command']}`"
        )
    how = page.fold("Official code, versions, networks and commands", "\n".join(lines))
    return f"{every}\n\n{how}"


def _timed(path: str | Path, holds: str, written: Callable[[dict, pd.DataFrame], str], absent: str) -> str:
    """What a script in ``benchmarks/`` wrote, as a page shows it; the sentence `absent` where it did not run.

    `written`: from the record and its rows.
    InputError: the file holds something else.
    """
    path = Path(path)
    if not path.is_file():
        return absent
    try:
        record = json.loads(path.read_text("utf-8"))
        return written(record, pd.DataFrame(record["rows"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"File {path} holds no {holds}: {error}.") from None


_COSTS = {
    "unit": "Unit of work",
    "million parameters": "Parameters (million)",
    "CPU seconds": "CPU seconds",
    "peak MB": "Peak memory (MB)",
}
_GPU_COSTS = {
    "encoded": "Cubes or slices encoded",
    "first structure s": "First structure (s)",
    "further structure s": "Further structure (s)",
    "structures": "Structures",
    "encoder passes": "Encoder passes",
    "peak GPU MB": "Peak GPU memory (MB)",
}


def cost_markdown(path: str | Path) -> str:
    """CPU seconds and memory of full-size systems, from what ``benchmarks/systems.py`` wrote."""

    def written(_, table: pd.DataFrame) -> str:
        return markdown_table(_of_systems(table, _COSTS), {"Parameters (million)": ".1f"})

    absent = "No full-size system was timed: `python benchmarks/systems.py` does it."
    return _timed(path, "times of systems", written, absent)


def gpu_markdown(path: str | Path) -> str:
    """Seconds and memory on a GPU, from what ``benchmarks/gpu.py`` wrote."""

    def written(record: dict, table: pd.DataFrame) -> str:
        about = f"{record['gpu']}, torch {record['torch']}, {record['date']}."
        return f"{markdown_table(_of_systems(table, _GPU_COSTS))}\n\n{about}"

    absent = "No system was timed on a GPU yet: `python benchmarks/gpu.py` does it in under ten minutes."
    return _timed(path, "times of systems on a GPU", written, absent)


def _of_systems(table: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    """Some columns of a record under titles, after those of the systems."""
    return table.assign(System=table["segmenter"].map(title))[["System", *titles]].rename(columns=titles)


_CUBES = ("official_crop_192mm", "centre", "official_random")


def ceilings_markdown(manifest: str | Path) -> str:
    """Best DSC of SAM-Med3D-turbo, which sees a cube, by protocol and structure: from references of four subjects."""
    enrolled = read_cohort(manifest)
    cases = [c for c in enrolled.cases if c.modality != "PET" and c.subject in enrolled.subjects()[:4]]
    references = {c.name: c.read_reference() for c in cases}
    system = segmenters.get("sam_med3d_turbo")
    found = ceiling_table(references, enrolled.structures, system, _CUBES)
    if found.empty:
        return "No structural reference of this cohort holds a structure."
    wide = found.pivot_table(index="structure", columns="prompt", values="ceiling", sort=False)[list(_CUBES)]
    shown = wide.rename(structure_title).reset_index(names="Structure")
    caption = (
        f"Mean over {len(cases)} structural references of this run's cohort of the DSC that "
        f"{system.title} has after one click if its network is right in every voxel of its cube."
    )
    return numbered_table(shown, caption, "tab-crop-ceilings", dict.fromkeys(_CUBES, ".3f"))


def live_markdown(path: str | Path) -> str:
    """DSC of a system that ran with its published weights, a row per structure; or that none did.

    Of one subject with its seconds, of several with the mean differences and their intervals.
    """
    if not path or not Path(path).is_file():
        return "Not part of this run: its profile names no subject for it."
    scores = read_scores(path)
    name, who = title(scores["segmenter"].iloc[0]), scores["subject"].unique()
    if len(who) == 1:
        columns = {"dice": ("DSC", ".3f"), "seconds": ("Seconds", ".0f")}
        wide = scores.pivot_table(index="structure", columns="modality", values=list(columns), sort=False)
        formats = {f"{columns[c][0]}, {modality}": columns[c][1] for c, modality in wide}
        shown = wide.rename(structure_title).set_axis(list(formats), axis=1).reset_index(names="Structure")
        caption = f"{name} on subject {who[0]}: one box in both images. One subject: no interval."
        return numbered_table(shown, caption, "tab-live", formats)
    return "\n\n".join(_live_session(name, rows) for _, rows in scores.groupby("session", sort=False))


def _live_session(name: str, scores: pd.DataFrame) -> str:
    """Table of one session: structures, and the mean over them."""
    session = scores["session"].iloc[0]
    structural = next(m for m in scores["modality"].unique() if m != "PET")
    rows = comparison.compare(scores)
    rows = pd.concat([rows, comparison.compare(scores, by=("session", "segmenter"))], ignore_index=True)
    shown = pd.DataFrame(
        {
            "Structure": rows["structure"].map(structure_title, na_action="ignore").fillna("All structures"),
            "n": rows["n_subjects"],
            f"DSC, {structural}": rows["mean_structural"],
            "DSC, PET": rows["mean_pet"],
            f"PET − {structural}": gap_texts(rows),
        }
    )
    who = f"{name} on {count(scores['subject'].nunique(), 'subject')}, {session_title(session)}, simulated cohort"
    caption = f"{who}: one box in both images. Mean DSC and mean difference with 95 % interval."
    return numbered_table(shown, caption, f"tab-live-{session}", {c: ".3f" for c in shown if "DSC" in c})


def encoder_markdown(path: str | Path) -> str:
    """Ways to compute LiteMedSAM's encoder, from what ``benchmarks/encoder.py`` wrote."""

    def written(_, table: pd.DataFrame) -> str:
        first, seconds = table.iloc[0], table["cpu_seconds"]
        shown = pd.DataFrame({"Encoder": table["way"], "CPU seconds a slice": seconds})
        shown["Times as fast"] = first["cpu_seconds"] / seconds
        shown["Voxels that differ"] = table["differing_voxels"]
        caption = (
            f"LiteMedSAM's image encoder with its published weights on one thread, and the masks of {first['slices']} "
            f"boxes in as many slices ({first['foreground_voxels']:,} voxels) beside those of the published encoder. "
            "On a CPU this project asks it folded, channels last."
        )
        return numbered_table(shown, caption, "tab-encoder")

    absent = "Its encoder was not timed: `python benchmarks/encoder.py` does it."
    return _timed(path, "times of an encoder", written, absent)


def _kinds(record: Segmenter) -> str:
    """Kinds of prompt in words."""
    return ", ".join(sorted(record.prompts)).replace("_", " ")


def _weights(record: Segmenter) -> list[str]:
    """A system's weight files in words; those of one archive together."""
    groups: dict[str, list[Weights]] = {}
    for item in record.weights:
        groups.setdefault(item.url if item.member else item.file, []).append(item)
    return [_files(items) for items in groups.values()]


def _files(items: list[Weights]) -> str:
    """A weight file in words, or the files of one archive."""
    first = items[0]
    size = f", {first.size / 1e6:.0f} MB" if first.size else ""
    here = weights.known_hash(first) if not first.sha256 and len(items) == 1 else None
    known = first.hash_words + (f"; here {here[:12]}…" if here else "")
    what = f"`{first.file}`"
    if len(items) > 1:
        what = f"{len(items)} files below `{os.path.commonpath([i.file for i in items])}`"
    return f"{what}{size} from {first.where} ({first.licence}; {known})"
