"""Third experiment: what the metrics have in common, mixed into few scores by principal components.

After Riche et al., "A study of parameters affecting visual saliency assessment" (2013), third experiment:
metrics that measure the same thing need not be reported twice, and a mixed score per component ranks models
by all that was measured.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from sparsight.saliency.assess.statistics import (
    Values,
    bootstrap_means,
    missing,
    rho_matrix,
    tau_matrix,
)
from sparsight.saliency.assess.tables import Measure, Scores

ENOUGH = 0.9
"""Share of the metrics' variance that the recommended set of metrics must explain."""

_PARALLEL_DRAWS = 200
_RIDGE = 1e-9

_MOST_SUBSETS = 10_000
"""Above this many sets of one size, the best one grows from the best smaller one."""

_ROWS_PER_METRIC = 5
"""Fewer rows than so many times the metrics, and components change with the sample (Gorsuch 1983)."""


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of the correlations of K metrics.

    Attributes:
        eigenvalues: (K,) variance of each component, falling, of K in all.
        explained: (K,) shares of the variance.
        chance: (K,) 95th percentile of the eigenvalues of unrelated metrics: Horn's parallel analysis (1965).
        kept: components above ``chance``, at least one.
        loadings: (K, kept) correlation of each metric with each component, rotated if that was asked for.
        loading_explained: (kept,) share of the variance that each (rotated) component explains.
        weights: (K, kept) component scores = standardised metrics @ weights; unit variance, uncorrelated.
        rotated: whether by varimax.
    """

    eigenvalues: Values
    explained: Values
    chance: Values
    kept: int
    loadings: Values
    loading_explained: Values
    weights: Values
    rotated: bool


@dataclass(frozen=True, eq=False)
class MetricSet:
    """A set of metrics that stands for all.

    Attributes:
        metrics: indices of them, best first.
        explained: share of the variance of all metrics that a linear regression on these explains.
        exhaustive: whether all sets of this size were tried.
    """

    metrics: tuple[int, ...]
    explained: float
    exhaustive: bool


@dataclass(frozen=True, eq=False)
class Mixing:
    """Metrics of one data set, mixed.

    Attributes:
        dataset: index of the data set.
        measures: (K,) the metrics.
        rows: images × models that have all of them.
        images: of these.
        left_out: metrics of the data set that miss too many scores, or do not vary.
        correlation: (K, K) Pearson, higher being better for each metric.
        spearman: (K, K) Spearman.
        components: the principal components.
        mixed, low, high: (M, kept + 1) mean component score per model, and last, overall, component scores
            weighted by the variance that they explain; with 95% bootstrap intervals over images.
        by_metric: (K, M) mean scores, higher is better.
        ranks: (kept + 1, M) of the models by each component and overall; 1 the best.
        agreement: (kept + 1, K) tau of these with the models' order by each metric.
        sets: the best set of each size, from one metric up to all but those that add nothing.
        recommended: index of the smallest set that explains ``ENOUGH``.
        caution: why it means little, or empty.
    """

    dataset: int
    measures: tuple[Measure, ...]
    rows: int
    images: int
    left_out: tuple[str, ...]
    correlation: Values
    spearman: Values
    components: Components
    mixed: Values
    low: Values
    high: Values
    by_metric: Values
    ranks: Values
    agreement: Values
    sets: tuple[MetricSet, ...]
    recommended: int
    caution: str


def mixing(scores: Scores, dataset: int, varimax: bool = False, seed: int = 0) -> Mixing | None:
    """Mix all metrics of one data set; None where fewer than two vary on the same images.

    Args:
        scores: the table.
        dataset: index of the data set.
        varimax: rotate the components that are kept, so that each metric loads on few.
        seed: of the bootstrap and the parallel analysis.
    """
    columns, left_out = _complete(scores, dataset)
    rows = scores.scored(dataset, columns)
    values = scores.oriented[rows][:, :, columns]
    table = values.reshape(-1, len(columns))
    varied = np.ptp(table, axis=0) > 1e-12 * np.maximum(1, np.abs(table).max(axis=0)) if len(rows) else []
    left_out += [
        scores.measures[column].name for column, varies in zip(columns, varied, strict=True) if not varies
    ]
    columns = [column for column, varies in zip(columns, varied, strict=True) if varies]
    if len(columns) < 2 or len(rows) < 2:
        return None
    values = scores.oriented[rows][:, :, columns]
    images, models, metrics = values.shape
    table = values.reshape(-1, metrics)
    standard = (table - table.mean(axis=0)) / table.std(axis=0, ddof=1)
    correlation = standard.T @ standard / (len(standard) - 1)
    components = principal_components(correlation, len(standard), varimax, seed)
    mixed = (standard @ components.weights).reshape(images, models, components.kept)
    share = components.loading_explained / components.loading_explained.sum()
    means, low, high = bootstrap_means(np.dstack([mixed, mixed @ share]), seed)
    by_metric = values.mean(axis=0).T
    orders = means.T
    taus = tau_matrix(np.vstack([np.round(orders, 12), np.round(by_metric, 12)]))
    sets = metric_sets(correlation)
    enough = next((index for index, each in enumerate(sets) if each.explained >= ENOUGH), len(sets) - 1)
    caution = ""
    if len(table) < _ROWS_PER_METRIC * metrics:
        caution = (
            f"{len(table)} rows are few for {metrics} metrics (at least {_ROWS_PER_METRIC} each): "
            "components change with the sample"
        )
    return Mixing(
        dataset=dataset,
        measures=tuple(scores.measures[column] for column in columns),
        rows=len(table),
        images=images,
        left_out=tuple(left_out),
        correlation=correlation,
        spearman=rho_matrix(table.T),
        components=components,
        mixed=means,
        low=low,
        high=high,
        by_metric=by_metric,
        ranks=_ranks(orders),
        agreement=taus[: len(orders), len(orders) :],
        sets=sets,
        recommended=enough,
        caution=caution,
    )


def principal_components(correlation: Values, rows: int, varimax: bool = False, seed: int = 0) -> Components:
    """Components of a correlation matrix; their signs are such that higher is better for most metrics.

    Args:
        correlation: (K, K).
        rows: that it was computed from, for the parallel analysis.
        varimax: rotate those that are kept.
        seed: of the parallel analysis.
    """
    metrics = len(correlation)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    eigenvalues, vectors = np.clip(eigenvalues[::-1], 0, None), vectors[:, ::-1]
    chance = _parallel(rows, metrics, seed)
    below = np.flatnonzero(eigenvalues <= chance)
    kept = max(1, int(below[0]) if below.size else metrics)
    loadings = vectors[:, :kept] * np.sqrt(eigenvalues[:kept])
    weights = vectors[:, :kept] / np.sqrt(eigenvalues[:kept])
    rotated = varimax and kept > 1
    if rotated:
        rotation = varimax_rotation(loadings)
        loadings, weights = loadings @ rotation, weights @ rotation
        order = np.argsort(-(loadings**2).sum(axis=0), kind="stable")
        loadings, weights = loadings[:, order], weights[:, order]
    signs = np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)
    return Components(
        eigenvalues,
        eigenvalues / metrics,
        chance,
        kept,
        loadings * signs,
        (loadings**2).sum(axis=0) / metrics,
        weights * signs,
        rotated,
    )


def varimax_rotation(loadings: Values) -> Values:
    """The rotation (k, k) of (K, k) loadings that makes the variance of their squares largest (Kaiser 1958).

    Kaiser's own normalisation of the rows is not applied.
    """
    try:
        from statsmodels.multivariate.factor_rotation import rotate_factors
    except ImportError:
        raise missing("statsmodels") from None
    rotation: Values = np.asarray(rotate_factors(loadings, "varimax")[1])
    return rotation


def metric_sets(correlation: Values) -> tuple[MetricSet, ...]:
    """The best metrics of each number: those from which the others can be told by linear regression.

    A set S explains tr(R_·S R_SS⁻¹ R_S·) / K of the variance of all K metrics of correlation R: principal
    variables, criterion M2 of McCabe (1984). All sets of a size are tried while they are at most 10,000.

    Args:
        correlation: (K, K).

    Returns:
        From one metric to K, or until nothing is left to explain.
    """
    count = len(correlation)
    found: list[MetricSet] = []
    best: tuple[int, ...] = ()
    for size in range(1, count + 1):
        exhaustive = math.comb(count, size) <= _MOST_SUBSETS
        if exhaustive:
            candidates = np.array(list(itertools.combinations(range(count), size)))
        else:
            candidates = np.array([(*best, other) for other in range(count) if other not in best])
        explained = _explained(correlation, candidates)
        top = int(explained.argmax())
        best = tuple(int(index) for index in candidates[top])
        found.append(MetricSet(_by_worth(correlation, best), float(explained[top]), exhaustive))
        if explained[top] > 1 - 1e-6:
            break
    return tuple(found)


def _explained(correlation: Values, sets: NDArray[Any]) -> Values:
    """Share of the variance of all metrics that each of (N, s) sets explains."""
    within = correlation[sets[:, :, None], sets[:, None, :]]
    across = correlation[sets]  # (N, s, K)
    # A trace of ridge: metrics that are copies of each other add nothing, and break nothing.
    solved = np.linalg.solve(within + _RIDGE * np.eye(sets.shape[1]), across)
    shares: Values = (across * solved).sum(axis=(1, 2)) / len(correlation)
    return shares


def _by_worth(correlation: Values, chosen: tuple[int, ...]) -> tuple[int, ...]:
    """The members of a set, each next one the one that adds most to those before it."""
    ordered: list[int] = []
    while len(ordered) < len(chosen):
        left = [index for index in chosen if index not in ordered]
        gains = _explained(correlation, np.array([[*ordered, index] for index in left]))
        ordered.append(left[int(gains.argmax())])
    return tuple(ordered)


def _parallel(rows: int, metrics: int, seed: int) -> Values:
    """95th percentiles of the eigenvalues of correlations of so many unrelated normal variables."""
    rng = np.random.default_rng(seed)
    # The sample covariance of unrelated variables is Wishart distributed: its Cholesky factor (Bartlett 1933)
    # is drawn at once, whatever the number of rows.
    degrees = max(rows - 1, metrics)
    lower = np.tril(rng.standard_normal((_PARALLEL_DRAWS, metrics, metrics)), -1)
    diagonal = np.sqrt(rng.chisquare(degrees - np.arange(metrics), (_PARALLEL_DRAWS, metrics)))
    lower[:, np.arange(metrics), np.arange(metrics)] = diagonal
    covariance = lower @ lower.swapaxes(1, 2)
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    draws = np.linalg.eigvalsh(covariance / (scale[:, :, None] * scale[:, None, :]))[:, ::-1]
    limits: Values = np.percentile(draws, 95, axis=0)
    return limits


def _complete(scores: Scores, dataset: int) -> tuple[list[int], list[str]]:
    """Metrics of a data set without those that would cost more than half of the images."""
    columns = scores.columns(dataset)
    counts = {column: len(scores.scored(dataset, [column])) for column in columns}
    most = max(counts.values(), default=0)
    kept = [column for column in columns if 2 * counts[column] > most]
    return kept, [scores.measures[column].name for column in columns if column not in kept]


def _ranks(orders: Values) -> Values:
    ranks: Values = scipy.stats.rankdata(-np.round(orders, 12), axis=1)
    return ranks
