"""The published scores as one list that a reader can compare any two entries of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.errors import unknown_name
from umdlib.labels import SESSIONS
from umdlib.published.names import MODELS, STRUCTURES
from umdlib.published.printed import cells, read


def comparable_scores() -> pd.DataFrame:
    """Every DSC of UMD tables 1 and 2 and SegAnyPET supplementary tables 1 and 4.

    Returns
    -------
    pandas.DataFrame
        Columns ``condition, cohort, modality, structure, segmenter, prompt, kind, v, lo, hi, raw,
        source``: `condition` names cohort, modality and paper; `kind` is ``mean`` (interval
        mean ± SD, cut at 0 and 1) or ``median`` (interval: quartiles). Supplementary table 1
        adds the task-specific systems; its SegAnyPET at one point is that of table 4.
    """
    frames = [cells(read(n)) for n in ("umd_table1", "umd_table2", "seganypet_s4", "seganypet_s1")]
    wide = pd.concat(frames, ignore_index=True)
    wide = wide[wide["mean"].notna() | wide["median"].notna()]
    wide = wide.drop_duplicates(["paper", "cohort", "modality", "structure", "segmenter", "prompt"])
    mean = wide["mean"].notna()
    out = wide[["cohort", "modality", "structure", "segmenter", "prompt", "raw"]].copy()
    out["kind"] = np.where(mean, "mean", "median")
    out["v"] = wide["mean"].fillna(wide["median"])
    out["lo"] = (wide["mean"] - wide["sd"]).clip(0, 1).fillna(wide["q1"])
    out["hi"] = (wide["mean"] + wide["sd"]).clip(0, 1).fillna(wide["q3"])
    out["source"] = wide["paper"] + ", " + wide["table"] + ", line " + wide["line"].astype(str)
    out["condition"] = wide["cohort"] + " " + wide["modality"] + " (" + wide["paper"] + ")"
    several = out["segmenter"].eq("seganypet") & out["prompt"].isin(["3 points", "5 points"])
    return out[~several].reset_index(drop=True)


def condition_title(condition: str) -> str:
    """A condition for a reader.

    Examples
    --------
    >>> condition_title("UMD-PETCT CT (UMD)")
    'CT of PET/CT (UMD, mean)'
    >>> condition_title("PETS-Organ PET (SegAnyPET)")
    'PET, PETS-Organ (SegAnyPET, median)'
    """
    cohort, modality, paper = condition.replace("(", "").replace(")", "").split(" ")
    session = {f"UMD-{name.upper()}": s.title for name, s in SESSIONS.items()}.get(cohort)
    kind = "mean" if paper == "UMD" else "median"
    where = f"{modality} of {session}" if session else f"{modality}, {cohort}"
    return f"{where} ({paper}, {kind})"


def explorer_data(start: dict[str, str] | None = None) -> dict:
    """Everything the explorer on the page needs.

    Parameters
    ----------
    start
        First selection: ``by`` (``structure`` or ``segmenter``), ``a`` and ``b`` (conditions),
        ``a_segmenter``, ``b_segmenter``, ``a_structure``, ``b_structure``, ``order``.
    """
    scores = comparable_scores()
    first = {"by": "structure", "order": "printed", "a": "UMD-PETCT CT (UMD)", "b": "UMD-PETCT PET (UMD)"}
    first |= dict.fromkeys(("a_segmenter", "b_segmenter"), "nninteractive")
    first |= dict.fromkeys(("a_structure", "b_structure"), "liver")
    conditions = list(dict.fromkeys(scores["condition"]))
    names = {c: condition_title(c) for c in conditions} | MODELS | STRUCTURES
    columns = ["condition", "structure", "segmenter", "kind", "v", "lo", "hi", "raw", "source"]
    return {
        "rows": scores[columns].round(4).to_dict("records"),
        "names": names,
        "cohort": {c: c.split(" ")[0] for c in conditions},
        "start": {**first, **(start or {})},
    }


def pick(scores: pd.DataFrame, *, by: str, condition: str, chosen: str) -> pd.DataFrame:
    """The scores of one selection, indexed by what stands on the lines.

    Parameters
    ----------
    scores
        As `comparable_scores` gives it.
    by
        ``structure`` or ``segmenter``: what the lines are.
    condition
        Cohort, modality and paper.
    chosen
        The segmenter, or the structure if `by` is ``segmenter``.

    Raises
    ------
    InputError
        If `by`, `condition` or `chosen` is not among the published ones.
    """
    other = {"structure": "segmenter", "segmenter": "structure"}
    if by not in other:
        raise unknown_name("kind of line", by, other)
    if condition not in set(scores["condition"]):
        raise unknown_name("condition", condition, dict.fromkeys(scores["condition"]))
    own = scores[scores["condition"] == condition]
    if chosen not in set(own[other[by]]):
        raise unknown_name(f"{other[by]} of {condition}", chosen, dict.fromkeys(own[other[by]]))
    return own[own[other[by]] == chosen].set_index(by)
