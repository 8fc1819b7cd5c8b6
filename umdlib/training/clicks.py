"""Training clicks: how many, and where, drawn on the working grid.

SegAnyPET ("Training protocol", arXiv 2603.11627) draws 1 to 20 clicks per iteration: the first in
the structure, the next where the prediction is wrong, positive in `Y \\ Y'`, negative in
`Y' \\ Y`, with the previous mask fed back. Here the clicks come in at most `rounds` batches: one by
one where there are as many rounds as clicks; with two or three rounds the decoder runs two or three
times per iteration and not twenty.
"""

from __future__ import annotations

import numpy as np


def totals(rng: np.random.Generator, *, most: int = 20, rounds: int = 3) -> list[int]:
    """Clicks given up to the end of each round: 1 first, then few, then all of 1 to `most`.

    Examples
    --------
    >>> totals(np.random.default_rng(0))
    [1, 3, 18]
    >>> totals(np.random.default_rng(0), most=5, rounds=5)
    [1, 2, 3, 4, 5]
    """
    n = int(rng.integers(1, most + 1))
    if rounds >= most:
        return list(range(1, n + 1))
    given = [1]
    while len(given) < rounds and given[-1] < n:
        left = n - given[-1]
        last = len(given) == rounds - 1
        given.append(n if last else given[-1] + int(rng.integers(1, min(3, left) + 1)))
    return given


def graded(rng: np.random.Generator, rounds: int, most: int) -> set[int]:
    """Rounds that enter the loss: the first, the last, and others at random up to `most`; 0 for all.

    Examples
    --------
    >>> sorted(graded(np.random.default_rng(0), 9, 3)), graded(np.random.default_rng(0), 2, 0)
    ([0, 6, 8], {0, 1})
    """
    if not most or most >= rounds:
        return set(range(rounds))
    between = rng.choice(np.arange(1, rounds - 1), max(most - 2, 0), replace=False)
    return {0, *map(int, between), rounds - 1} if most > 1 else {rounds - 1}


def click_at(voxel: tuple[int, int, int]) -> np.ndarray:
    """(1, 4) int: a voxel of the structure, and sign 1."""
    return _rows(np.array([voxel]), 1)


def first_click(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(1, 4) int: a random voxel of the structure, and sign 1."""
    return _rows(_some(target, 1, rng), 1)


def error_clicks(
    target: np.ndarray, prediction: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(n, 4) int, n <= count: random voxels of the error; sign 1 where missed, 0 where added.

    Examples
    --------
    >>> target, prediction = np.zeros((2, 1, 1, 4), bool)
    >>> target[0, 0, 1], prediction[0, 0, 3] = True, True
    >>> sorted(error_clicks(target, prediction, 5, np.random.default_rng(0)).tolist())
    [[0, 0, 1, 1], [0, 0, 3, 0]]
    """
    places = _some(target != prediction, count, rng)
    signs = target[tuple(places.T)] if len(places) else np.zeros(0)
    return _rows(places, signs)


def _some(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3): up to `count` different voxels of a mask."""
    flat = np.flatnonzero(mask)
    chosen = rng.choice(flat, min(count, len(flat)), replace=False)
    return np.stack(np.unravel_index(chosen, mask.shape), axis=1)


def _rows(places: np.ndarray, signs) -> np.ndarray:
    """Places (n, 3) with their signs as a fourth column."""
    return np.column_stack([places, np.broadcast_to(signs, len(places))]).astype(np.int64)
