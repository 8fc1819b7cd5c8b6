"""Sign-flip tests over subjects."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

EXACT_UP_TO = 32  # non-zero differences; two halves of 2**16 sums are joined
_TOO_FEW_HITS = 10  # random patterns as extreme as the data; below, a Monte-Carlo p is coarse
_SPREAD = 0.25  # smallest standard deviation over mean of the sizes that is not close to a lattice


def sign_flip_p(
    differences: np.ndarray, *, n_resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p-value of the sign-flip test, for each column.

    The null hypothesis is that the two modalities are exchangeable: each difference is as likely
    with the other sign. The statistic is the mean, but a skewed distribution of mean zero is *not*
    this null hypothesis, and is rejected more often than promised. `umdlib.statistics.bootstrap.mean_test`
    is a test of the mean.

    Parameters
    ----------
    differences
        Shape (n, cells), one paired difference per subject; NaN where undefined.
    n_resamples
        Random sign patterns, where there are too many to enumerate.
    rng
        Source of the sign patterns; all cells share them.

    Returns
    -------
    p_value : numpy.ndarray
        Shape (cells,). NaN without a defined difference, 1 where all are zero.
    method : numpy.ndarray
        Shape (cells,): ``exact`` (up to 32 non-zero differences), ``monte carlo``, or
        ``saddlepoint`` where fewer than ten random patterns were as extreme as the data and the sizes
        of the differences vary, so that p-values below ``1 / n_resamples`` keep their size. The sums
        of equal-sized differences lie on a lattice, for which the formula is two to three times too
        small: there the Monte-Carlo p-value stays.

    Notes
    -----
    Dividing each pattern's mean by its own standard error changes nothing: the sum of squares is the
    same for all patterns, so that the studentised statistic orders them alike.

    Saddlepoint: Lugannani and Rice (1980), https://doi.org/10.2307/1426607, for the sum of ``±d`` as
    in Robinson (1982), https://doi.org/10.1111/j.2517-6161.1982.tb01191.x.

    Examples
    --------
    Three subjects, all better on CT: 2 of the 8 sign patterns are as extreme.

    >>> sign_flip_p(np.array([[-0.1], [-0.2], [-0.3]]), n_resamples=99,
    ...             rng=np.random.default_rng(0))
    (array([0.25]), array(['exact'], dtype='<U11'))
    """
    filled = np.where(np.isfinite(differences), differences, 0.0)
    moving = (np.abs(filled) > 1e-12).sum(axis=0)
    p_value = np.full(differences.shape[1], np.nan)
    method = np.full(differences.shape[1], "exact", dtype="<U11")
    p_value[np.isfinite(differences).any(axis=0)] = 1.0
    for cell in np.flatnonzero((moving > 0) & (moving <= EXACT_UP_TO)):
        p_value[cell] = _exact(_moving(filled[:, cell]))
    many = np.flatnonzero(moving > EXACT_UP_TO)
    if len(many):
        hits = _as_extreme(filled[:, many], n_resamples, rng)
        p_value[many], method[many] = (hits + 1) / (n_resamples + 1), "monte carlo"
        for cell in many[hits < _TOO_FEW_HITS]:
            column = _moving(filled[:, cell])
            if _one_sign(column) or _sizes_vary(column):
                p_value[cell], method[cell] = _saddlepoint(column), "saddlepoint"
    return p_value, method


def _moving(column: np.ndarray) -> np.ndarray:
    """Differences that are not zero."""
    return column[np.abs(column) > 1e-12]


def _one_sign(column: np.ndarray) -> bool:
    """Whether all differences point the same way: the p-value then has a closed form."""
    return bool((column > 0).all() or (column < 0).all())


def _sizes_vary(column: np.ndarray) -> bool:
    """Whether the sums of ``±d`` are far from a lattice: no equal sizes, and a spread of them."""
    size = np.abs(column)
    return len(np.unique(np.round(size, 9))) == len(size) and bool(size.std() >= _SPREAD * size.mean())


def _as_extreme(filled: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Number of random sign patterns whose |sum| reaches the observed one, per column."""
    observed = np.abs(filled.sum(axis=0))
    limit = observed - 1e-9 * np.abs(filled).sum(axis=0)  # equal sums may differ by round-off
    signs = rng.integers(0, 2, (n_resamples, len(filled)), dtype=np.int8) * 2.0 - 1.0
    return (np.abs(signs @ filled) >= limit).sum(axis=0)


def _exact(column: np.ndarray) -> float:
    """Share of all sign patterns whose |sum| reaches the observed one, from the sums of two halves."""
    limit = abs(column.sum()) - 1e-9 * np.abs(column).sum()
    if limit <= 0:
        return 1.0
    half = len(column) // 2
    first, second = np.sort(_signed_sums(column[:half])), _signed_sums(column[half:])
    above = (len(first) - np.searchsorted(first, limit - second)).sum()
    return float(2 * above / 2.0 ** len(column))


def _signed_sums(column: np.ndarray) -> np.ndarray:
    """Sums of ``±d`` for every pattern of signs, shape (2**n,)."""
    sums = np.zeros(1)
    for d in column:
        sums = np.concatenate([sums + d, sums - d])
    return sums


def _saddlepoint(column: np.ndarray) -> float:
    """Two-sided p-value of the sum of non-zero differences by the Lugannani-Rice formula.

    Exactly ``2 ** (1 - n)`` where all have one sign, never less.
    """
    size = np.abs(column)
    least = 2.0 ** (1 - len(column))
    if _one_sign(column):
        return least
    target = abs(column.sum())
    low, high = 0.0, 1.0 / size.max()
    while (size * np.tanh(high * size)).sum() < target:
        low, high = high, 2 * high
    for _ in range(200):
        tilt = (low + high) / 2
        if tilt in (low, high):  # neighbours: there is nothing between them
            break
        low, high = (tilt, high) if (size * np.tanh(tilt * size)).sum() < target else (low, tilt)
    return min(1.0, max(2 * _lugannani_rice(size, tilt, target), least))


def _lugannani_rice(size: np.ndarray, tilt: float, target: float) -> float:
    """Upper tail probability of the sum of ``±size`` at `target`, tilted by `tilt`."""
    scaled = tilt * size
    cumulant = (np.logaddexp(scaled, -scaled) - np.log(2)).sum()
    variance = (size**2 / np.cosh(np.minimum(scaled, 300.0)) ** 2).sum()
    w = np.sqrt(max(2 * (tilt * target - cumulant), 0.0))
    u = tilt * np.sqrt(variance)
    if w < 1e-4 or u < 1e-4:
        return 0.5
    density = np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi)
    return float(max(ndtr(-w) + density * (1 / u - 1 / w), 0.0))
