"""What the book says of each system: its card, its state on this machine, its parity."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
from umdlib.tables.markdown import markdown_table, numbered_table
from umdlib.tables.modality_table import structure_title
from umdlib.weights import reading as weights


def state_table(device: str = "cpu") -> pd.DataFrame:
    """One row per system: title, prompts, licence of the weights, whether it can run here."""
    rows = []
    for name in segmenters.names():
        record = segmenters.get(name)
        state = segmenters.availability(record, device)
        rows.append(
            {
                "System": f"{record.title} (`{name}`)",
                "Takes": _kinds(record),
                "Runs": "in its own environment" if record.external else "in process",
                "Here": "ready" if state.ok else "unavailable",
            }
        )
    return pd.DataFrame(rows)


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
    """All cards, in the order of the registry."""
    return "\n\n".join(card(name, device) for name in segmenters.names())


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
    return pd.DataFrame(
        [
            {
                "System": ", ".join(dict.fromkeys(owners)),
                "Files": len(words),
                "Licence": licence,
                "Hash": min(words.values())
                if len(set(words.values())) == 1
                else "published sha256 of each file",
            }
            for (_, licence, _), (owners, words) in rows.items()
        ]
    )


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
        rows.append(
            {
                "System": record.title,
                "Trained on": ", ".join(record.modalities),
                f"Of {len(ORGANS)} structures": len(known),
                "Not": ", ".join(missing) if known else "all of them",
                "Also": ", ".join(rest),
            }
        )
    return pd.DataFrame(rows)


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
    shown = pd.DataFrame(
        {
            "System": list(grouped.groups),
            "Comparisons": grouped.size().to_numpy(),
            "Equal in every voxel": grouped.agg(lambda n: int((n == 0).sum())).to_numpy(),
            "Most voxels that differ": grouped.max().to_numpy(),
        }
    )
    return markdown_table(shown)


def parity_markdown() -> str:
    """The record of parity, folded: differing voxels, their number per voxel in the mask, and the commands."""
    table = parity()
    shown = pd.DataFrame(
        {
            "System": table["system"],
            "Prompt": table["prompts"],
            "Phantom": table["grid"],
            "In the mask": [f"{n:,}" for n in table["foreground"]],
            "Differing": [f"{n:,}" for n in table["differing"]],
            "Of the mask": [f"{share:.2%}" for share in table["per_foreground"]],
        }
    )
    sides = {"In the mask": "right", "Differing": "right", "Of the mask": "right"}
    every = page.fold("Every comparison", markdown_table(shown, align=sides))
    return (
        f"{every}\n\n{page.fold('Official code, versions, networks and commands', _parity_commands(table))}"
    )


def _parity_commands(table: pd.DataFrame) -> str:
    """How each system was compared: official code, commit, versions, network and command."""
    lines = []
    for name, rows in table.groupby("system", sort=False):
        first = rows.iloc[0]
        networks = "; ".join(dict.fromkeys(rows["network"]))
        lines.append(
            f"- **{name}**: {first['official code']}, {first['commit']}; {first['versions']}; "
            f"network: {networks}. `python {first['command']}`"
        )
    return "\n".join(lines)


@contextmanager
def _written(path: Path, holds: str) -> Iterator[dict]:
    """What a script in ``benchmarks/`` wrote; the block's errors say that the file holds something else."""
    try:
        yield json.loads(path.read_text("utf-8"))
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"File {path} holds no {holds}: {error}.") from None


def cost_markdown(path: str | Path) -> str:
    """CPU seconds and memory of full-size systems, from what ``benchmarks/systems.py`` wrote.

    InputError: the file is not such a result.
    """
    path = Path(path)
    if not path.is_file():
        return "No full-size system was timed: `python benchmarks/systems.py` does it."
    with _written(path, "times of systems") as record:
        table = pd.DataFrame(record["rows"])
        shown = pd.DataFrame(
            {
                "System": [title(n) for n in table["segmenter"]],
                "Unit of work": table["unit"],
                "Parameters (million)": table["million parameters"],
                "CPU seconds": table["CPU seconds"],
                "Peak memory (MB)": table["peak MB"],
            }
        )
    return markdown_table(shown, {"Parameters (million)": ".1f"})


def gpu_markdown(path: str | Path) -> str:
    """Seconds and memory on a GPU, from what ``benchmarks/gpu.py`` wrote.

    InputError: the file is not such a result.
    """
    path = Path(path)
    if not path.is_file():
        return "No system was timed on a GPU yet: `python benchmarks/gpu.py` does it in under ten minutes."
    with _written(path, "times of systems on a GPU") as known:
        table = pd.DataFrame(known["rows"])
        shown = pd.DataFrame(
            {
                "System": [title(n) for n in table["segmenter"]],
                "Cubes or slices encoded": table["encoded"],
                "First structure (s)": table["first structure s"],
                "Further structure (s)": table["further structure s"],
                "Structures": table["structures"],
                "Encoder passes": table["encoder passes"],
                "Peak GPU memory (MB)": table["peak GPU MB"],
            }
        )
        about = f"{known['gpu']}, torch {known['torch']}, {known['date']}."
    return f"{markdown_table(shown)}\n\n{about}"


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
    shown = wide.reset_index().rename(columns={"structure": "Structure"})
    shown["Structure"] = shown["Structure"].map(structure_title)
    caption = (
        f"Mean over {len(cases)} structural references of this run's cohort of the DSC that "
        f"{system.title} has after one click if its network is right in every voxel of its cube."
    )
    return numbered_table(shown, caption, "tab-crop-ceilings", dict.fromkeys(_CUBES, ".3f"))


def live_markdown(path: str | Path) -> str:
    """Scores of a system that ran with its published weights, a row per structure; or that none did."""
    if not path or not Path(path).is_file():
        return "Not part of this run: its profile names no subject for it."
    table = read_scores(path)
    wide = table.pivot_table(
        index="structure", columns="modality", values=["dice", "seconds"], sort=False, observed=True
    )
    shown = pd.DataFrame({"Structure": [structure_title(s) for s in wide.index]})
    formats = {}
    for column, words, digits in (("dice", "DSC", ".3f"), ("seconds", "Seconds", ".0f")):
        for modality in wide[column].columns:
            shown[f"{words}, {modality}"] = wide[column, modality].to_numpy()
            formats[f"{words}, {modality}"] = digits
    who = f"{title(table['segmenter'].iloc[0])} on subject {table['subject'].iloc[0]}"
    caption = f"{who}: one box in both images. One subject: no interval."
    return numbered_table(shown, caption, "tab-live", formats)


def encoder_markdown(path: str | Path) -> str:
    """Ways to compute LiteMedSAM's encoder, from what ``benchmarks/encoder.py`` wrote.

    InputError: the file is not such a result.
    """
    path = Path(path)
    if not path.is_file():
        return "Its encoder was not timed: `python benchmarks/encoder.py` does it."
    with _written(path, "times of an encoder") as record:
        table = pd.DataFrame(record["rows"])
        first = table.iloc[0]
        shown = pd.DataFrame(
            {
                "Encoder": table["way"],
                "CPU seconds a slice": table["cpu_seconds"],
                "Times as fast": first["cpu_seconds"] / table["cpu_seconds"],
                "Voxels that differ": table["differing_voxels"],
            }
        )
        caption = (
            f"LiteMedSAM's image encoder with its published weights on one thread, and the masks of {first['slices']} "
            f"boxes in as many slices ({first['foreground_voxels']:,} voxels) beside those of the encoder as published."
        )
    return numbered_table(
        shown, caption, "tab-encoder", {"Times as fast": ".2f", "CPU seconds a slice": ".2f"}
    )


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
