"""Joint model of all structures of a segmenter: first failures, then the scores of what worked."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from umdlib.errors import InputError, unknown_name
from umdlib.statistics import bootstrap
from umdlib.statistics.bootstrap import FEWEST
from umdlib.statistics.failures import failed, failure_table
from umdlib.statistics.pairs import condition, paired_differences, standardised_means

_METHODS = ("gee", "mixed")
_DIFFERING = 5  # subjects whose failure rates differ, for an interval of the difference
CLUSTERS = 20  # subjects of a sandwich variance: p-values of fewer clusters are far too small
_SMALL = 50  # clusters; below, the sandwich variance is corrected (Mancl & DeRouen 2001)


@dataclass(frozen=True)
class _Fit:
    """Coefficients with covariance, how they were fitted, and what went wrong before."""

    beta: np.ndarray
    covariance: np.ndarray
    clusters: int
    method: str
    note: str = ""


def hurdle_table(
    scores: pd.DataFrame,
    *,
    metric: str = "dice",
    below: float = 0.1,
    method: str = "gee",
    empty: str = "drop",
    step: int | None = 0,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Modality by structure, with subjects as clusters: failures, then scores without failure.

    Parameters
    ----------
    scores
        Score table.
    metric
        Score of the second part.
    below
        What counts as a failure, see `umdlib.statistics.failures.failed`. With several seeds a subject fails
        where most of them do; its score is the mean of those that do not.
    method
        Second part: ``gee`` (exchangeable) or ``mixed`` (random intercept and modality effect per
        subject, with a guard that falls back to GEE).
    empty, step
        See `umdlib.statistics.comparison.compare`.
    n_resamples, seed
        Of the subject bootstrap: of both parts below 20 subjects, and where a model does not fit.

    Returns
    -------
    pandas.DataFrame
        `session, segmenter, part` (``failure`` or ``score``), `structure` (a name, or ``all``: the
        mean of the structures' effects), `estimate, ci_low, ci_high, p_value` of PET against
        structural, `p_interaction` (is the effect the same in every structure; on the ``all``
        row), `n_subjects, n_rows, scale` (``log odds``, ``risk difference`` or the metric),
        `method, note`.

    Notes
    -----
    GEE: Liang and Zeger (1986), https://doi.org/10.1093/biomet/73.1.13; small-sample variance:
    Mancl and DeRouen (2001), https://doi.org/10.1111/j.0006-341X.2001.00126.x. A mixed model can
    report that it converged with every fixed effect exactly 0; such a fit is refused. Below 20 subjects
    there is no joint model: a sandwich variance of so few clusters is far too small. Effects are then
    means over subjects with the interval, and the p-value, of `umdlib.statistics.bootstrap.interval_of_mean`.
    """
    if method not in _METHODS:
        raise unknown_name("method", method, _METHODS)
    chosen = condition(scores, step=step)
    available = chosen[chosen["status"].ne("unavailable")]
    if step is None and available.groupby("segmenter")["step"].nunique().gt(1).any():
        raise InputError("A hurdle model is of one step: give it where the table holds several.")
    keys = ["subject", "session", "structure", "segmenter"]
    fails = failure_table(chosen, below=below).set_index(keys).add_prefix("fails_").reset_index()
    pairs = paired_differences(chosen, metric=metric, empty=empty)[keys].merge(fails, on=keys)
    # of several seeds, those that did not fail are scores, also where most did
    works = chosen[~failed(chosen, below=below).fillna(False).to_numpy(bool)]
    scored = paired_differences(works, metric=metric, empty=empty)[[*keys, "structural", "pet"]]
    pairs = pairs.merge(scored, on=keys, how="left")
    pairs["subject"] = pd.factorize(pairs["subject"], sort=True)[0]  # numbers are grouped faster than names
    parts = []
    for (session, segmenter), rows in pairs.groupby(["session", "segmenter"], sort=False):
        both = [_failure_part(rows, n_resamples, seed)]
        both.append(_score_part(rows, metric, method, n_resamples, seed))
        head = {"session": session, "segmenter": segmenter}
        parts.append(pd.concat(both, ignore_index=True).assign(**head))
    if not parts:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.concat(parts, ignore_index=True)[_COLUMNS]


_COLUMNS = ["session", "segmenter", "part", "structure", "estimate", "ci_low", "ci_high", "p_value"]
_COLUMNS += ["p_interaction", "n_subjects", "n_rows", "scale", "method", "note"]


def _long(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Two rows per pair, with `y` and `pet`; without undefined values."""
    names = {"score": ("structural", "pet"), "fails": ("fails_structural", "fails_pet")}[value]
    sides = [
        rows[["subject", "structure"]].assign(y=rows[name].astype(float), pet=float(i))
        for i, name in enumerate(names)
    ]
    return pd.concat(sides).dropna(subset="y").sort_values("subject", kind="stable")


def _failure_part(rows: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Clustered logistic model of failure, structure + modality."""
    long = _long(rows, "fails")
    rates = long.groupby("pet")["y"].mean()
    head = {"part": "failure", "structure": "all", "n_subjects": long["subject"].nunique()}
    head |= {"n_rows": len(long), "p_interaction": np.nan}
    if not long["y"].any() or long["y"].all():
        word = "no" if not long["y"].any() else "every"
        blank = dict.fromkeys(("estimate", "ci_low", "ci_high", "p_value"), np.nan)
        note = f"{word} prediction fails"
        return pd.DataFrame([head | blank | {"scale": "log odds", "method": "", "note": note}])
    mixed = long.groupby("structure")["y"].transform("mean")
    used = long[mixed.gt(0) & mixed.lt(1)]
    fit = None
    if rates.between(0, 1, inclusive="neither").all() and used["subject"].nunique() >= CLUSTERS:
        design = pd.get_dummies(used["structure"], dtype=float).assign(pet=used["pet"])
        fit = _gee(used["y"], design.to_numpy(), used["subject"], "Binomial")
    if fit is not None and abs(fit.beta[-1]) < 15:
        contrast = np.zeros(len(fit.beta))
        contrast[-1] = 1
        row = _effect(fit, contrast) | {"scale": "log odds", "n_rows": len(used)}
    else:
        row = _risk_difference(rows, n_resamples, seed)
    return pd.DataFrame([head | row])


def _risk_difference(rows: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, object]:
    """Difference of the failure rates, PET minus structural, with a subject bootstrap."""
    gap = rows.assign(gap=rows["fails_pet"].astype(float) - rows["fails_structural"].astype(float))
    cells = gap.pivot_table(index="subject", columns="structure", values="gap", sort=False)
    means = standardised_means(cells).to_numpy()
    of_mean = standardised_means(cells, jackknife=True).to_numpy()
    found = bootstrap.interval_of_mean(of_mean, "dice", n_resamples, seed)
    reasons = []
    if len(means) < CLUSTERS:
        few = f", and of {len(means)} no test" if len(means) < FEWEST else ""
        reasons.append(f"fewer than {CLUSTERS} subjects: no joint model{few}")
    else:
        reasons.append("no finite odds ratio: one modality never fails, or the model did not fit")
    if 0 < (n_differ := int(np.count_nonzero(means))) < _DIFFERING:
        found = found._replace(low=np.nan, high=np.nan, p_value=np.nan)
        reasons.append(f"no interval, no test: the rates differ in {n_differ} of {len(means)} subjects alone")
    about = {"scale": "risk difference", "method": "means over subjects", "note": "; ".join(reasons)}
    return found.columns() | about


def _score_part(rows: pd.DataFrame, metric: str, method: str, n_resamples: int, seed: int) -> pd.DataFrame:
    """Linear model of the scores without failure, one modality effect per structure."""
    long = _long(rows, "score")
    # A structure that one subject alone was scored on has no variance to speak of.
    counts = long.pivot_table(index="structure", columns="pet", values="y", aggfunc="count")
    enough = counts.ge(2).all(axis=1) & (counts.shape[1] == 2)
    long = long[long["structure"].isin(counts.index[enough])]
    head = {"part": "score", "scale": metric, "n_subjects": long["subject"].nunique()}
    head |= {"n_rows": len(long)}
    if head["n_subjects"] < FEWEST:
        blank = dict.fromkeys(("estimate", "ci_low", "ci_high", "p_value", "p_interaction"), np.nan)
        note = f"fewer than {FEWEST} subjects with scores on both modalities: no joint model"
        return pd.DataFrame([head | blank | {"structure": "all", "method": "", "note": note}])
    if head["n_subjects"] < CLUSTERS:
        lines = _subject_means(long, metric, n_resamples, seed)
        return pd.DataFrame([head | line for line in lines])
    dummies = pd.get_dummies(long["structure"], dtype=float)
    names, base = list(dummies), dummies.to_numpy()
    design = np.hstack([base, base * long["pet"].to_numpy()[:, None]])
    fit = _mixed(long, design) if method == "mixed" else None
    note = "mixed model refused" if method == "mixed" and fit is None else ""
    fit = fit or _gee(long["y"], design, long["subject"], "Gaussian")
    fit = fit or _bootstrap_fit(long, names, n_resamples, seed)
    effects = np.hstack([np.zeros((len(names), len(names))), np.eye(len(names))])
    overall = _effect(fit, effects.mean(axis=0)) | {"structure": "all"}
    overall["p_interaction"] = _same_effect(fit, effects)
    lines = [_effect(fit, e) | {"structure": s} for s, e in zip(names, effects, strict=True)]
    table = pd.DataFrame([head | line for line in (overall, *lines)])
    table["note"] = [note or str(n) for n in table["note"]]
    return table


def _subject_means(long: pd.DataFrame, metric: str, n_resamples: int, seed: int) -> list[dict[str, object]]:
    """Mean difference over subjects, of all structures together and of each."""
    wide = long.pivot_table(index=["subject", "structure"], columns="pet", values="y")
    cells = (wide[1.0] - wide[0.0]).dropna().unstack("structure")
    lines = []
    for name, values in (("all", standardised_means(cells, jackknife=True)), *cells.items()):
        found = bootstrap.interval_of_mean(values.to_numpy(), metric, n_resamples, seed)
        note = f"fewer than {CLUSTERS} subjects: no joint model"
        note += f", and of {found.n_subjects} no test" if found.n_subjects < FEWEST else ""
        about = {"method": "means over subjects", "note": note, "n_subjects": found.n_subjects}
        lines.append({"structure": name, **found.columns(), **about})
    complete = cells.dropna()
    k = cells.shape[1]
    lines[0]["p_interaction"] = np.nan
    if len(complete) > k > 1:
        covariance = np.cov(complete.to_numpy().T) / len(complete)
        fit = _Fit(complete.mean().to_numpy(), covariance, len(complete), "")
        lines[0]["p_interaction"] = _same_effect(fit, np.eye(k))
    return lines


def _effect(fit: _Fit, contrast: np.ndarray) -> dict[str, object]:
    """Estimate, 95 % interval and p-value of a contrast, by t with subjects - 1 degrees."""
    estimate = float(contrast @ fit.beta)
    error = float(np.sqrt(contrast @ fit.covariance @ contrast))
    half = _quantile(fit.clusters - 1) * error
    p_value = float(2 * scipy.stats.t.sf(abs(estimate) / error, fit.clusters - 1)) if error > 0 else np.nan
    return {
        "estimate": estimate,
        "ci_low": estimate - half,
        "ci_high": estimate + half,
        "p_value": p_value,
        "method": fit.method,
        "note": fit.note,
    }


@functools.cache
def _quantile(freedom: int) -> float:
    """Student's t above which 2.5 % lie."""
    return scipy.stats.t.ppf(0.975, freedom)


def _same_effect(fit: _Fit, effects: np.ndarray) -> float:
    """P-value that all structures share one modality effect, by Hotelling's F.

    Wald's chi-square with as many degrees as structures rejects far too often at 20 subjects.
    NaN with one structure, or with no more subjects than structures.
    """
    contrasts = effects[1:] - effects[:1]
    q, n = len(contrasts), fit.clusters
    if not 0 < q < n:
        return float("nan")
    difference = contrasts @ fit.beta
    covariance = contrasts @ fit.covariance @ contrasts.T
    if np.linalg.matrix_rank(covariance) < q:
        return float("nan")
    statistic = float(difference @ np.linalg.solve(covariance, difference))
    return float(scipy.stats.f.sf(statistic * (n - q) / (q * (n - 1)), q, n - q))


def _gee(y: pd.Series, design: np.ndarray, subject: pd.Series, family: str) -> _Fit | None:
    """GEE with exchangeable correlation and a sandwich variance; None where it does not fit."""
    import statsmodels.api as sm

    clusters = subject.nunique()
    small = clusters < _SMALL
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            kind, values = getattr(sm.families, family), y.to_numpy()
            # whether the design holds a constant changes no number, and takes as long to find out as the fit
            begun = sm.GLM(values, design, family=kind(), hasconst=False).fit()
            model = sm.GEE(
                values,
                design,
                groups=subject.to_numpy(),
                family=kind(),
                cov_struct=sm.cov_struct.Exchangeable(),
                hasconst=False,
            )
            how = "bias_reduced" if small else "robust"
            result = model.fit(start_params=begun.params, cov_type=how)
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
            return None
    variances = np.diag(result.cov_params())
    if not (np.isfinite(result.params).all() and np.isfinite(variances).all()):
        return None
    if any("onverge" in str(w.message) for w in caught) or (variances < 0).any():
        return None
    name = "GEE, exchangeable" + (", small-sample variance" if small else "")
    return _Fit(np.asarray(result.params), np.asarray(result.cov_params()), clusters, name)


def _mixed(long: pd.DataFrame, design: np.ndarray) -> _Fit | None:
    """Random intercept and modality effect per subject by REML; None where it cannot be trusted.

    Without the random modality effect, 13 structures of a subject would count as 13 replications.
    """
    import statsmodels.api as sm

    y, random = long["y"].to_numpy(), np.column_stack([np.ones(len(long)), long["pet"]])
    rough = np.linalg.lstsq(design, y, rcond=None)[0]
    # In units of the residual spread: the optimiser and its checks know nothing of the scale, and
    # variances near 0.004, usual for DSC, look to it like none.
    unit = float((y - design @ rough).std())
    if unit < 1e-9:
        return None
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            model = sm.MixedLM(y / unit, design, groups=long["subject"].to_numpy(), exog_re=random)
            result = model.fit(reml=True, method="lbfgs")
        except (np.linalg.LinAlgError, ValueError):
            return None
    k = design.shape[1]
    beta = np.asarray(result.fe_params) * unit
    covariance = np.asarray(result.cov_params())[:k, :k] * unit**2
    sound = result.converged and np.isfinite(beta).all() and np.isfinite(covariance).all()
    # statsmodels issue 10239: "converged" with fixed effects of exactly 0.0.
    if not sound or (beta == 0).any() or (np.diag(covariance) <= 0).any():
        return None
    if np.linalg.eigvalsh(result.cov_re).min() < 1e-6:
        return None
    # Least squares and REML estimate the same means; far apart means that the optimiser is lost.
    if np.abs(rough - beta).max() > 10 * np.sqrt(np.diag(covariance)).max():
        return None
    name = "mixed model, random intercept and modality effect"
    return _Fit(beta, covariance, long["subject"].nunique(), name)


def _bootstrap_fit(long: pd.DataFrame, names: Sequence[str], n_resamples: int, seed: int) -> _Fit:
    """Cell means and their covariance from a subject bootstrap."""
    cells = long.pivot_table(index="subject", columns=["pet", "structure"], values="y")
    cells = cells.reindex(columns=[(p, s) for p in (0.0, 1.0) for s in names])
    counts, _ = bootstrap.seeded_counts(len(cells), n_resamples, seed)
    means = bootstrap.resampled_means(cells.to_numpy(), counts)
    means = means[np.isfinite(means).all(axis=1)]
    k = len(names)
    to_effects = np.block([[np.eye(k), np.zeros((k, k))], [-np.eye(k), np.eye(k)]])
    beta = to_effects @ cells.mean().to_numpy()
    covariance = to_effects @ np.atleast_2d(np.cov(means.T)) @ to_effects.T
    return _Fit(beta, covariance, len(cells), "subject bootstrap", "GEE did not fit")
