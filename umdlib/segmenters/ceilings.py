"""How good a system can be at best, where it looks at parts of an image only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from umdlib.images.volume import LabelMap, Volume
from umdlib.labels import Structure
from umdlib.prompts.drawing import pair_prompts
from umdlib.prompts.prompt import REFERENCE_EMPTY, Prompt
from umdlib.segmenters.contract import Segmenter


def ceiling(record: Segmenter, image: Volume, prompt: Prompt, wanted: np.ndarray) -> float:
    """DSC of a system whose network is right wherever it looks.

    With a share s of the structure where it looks, and no voxel too many, that is 2 s / (1 + s).

    Parameters
    ----------
    record
        The system; `record.reach` says where it looks.
    image
        The image; only its grid counts for systems in cubes.
    prompt
        The prompt.
    wanted
        Boolean mask (I, J, K) of the structure in the reference.

    Returns
    -------
    float
        NaN where the record does not say where it looks, no prompt was given, or the reference is empty.
    """
    total = np.count_nonzero(wanted)
    if record.reach is None or prompt.note == REFERENCE_EMPTY or not total:
        return float("nan")
    share = np.count_nonzero(wanted & record.reach(image, prompt, wanted)) / total
    return 2 * share / (1 + share)


def ceiling_table(
    references: Mapping[str, LabelMap],
    structures: Sequence[Structure],
    record: Segmenter,
    protocols: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Ceilings of a system's first answer, from references alone: no image and no weights are needed.

    Returns
    -------
    pandas.DataFrame
        `case, structure, prompt, seed, ceiling`, one row each, for structures that a reference holds.
    """
    rows = []
    for name, reference in references.items():
        image = Volume(np.broadcast_to(np.float32(0), reference.shape), reference.affine)
        for protocol in protocols:
            for seed in seeds:
                drawn = pair_prompts({name: reference}, structures, protocol=protocol, seed=seed, case=name)
                for s in structures:
                    value = ceiling(record, image, drawn[s.name], reference.data == s.value)
                    rows.append((name, s.name, protocol, seed, value))
    table = pd.DataFrame(rows, columns=["case", "structure", "prompt", "seed", "ceiling"])
    return table.dropna(ignore_index=True)
