"""Table of what training runs cost."""

from __future__ import annotations

import pandas as pd

from umdlib.tables.markdown import number
from umdlib.tables.modality_table import session_title


def cost_layout(costs: pd.DataFrame) -> pd.DataFrame:
    """Cost of every training.

    Parameters
    ----------
    costs
        From `umdlib.weights.card.cost_table`.
    """
    images = [
        m + (f" of {session_title(s)}" if s else "")
        for m, s in zip(costs["modalities"], costs["session"], strict=True)
    ]
    return pd.DataFrame(
        {
            "Network": costs["title"],
            "Trained on": images,
            "Examinations": costs["subjects"].map(str),
            "Seeds of data, training": [
                f"{a}, {b}" for a, b in zip(costs["data_seed"], costs["training_seed"], strict=True)
            ],
            "Parameters (MB)": [
                f"{n:,} ({number(mb, 1)})"
                for n, mb in zip(costs["parameters"], costs["megabytes"], strict=True)
            ],
            "Iterations": [f"{n:,}" for n in costs["iterations"]],
            "CPU (wall) minutes, cores": [
                f"{number(r.cpu_minutes, 1)} ({number(r.wall_minutes, 1)}), {r.cores} × {r.device}"
                for r in costs.itertuples()
            ],
        }
    )
