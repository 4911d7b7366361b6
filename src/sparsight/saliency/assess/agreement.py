"""First experiment: do eye fixations and segmented regions rank models alike, and which metrics agree?

After Riche, Duvinage, Mancas, Gosselin and Dutoit, "A study of parameters affecting visual saliency
assessment" (2013), first experiment: two kinds of ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from sparsight.saliency.assess.statistics import (
    Concordance,
    RankCorrelation,
    Values,
    bootstrap_means,
    concordance,
    critical_difference,
    friedman,
    nemenyi,
    pair_signs,
    rank_correlation,
    rho_matrix,
    tau_matrix,
)
from sparsight.saliency.assess.tables import FIXATIONS, REGIONS, Measure, Scores

SAME = 0.7
"""Metrics stand in one group where their rankings correlate (tau) at least so much on average."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """How one metric ranks the models on one data set.

    Attributes:
        dataset: index of the data set.
        measure: the metric.
        images: images that every model has a score on.
        means: (M,) mean scores.
        low, high: (M,) ends of the means' 95% bootstrap intervals.
        ranks: (M,) of the means, 1 the best, ties shared.
        chi2, p, w: Friedman's test of the models over the images, and its effect size.
        mean_ranks: (M,) mean over the images of a model's rank on each, 1 the best.
        critical: difference of mean ranks that is significant (Nemenyi, 5%).
        pairs: (M, M) p of each pair of models (Nemenyi); NaN with a single image.
        caution: why the test means little, or empty.
    """

    dataset: int
    measure: Measure
    images: int
    means: Values
    low: Values
    high: Values
    ranks: Values
    chi2: float
    p: float
    w: float
    mean_ranks: Values
    critical: float
    pairs: Values
    caution: str


@dataclass(frozen=True, eq=False)
class PerImage:
    """Both truths on the same images of one data set.

    Attributes:
        dataset: index of the data set.
        images: names of the images.
        fixations, regions: indices of the metrics.
        tau: (F, G) mean over the images of the tau between two metrics' orders of the models.
        tau_low, tau_high: (F, G) 95% bootstrap intervals.
        between: (I,) per image, mean tau of the metrics of one truth with those of the other.
        within: (I,) per image, mean tau of two metrics of the same truth: what could be hoped for.
        means: mean of ``between`` and of ``within``, each with its bootstrap interval.
        p_between: Wilcoxon's signed-rank test of ``between`` against 0.
        p_difference: Wilcoxon's signed-rank test of ``within`` − ``between``.
        same_best: share of the images on which both truths name the same best model.
        difficulty: (M,) Spearman's rho over images of a model's mean rank score by one truth and the other:
            whether a picture that is hard by one is hard by the other.
        caution: why it means little, or empty.
    """

    dataset: int
    images: tuple[str, ...]
    fixations: tuple[int, ...]
    regions: tuple[int, ...]
    tau: Values
    tau_low: Values
    tau_high: Values
    between: Values
    within: Values
    means: tuple[tuple[float, float, float], tuple[float, float, float]]
    p_between: float
    p_difference: float
    same_best: float
    difficulty: Values
    caution: str


@dataclass(frozen=True, eq=False)
class Agreement:
    """What the rankings have in common.

    Attributes:
        rankings: (R,) one per data set and metric.
        tau, rho: (R, R) correlations of the models' mean scores.
        order: (R,) rankings so that similar ones stand beside each other (average linkage on 1 − tau).
        groups: (R,) group of each ranking: those of one agree with tau ≥ ``SAME`` on average.
        concordance: truth → Kendall's W of its rankings; ``"all"`` of all.
        consensus: truth → (M,) mean rank over its rankings.
        between: the two consensus rankings against each other, where there are both.
        per_image: one for each data set with both truths.
    """

    rankings: tuple[Ranking, ...]
    tau: Values
    rho: Values
    order: NDArray[np.int64]
    groups: NDArray[np.int64]
    concordance: dict[str, Concordance]
    consensus: dict[str, Values]
    between: RankCorrelation | None
    per_image: tuple[PerImage, ...]


def agreement(scores: Scores, seed: int = 0) -> Agreement:
    """Rank the models by every metric on every data set and compare the rankings.

    Args:
        scores: of at least two models and metrics.
        seed: of the bootstrap and the permutations.
    """
    rankings = tuple(
        ranking(scores, dataset, column, seed)
        for dataset in range(len(scores.datasets))
        for column in scores.columns(dataset)
    )
    # Rounded, so that means that differ by summation alone are ties.
    better = np.array([-each.ranks for each in rankings])
    tau = tau_matrix(better)
    order, groups = _group(tau)
    truths = [each.measure.truth for each in rankings]
    by_truth = {
        truth: better[[index for index, name in enumerate(truths) if name == truth]]
        for truth in dict.fromkeys(truths)
    }
    consensus = {truth: -rows.mean(axis=0) for truth, rows in by_truth.items()}
    between = None
    if FIXATIONS in consensus and REGIONS in consensus:
        between = rank_correlation(consensus[FIXATIONS], consensus[REGIONS], seed)
    return Agreement(
        rankings,
        tau,
        rho_matrix(better),
        order,
        groups,
        {truth: concordance(rows, seed) for truth, rows in {**by_truth, "all": better}.items()},
        consensus,
        between,
        tuple(
            found
            for dataset in range(len(scores.datasets))
            if (found := per_image(scores, dataset, seed)) is not None
        ),
    )


def ranking(scores: Scores, dataset: int, column: int, seed: int = 0) -> Ranking:
    """Rank the models by one metric over the images of one data set that all of them have a score on."""
    rows = scores.scored(dataset, [column])
    values = scores.values[rows, :, column]
    measure = scores.measures[column]
    means, low, high = bootstrap_means(values, seed)
    worse = -values if measure.higher_is_better else values
    models = values.shape[1]
    ranks = scipy.stats.rankdata(np.round(worse.mean(axis=0), 12))
    if len(rows) < 2:
        nothing = np.full((models, models), np.nan)
        return Ranking(
            dataset, measure, len(rows), means, low, high, ranks, np.nan, np.nan, np.nan,
            ranks, np.nan, nothing, "a single image tells nothing about others",
        )  # fmt: skip
    test = friedman(worse)
    return Ranking(
        dataset,
        measure,
        len(rows),
        means,
        low,
        high,
        ranks,
        test.chi2,
        test.p,
        test.w,
        test.mean_ranks,
        critical_difference(models, len(rows)),
        nemenyi(worse),
        test.caution,
    )


def per_image(scores: Scores, dataset: int, seed: int = 0) -> PerImage | None:
    """Compare both truths on the images that have both; None where there are none."""
    fixations, regions = scores.columns(dataset, FIXATIONS), scores.columns(dataset, REGIONS)
    if not fixations or not regions:
        return None
    rows = scores.scored(dataset, [*fixations, *regions])
    if len(rows) < 2:
        return None
    better = scores.oriented[rows]
    # Signs of all pairs of models, as unit vectors: (I, F, P) and (I, G, P); all-tied orders count as 0.
    by_fixations = _unit(pair_signs(better[:, :, fixations].swapaxes(1, 2)))
    by_regions = _unit(pair_signs(better[:, :, regions].swapaxes(1, 2)))
    tau = by_fixations @ by_regions.swapaxes(1, 2)
    means, low, high = bootstrap_means(tau, seed)
    between = tau.mean(axis=(1, 2))
    inner = [_within(by_fixations), _within(by_regions)]
    known = [each for each in inner if each is not None]
    within = np.mean(known, axis=0) if known else np.full(len(rows), np.nan)
    centres = [tuple(float(part) for part in bootstrap_means(each, seed)) for each in (between, within)]
    # A model's standing among all images: ranks make metrics of any scale comparable.
    standing = scipy.stats.rankdata(better, axis=0)
    by_truth = [standing[:, :, columns].mean(axis=2) for columns in (fixations, regions)]
    best = [
        scipy.stats.rankdata(better[:, :, columns], axis=1).mean(axis=2).argmax(axis=1)
        for columns in (fixations, regions)
    ]
    difficulty = np.array(
        [
            rho_matrix(np.array([first, second]))[0, 1]
            for first, second in zip(by_truth[0].T, by_truth[1].T, strict=True)
        ]
    )
    return PerImage(
        dataset,
        tuple(scores.images[row] for row in rows),
        tuple(fixations),
        tuple(regions),
        means,
        low,
        high,
        between,
        within,
        (centres[0], centres[1]),  # type: ignore[arg-type]
        _signed_rank(between),
        _signed_rank(within - between),
        float((best[0] == best[1]).mean()),
        difficulty,
        f"{len(rows)} images are few" if len(rows) < 20 else "",
    )


def _unit(signs: Values) -> Values:
    length = np.sqrt((signs**2).sum(axis=-1, keepdims=True))
    return np.asarray(np.divide(signs, length, out=np.zeros_like(signs), where=length > 0))


def _within(unit: Values) -> Values | None:
    """Per image, the mean tau of two different metrics of one truth."""
    count = unit.shape[1]
    if count < 2:
        return None
    left, right = np.triu_indices(count, 1)
    found: Values = (unit @ unit.swapaxes(1, 2))[:, left, right].mean(axis=1)
    return found


def _signed_rank(values: Values) -> float:
    if not np.isfinite(values).all() or not values.any():
        return float("nan")
    return float(scipy.stats.wilcoxon(values).pvalue)


def _group(tau: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which similar rankings are neighbours, and groups of those that agree."""
    if len(tau) < 2:
        return np.arange(len(tau)), np.ones(len(tau), np.int64)
    distance = 1 - np.nan_to_num(tau, nan=0.0)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform(np.clip(distance, 0, 2), checks=False), "average")
    tree = hierarchy.optimal_leaf_ordering(tree, squareform(np.clip(distance, 0, 2), checks=False))
    groups = hierarchy.fcluster(tree, 1 - SAME + 1e-9, "distance")
    return hierarchy.leaves_list(tree).astype(np.int64), groups.astype(np.int64)
