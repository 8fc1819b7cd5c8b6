"""Where the spread of the scores comes from: subject, structure, prompt, modality."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umdlib.labels import session
from umdlib.scores.empty_rules import rows_with_score
from umdlib.statistics.pairs import group_numbers

SOURCES: dict[str, str] = {
    "subject": "subject",
    "structure": "structure",
    "modality": "modality",
    "subject:structure": "subject × structure",
    "subject:modality": "subject × modality",
    "structure:modality": "structure × modality",
    "subject:structure:modality": "subject × structure × modality",
    "prompt": "prompt",
    "prompt:modality": "prompt × modality",
}


def component_table(scores: pd.DataFrame, *, metric: str = "dice", empty: str = "drop") -> pd.DataFrame:
    """Split the variance of each segmenter's scores over subject, structure, prompt and modality.

    A prompt is one (protocol, seed); the same clicks are given in both modalities, so prompts are
    nested in subject and structure and crossed with modality.

    Parameters
    ----------
    scores
        Score table; first prompts count.
    metric, empty
        What is split, and the empty rule.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, source` (key of `SOURCES`), `df`, `sum_squares`, `share` (of the total
        sum of squares; the shares of a segmenter sum to 1), `component` (variance in squared units
        of the metric; method of moments, negative estimates are kept), `n_subjects, n_structures,
        n_prompts, n_left_out` (subjects without a complete set of scores), `note`. Without a second
        prompt its part cannot be separated from the interactions and is NaN.

    Notes
    -----
    Balanced analysis of variance with expected mean squares: Searle, Casella and McCulloch,
    *Variance Components* (1992), https://doi.org/10.1002/9780470316856, chapter 4. All factors
    are taken as random; modality has two levels, so read its component as a size, not an estimate.
    """
    first = scores["status"].ne("unavailable") & scores["step"].eq(0)
    rows = rows_with_score(scores, first, metric, empty)
    # numbers are grouped faster than names
    numbers = {
        "subject": pd.factorize(rows["subject"], sort=True)[0],
        "structure": pd.factorize(rows["structure"])[0],
    }
    numbers["draw"], _ = group_numbers(rows, ["prompt", "seed"])
    rows = rows[["session", "segmenter", "modality", "score"]].assign(**numbers)
    tables = [
        _components(part, name).assign(session=name, segmenter=segmenter)
        for (name, segmenter), part in rows.groupby(["session", "segmenter"], sort=False)
    ]
    if not tables:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.concat(tables, ignore_index=True)[_COLUMNS]


_COLUMNS = ["session", "segmenter", "source", "df", "sum_squares", "share", "component", "n_subjects"]
_COLUMNS += ["n_structures", "n_prompts", "n_left_out", "note"]


def _components(part: pd.DataFrame, session_name: str) -> pd.DataFrame:
    """Sums of squares and components of one segmenter in one session."""
    values, left_out = balanced(part, session(session_name).structural)
    n, s, k, m = values.shape
    table = pd.DataFrame({"source": list(SOURCES)})
    table[["n_subjects", "n_structures", "n_prompts", "n_left_out"]] = [n, s, k, left_out]
    table[["df", "sum_squares", "share", "component"]] = np.nan
    table["note"] = ""
    if n < 2 or m < 2:
        return table.assign(note="fewer than two subjects with every score")
    squares, freedom = _sums_of_squares(values)
    table["df"] = table["source"].map(freedom)
    table["sum_squares"] = table["source"].map(squares)
    total = sum(squares.values())
    table["share"] = table["sum_squares"] / total if total > 0 else np.nan
    table["component"] = table["source"].map(_moments(squares, freedom, (n, s, k, m)))
    if k < 2:
        table.loc[table["source"].str.startswith("prompt"), ["share", "component"]] = np.nan
        table["note"] = "one prompt: its part is inside the interactions"
    return table


def balanced(part: pd.DataFrame, structural: str) -> tuple[np.ndarray, int]:
    """Complete scores as an array, and how many subjects were left out for a missing one.

    Returns
    -------
    values : numpy.ndarray
        Shape (subjects, structures, prompts, 2): structural, then PET.
    left_out : int
        Subjects without a score in every cell.
    """
    rows = part[part["modality"].isin([structural, "PET"])]
    wide = rows.pivot_table(
        index="subject", columns=["structure", "draw", "modality"], values="score", dropna=False
    )
    levels = [list(rows[c].unique()) for c in ("structure", "draw")]
    wide = wide.reindex(columns=pd.MultiIndex.from_product([*levels, [structural, "PET"]]))
    complete = wide.dropna()
    shape = (len(complete), *map(len, levels), 2)
    return complete.to_numpy(dtype=float).reshape(shape), len(wide) - len(complete)


def _sums_of_squares(y: np.ndarray) -> tuple[dict[str, float], dict[str, int]]:
    """Sum of squares and degrees of freedom of every source of a balanced array (n, s, k, 2)."""
    n, s, k, m = y.shape

    def mean(*kept: int) -> np.ndarray:
        return y.mean(axis=tuple(a for a in range(4) if a not in kept), keepdims=True)

    grand, i, o, t = mean(), mean(0), mean(1), mean(3)
    io, it, ot, iot, iok = mean(0, 1), mean(0, 3), mean(1, 3), mean(0, 1, 3), mean(0, 1, 2)
    effects = {
        "subject": i - grand,
        "structure": o - grand,
        "modality": t - grand,
        "subject:structure": io - i - o + grand,
        "subject:modality": it - i - t + grand,
        "structure:modality": ot - o - t + grand,
        "subject:structure:modality": iot - io - it - ot + i + o + t - grand,
        "prompt": iok - io,
        "prompt:modality": y - iok - iot + io,
    }
    squares = {name: float((np.broadcast_to(effect, y.shape) ** 2).sum()) for name, effect in effects.items()}
    a, b, c = n - 1, s - 1, m - 1
    freedom = [a, b, c, a * b, a * c, b * c, a * b * c, n * s * (k - 1), n * s * (k - 1) * c]
    return squares, dict(zip(effects, freedom, strict=True))


def _moments(
    squares: dict[str, float], freedom: dict[str, int], shape: tuple[int, int, int, int]
) -> dict[str, float]:
    """Variance components that give the observed mean squares."""
    n, s, k, m = shape
    ms = {name: squares[name] / freedom[name] if freedom[name] else np.nan for name in squares}
    # With one prompt or one structure, the mean squares that would be subtracted do not exist; the
    # next interaction then holds both.
    pm = 0.0 if k < 2 else ms["prompt:modality"]
    p = 0.0 if k < 2 else ms["prompt"]
    iot, io = ms["subject:structure:modality"], ms["subject:structure"]
    it, ot = ms["subject:modality"], ms["structure:modality"]
    if s < 2:
        iot, io, ot = pm, p, pm
    return {
        "prompt:modality": pm,
        "prompt": (p - pm) / m,
        "subject:structure:modality": (iot - pm) / k,
        "subject:structure": (io - p - iot + pm) / (k * m),
        "subject:modality": (it - iot) / (k * s),
        "structure:modality": (ot - iot) / (k * n),
        "subject": (ms["subject"] - io - it + iot) / (k * s * m),
        "structure": (ms["structure"] - io - ot + iot) / (k * n * m),
        "modality": (ms["modality"] - it - ot + iot) / (k * n * s),
    }
