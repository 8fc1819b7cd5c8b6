"""How the time of scoring grows: with structures, voxels, far errors, and a second process."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import phantom
import plain
import timing

from umdlib.metrics import scoring as metrics

VALUES = tuple(range(1, len(phantom.ORGANS) + 1))
COUNTS = (1, 2, 4, 8, 13)


def scorer(grid: str, quality: str, values=VALUES):
    """A call that scores a pair of the phantom."""
    pair = phantom.reference(grid), phantom.prediction(grid, quality)
    spacing_mm = phantom.GRIDS[grid][1]
    return lambda: metrics.score(*pair, spacing_mm=spacing_mm, values=values)


def by_structures(grid: str, quality: str, repeats: int, rng) -> list[dict]:
    """Seconds by number of structures."""
    pair, spacing_mm = (phantom.reference(grid), phantom.prediction(grid, quality)), None
    spacing_mm = phantom.GRIDS[grid][1]
    calls = {n: lambda n=n: metrics.score(*pair, spacing_mm=spacing_mm, values=VALUES[:n]) for n in COUNTS}
    _, seconds = timing.measure({str(n): c for n, c in calls.items()}, repeats, rng)
    return [
        {"grid": grid, "quality": quality, "structures": int(n), "seconds": s} for n, s in seconds.items()
    ]


def surface_cells(grid: str, quality: str) -> int:
    """Surface cells of all structures in both volumes."""
    total = 0
    for volume in (phantom.reference(grid), phantom.prediction(grid, quality)):
        for value in VALUES:
            where = np.nonzero(np.asarray(volume == value))
            if len(where[0]):
                box = tuple(slice(w.min(), w.max() + 1) for w in where)
                codes = plain.codes(volume[box] == value)
                total += int(((codes != 0) & (codes != 255)).sum())
    return total


def by_voxels(grids, repeats: int, rng) -> list[dict]:
    """Seconds by size of the volume, with its number of surface cells."""
    rows = []
    for quality in phantom.ERRORS:
        calls = {grid: scorer(grid, quality) for grid in grids}
        _, seconds = timing.measure(calls, repeats, rng)
        rows += [
            {
                "grid": grid,
                "quality": quality,
                "voxels": int(np.prod(phantom.GRIDS[grid][0])),
                "cells": surface_cells(grid, quality),
                "seconds": s,
            }
            for grid, s in seconds.items()
        ]
    return rows


def by_place(grid: str, repeats: int, rng) -> list[dict]:
    """Seconds with one spurious blob of the liver, next to it and in the farthest corner."""
    reference, good = phantom.reference(grid), phantom.prediction(grid, "good")
    spacing_mm, calls = phantom.GRIDS[grid][1], {}
    for place, corner in (("near", np.argwhere(reference == 1)[0] - 12), ("far", np.zeros(3, int))):
        prediction = good.copy(order="K")
        prediction[tuple(slice(c, c + 8) for c in corner)] = 1
        calls[place] = lambda p=prediction: metrics.score(reference, p, spacing_mm=spacing_mm, values=VALUES)
    _, seconds = timing.measure(calls, repeats, rng)
    return [{"grid": grid, "blob": place, "seconds": s} for place, s in seconds.items()]


def _work(grid: str, rounds: int, start, seconds) -> None:
    """Seconds of a round on the wall clock, all begun together with the other processes."""
    call = scorer(grid, "good")
    call()
    start.wait()
    began = time.perf_counter()
    for _ in range(rounds):
        call()
    seconds.put((time.perf_counter() - began) / rounds)


def by_processes(grid: str, rounds: int = 20) -> list[dict]:
    """Seconds a pair, on the wall clock, with one process at work and with two at once."""
    context, rows = multiprocessing.get_context("spawn"), []
    for count in (1, 2):
        start, seconds = context.Barrier(count), context.Queue()
        workers = [context.Process(target=_work, args=(grid, rounds, start, seconds)) for _ in range(count)]
        for worker in workers:
            worker.start()
        found = [seconds.get() for _ in workers]
        for worker in workers:
            worker.join()
        rows.append({"grid": grid, "processes": count, "seconds": float(np.max(found))})
    return rows
