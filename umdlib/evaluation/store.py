"""The folder of a run: predictions and prompts of each case, read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from umdlib import prompts
from umdlib.cohort.manifest import Case, Cohort
from umdlib.errors import InputError
from umdlib.images import volume
from umdlib.metrics import scoring as metrics
from umdlib.prompts.prompt import Prompt


def case_folder(root: str | Path, segmenter: str, case: Case) -> Path:
    """Where a case's scores, prompts and predictions lie."""
    return Path(root) / "cases" / segmenter / case.name


def read_prediction(
    root: str | Path, segmenter: str, case: Case, *, prompt: str = "centre", seed: int = 0, step: int = 0
) -> dict[str, np.ndarray]:
    """Predicted masks of a case: structure name -> boolean (I, J, K) on the grid of its image.

    Raises
    ------
    InputError
        If there is no such prediction.
    """
    folder = case_folder(root, segmenter, case)
    bits = volume.read_bits(folder / prediction_file(prompt, seed, step))
    places = bit_places(folder, case)
    return {s.name: metrics.unpack_bit(bits, b) for s, b in zip(case.structures, places, strict=True)}


def bit_places(folder: Path, case: Case) -> list[int]:
    """Which bit of a case's predictions each of its structures has, by the names kept with them.

    Raises
    ------
    InputError
        The predictions are of other structures than the case has now.
    """
    names = [s.name for s in case.structures]
    try:
        stamp = json.loads(pq.read_schema(folder / "scores.parquet").metadata[b"umdlib"])
    except (OSError, KeyError, ValueError):
        return list(range(len(names)))
    kept = stamp.get("structures") or _structures_asked(folder) or names
    if set(kept) != set(names):
        raise InputError(
            f"Predictions in {folder} are of {', '.join(kept)}; the cohort has {', '.join(names)} now. "
            "Score it again."
        )
    return [kept.index(n) for n in names]


def _structures_asked(folder: Path) -> list[str]:
    """Structures of a case in the order of its prompts, which is that of the bits."""
    try:
        given = json.loads((folder / "prompts.json").read_text())
        return list(dict.fromkeys(p["structure"] for p in given))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def read_prompts(root: str | Path, segmenter: str, case: Case) -> list[Prompt]:
    """Every prompt that was given for a case, in the order given."""
    path = case_folder(root, segmenter, case) / "prompts.json"
    if not path.is_file():
        raise InputError(f"File {path} does not exist.")
    return [prompts.from_record(r) for r in json.loads(path.read_text())]


def compare_prompts(cohort: Cohort, root: str | Path, session: str, segmenter: str) -> pd.DataFrame:
    """First prompts of the two images of each examination, read back from disk.

    Returns
    -------
    pandas.DataFrame
        One row per subject, structure, prompt and seed that has a click in both images: these,
        `distance_mm` between the two clicks, and `outside`: whether the click lies outside the
        structure on a partner's grid.
    """
    rows = []
    for pair in cohort.pairs(session):
        given = [
            {
                (p.structure, p.protocol, p.seed): p
                for p in read_prompts(root, segmenter, case)
                if len(p.clicks) == 1
            }
            for case in pair
        ]
        for key in given[0].keys() & given[1].keys():
            ends = [np.array(g[key].clicks[0].xyz_mm) for g in given]
            rows.append(
                [
                    pair[0].subject,
                    *key,
                    float(np.linalg.norm(ends[0] - ends[1])),
                    given[0][key].note == prompts.OUTSIDE_PARTNER,
                ]
            )
    columns = ["subject", "structure", "prompt", "seed", "distance_mm", "outside"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:4], ignore_index=True)


def prediction_file(prompt: str, seed: int, step: int) -> str:
    """Name of the bit-mask volume of one step within a case's folder."""
    return f"{prompt}-{seed}_step-{step:02d}.nii.gz"
