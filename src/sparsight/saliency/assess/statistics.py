"""Tests on ranks with their effect sizes, and the correction for making many of them.

Scores of saliency metrics are skewed, bounded and tied, so every test here is one on ranks. Each result says
how strong an effect is beside how sure one may be that there is one, and why it means little where the data
are too few.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError
from sparsight.registry import unknown

Values = NDArray[np.float64]

ALPHA = 0.05
"""The level at which a sentence says that there is an effect."""

FEWEST_IN_GROUP = 5
"""Below this many values in a group, chi-square is no approximation of Kruskal-Wallis' H (Siegel 1956)."""

_FEWEST_BLOCKS = 10
"""Friedman's chi-square wants more than 10 blocks and more than 5 columns to be near (Demšar 2006, 3.2.2)."""

_FEW_THINGS = 6
"""Rankings of fewer models agree or differ by chance too often to be shown without a word."""

_EXACT_PERMUTATIONS = 8  # 8! = 40,320 orders are looked at one and all
_PERMUTATIONS = 9_999
_BOOTSTRAPS = 2_000


@dataclass(frozen=True, eq=False)
class KruskalWallis:
    """Whether groups of values differ, for C columns of values at once.

    Attributes:
        h: (C,) statistic, corrected for ties; NaN for a column without any variation.
        df: groups less one.
        p: (C,) of H under chi-square.
        epsilon_squared: (C,) effect size H / (n − 1), from 0 to 1.
        counts: (G,) values in each group.
        caution: why the test means little, or empty.
    """

    h: Values
    df: int
    p: Values
    epsilon_squared: Values
    counts: NDArray[np.int64]
    caution: str


@dataclass(frozen=True, eq=False)
class Friedman:
    """Whether k columns differ over n blocks (all of which hold a value for every column).

    Attributes:
        chi2: statistic, corrected for ties.
        df: k − 1.
        p: of chi2.
        f: the less conservative statistic of Iman and Davenport (1980), with (k − 1, (k − 1)(n − 1)) degrees.
        p_f: of f.
        w: Kendall's coefficient of concordance, the effect size: 0 no common order, 1 the same everywhere.
        mean_ranks: (k,) 1 is the lowest value.
        blocks: n.
        caution: why the test means little, or empty.
    """

    chi2: float
    df: int
    p: float
    f: float
    p_f: float
    w: float
    mean_ranks: Values
    blocks: int
    caution: str


@dataclass(frozen=True)
class Concordance:
    """Kendall's W of several judges who rank the same things.

    Attributes:
        w: 0 no agreement, 1 the same order by all.
        p: share of shuffled rankings that agree at least as well (Legendre 2005), NaN for one judge.
        judges: how many.
        things: how many things each ranked.
        caution: why it means little, or empty.
    """

    w: float
    p: float
    judges: int
    things: int
    caution: str


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's tau-b and Spearman's rho of two rankings of n things, with two-sided permutation p."""

    tau: float
    p_tau: float
    rho: float
    p_rho: float
    n: int
    caution: str


def kruskal_wallis(values: ArrayLike, labels: ArrayLike) -> KruskalWallis:
    """Kruskal and Wallis' H (1952), for many columns at once.

    H = (n − 1) Σ n_g (r̄_g − r̄)² / Σ (r_i − r̄)² on ranks r, which holds with ties, too.

    Args:
        values: (n,) or (n, C) finite numbers.
        labels: (n,) group of each row, whole numbers.

    Raises:
        SparsightError: there is one group only.
    """
    table = np.asarray(values, np.float64)
    table = table.reshape(len(table), -1)
    _, group = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.bincount(group)
    if len(counts) < 2:
        raise SparsightError(
            f"a Kruskal-Wallis test needs two groups and got {len(counts)}: give values of more than one."
        )
    n = len(table)
    ranks = scipy.stats.rankdata(table, axis=0) - (n + 1) / 2
    sums = (group[:, None] == np.arange(len(counts))).T.astype(np.float64) @ ranks
    total = (ranks**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        h = np.where(total > 0, (n - 1) * (sums**2 / counts[:, None]).sum(axis=0) / total, np.nan)
    df = len(counts) - 1
    caution = ""
    if counts.min() < FEWEST_IN_GROUP:
        caution = f"the smallest group holds {counts.min()} values, fewer than {FEWEST_IN_GROUP}"
    return KruskalWallis(h, df, scipy.stats.chi2.sf(h, df), h / (n - 1), counts, caution)


def friedman(values: ArrayLike) -> Friedman:
    """Friedman's test (1937) with Kendall's W as its effect size; formulas as in Demšar (2006), 3.2.2.

    χ² = (k − 1) n² Σ (R̄_j − R̄)² / Σ (r_ij − R̄)², which holds with ties, too.

    Args:
        values: (n, k) finite numbers, a row per block.

    Raises:
        SparsightError: fewer than two columns or two blocks.
    """
    table = np.asarray(values, np.float64)
    n, k = table.shape
    if n < 2 or k < 2:
        raise SparsightError(
            f"a Friedman test compares at least two columns over two blocks, not {k} over {n}: "
            "give it more models or more images."
        )
    ranks = scipy.stats.rankdata(table, axis=1)
    mean_ranks = ranks.mean(axis=0)
    middle = (k + 1) / 2
    total = ((ranks - middle) ** 2).sum()
    chi2 = (k - 1) * n**2 * ((mean_ranks - middle) ** 2).sum() / total if total > 0 else 0.0
    room = n * (k - 1) - chi2
    f = (n - 1) * chi2 / room if room > 1e-9 * n * k else math.inf
    caution = ""
    if n <= _FEWEST_BLOCKS:
        caution = f"{n} images are too few for the chi-square approximation (more than {_FEWEST_BLOCKS})"
    return Friedman(
        float(chi2),
        k - 1,
        float(scipy.stats.chi2.sf(chi2, k - 1)),
        float(f),
        float(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        float(chi2 / (n * (k - 1))),
        mean_ranks,
        n,
        caution,
    )


def concordance(ranks: ArrayLike, seed: int = 0) -> Concordance:
    """Kendall's W (1939), corrected for ties, with a permutation test.

    Args:
        ranks: (judges, things) ranks or scores of one direction.
        seed: of the permutations.
    """
    table = np.asarray(ranks, np.float64)
    judges, things = table.shape
    if judges < 2 or things < 2:
        return Concordance(math.nan, math.nan, judges, things, "agreement takes two judges and two things")
    w = friedman(table).w
    centred = scipy.stats.rankdata(table, axis=1) - (things + 1) / 2
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.broadcast_to(centred, (_PERMUTATIONS, judges, things)), axis=2)
    by_chance = (shuffled.sum(axis=1) ** 2).sum(axis=1)
    reached = (centred.sum(axis=0) ** 2).sum()
    p = (1 + np.count_nonzero(by_chance >= reached - 1e-9)) / (1 + _PERMUTATIONS)
    caution = f"{things} models are few" if things < _FEW_THINGS else ""
    return Concordance(w, float(p), judges, things, caution)


def rank_correlation(a: ArrayLike, b: ArrayLike, seed: int = 0) -> RankCorrelation:
    """Kendall's tau-b and Spearman's rho of two lists of the same things.

    The two-sided p is exact, from all orders, up to 8 things; from 9,999 random orders above.

    Args:
        a, b: (n,) finite numbers.
        seed: of the random orders.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n = len(first)
    if n < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return RankCorrelation(math.nan, math.nan, math.nan, math.nan, n, "there is no order to compare")
    if n <= _EXACT_PERMUTATIONS:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        rng = np.random.default_rng(seed)
        orders = rng.permuted(np.tile(np.arange(n), (_PERMUTATIONS, 1)), axis=1)
        orders[0] = np.arange(n)  # the order that was found counts as one of them
    tau, p_tau = _permuted(pair_signs(first), pair_signs(second), pair_signs(second[orders]))
    rho, p_rho = _permuted(_centred_ranks(first), _centred_ranks(second), _centred_ranks(second[orders]))
    return RankCorrelation(tau, p_tau, rho, p_rho, n, _few_things(n))


def _permuted(one: Values, two: Values, shuffled: Values) -> tuple[float, float]:
    """The correlation of two centred lists, and the share of shuffled second ones that reach it."""
    scale = math.sqrt((one**2).sum() * (two**2).sum())
    value = float((one * two).sum() / scale)
    return value, float(np.mean(np.abs(shuffled @ one / scale) >= abs(value) - 1e-9))


def pair_signs(values: Values) -> Values:
    """Signs of the differences of all pairs along the last axis: what Kendall's tau is a correlation of.

    Args:
        values: (..., n).

    Returns:
        (..., n (n − 1) / 2) of −1, 0 and 1.
    """
    left, right = np.triu_indices(values.shape[-1], 1)
    return np.sign(values[..., left] - values[..., right])


def _centred_ranks(values: Values) -> Values:
    ranks: Values = scipy.stats.rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2
    return ranks


def tau_matrix(values: Values) -> Values:
    """Kendall's tau-b between all rows of (R, n) numbers: (R, R), NaN where a row has no order."""
    return _cosines(pair_signs(values))


def rho_matrix(values: Values) -> Values:
    """Spearman's rho between all rows of (R, n) numbers: (R, R), NaN where a row has no order."""
    return _cosines(_centred_ranks(values))


def _cosines(rows: Values) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.asarray(unit @ unit.T)


def nemenyi(values: ArrayLike) -> Values:
    """Nemenyi's test (1963) of all pairs of k columns after Friedman's: (k, k) p, adjusted for the pairs."""
    posthocs = _posthocs()
    table: Values = posthocs.posthoc_nemenyi_friedman(np.asarray(values, np.float64)).to_numpy()
    return table


@functools.lru_cache(maxsize=256)
def _range_quantile(columns: int, alpha: float) -> float:
    return float(scipy.stats.studentized_range.ppf(1 - alpha, columns, np.inf) / math.sqrt(2))


def critical_difference(columns: int, blocks: int, alpha: float = ALPHA) -> float:
    """The difference of mean ranks above which two columns differ (Demšar 2006, 3.2.2): q √(k(k+1) / 6n)."""
    return _range_quantile(columns, alpha) * math.sqrt(columns * (columns + 1) / (6 * blocks))


def dunn(groups: Sequence[ArrayLike]) -> Values:
    """Dunn's test (1964) of all pairs of groups after Kruskal-Wallis: (G, G) p, adjusted by Holm."""
    posthocs = _posthocs()
    lists = [np.asarray(group, np.float64).tolist() for group in groups]
    table: Values = np.array(posthocs.posthoc_dunn(lists))
    pairs = np.triu_indices(len(lists), 1)
    table[pairs] = table.T[pairs] = adjust(table[pairs], "holm")
    return table


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """Cliff's delta (1993): P(a > b) − P(a < b) of values drawn from each, from −1 to 1."""
    first, second = np.asarray(a, np.float64), np.sort(np.asarray(b, np.float64))
    if not first.size or not second.size:
        return math.nan
    below = np.searchsorted(second, first, "left").sum()
    above = (len(second) - np.searchsorted(second, first, "right")).sum()
    return float((below - above) / (first.size * second.size))


def adjust(p: ArrayLike, method: str) -> Values:
    """p of many tests, corrected for their number; NaN stays NaN and counts as no test.

    Args:
        p: of any shape.
        method: ``"holm"`` (any wrong finding at all, Holm 1979) or ``"fdr_bh"`` (the share of wrong ones
            among the findings, Benjamini and Hochberg 1995). statsmodels has both, too, but collects garbage
            at every call, which takes a second in a large process.

    Raises:
        SparsightError: another method.
    """
    values = np.asarray(p, np.float64)
    adjusted = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    found = values[known]
    count = found.size
    order = np.argsort(found, kind="stable")
    rising = found[order]
    if method == "holm":
        rising = np.maximum.accumulate(rising * np.arange(count, 0, -1))
    elif method == "fdr_bh":
        rising = np.minimum.accumulate((rising * count / np.arange(1, count + 1))[::-1])[::-1]
    else:
        raise SparsightError(unknown("correction for many tests", method, ("holm", "fdr_bh")))
    corrected = np.empty(count)
    corrected[order] = np.minimum(rising, 1)
    adjusted[known] = corrected
    return adjusted


def bootstrap_means(values: Values, seed: int = 0) -> tuple[Values, Values, Values]:
    """Means over the first axis with the ends of their 95% bootstrap intervals (percentiles, 2,000 draws).

    Args:
        values: (n, ...) finite; the n rows are drawn, so what stands in one row stays together.
        seed: of the draws.
    """
    n = len(values)
    flat = values.reshape(n, -1)
    weights = _bootstrap_weights(n, seed)
    low, high = np.percentile(weights @ flat, (2.5, 97.5), axis=0)
    shape = values.shape[1:]
    return values.mean(axis=0), low.reshape(shape), high.reshape(shape)


@functools.lru_cache(maxsize=3)  # the groups of one split; 2,000 rows of 10,000 images are 160 MB
def _bootstrap_weights(n: int, seed: int) -> Values:
    """(2,000, n) share of each row in each draw: the metrics of one group of images need the same ones."""
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)
    return np.asarray(draws / n)


def magnitude(effect: float, kind: str) -> str:
    """A word for an effect size; the limits are conventions, not laws.

    Args:
        effect: the size; of Cliff's delta and of correlations the sign does not count.
        kind: ``"epsilon"`` (epsilon squared; 0.01, 0.08, 0.26: Mangiafico 2016),
            ``"delta"`` (0.147, 0.33, 0.474: Romano et al. 2006) or ``"w"`` (0.1, 0.3, 0.5: Cohen 1988).
    """
    limits = {"epsilon": (0.01, 0.08, 0.26), "delta": (0.147, 0.33, 0.474), "w": (0.1, 0.3, 0.5)}[kind]
    words = ("negligible", "small", "medium", "large")
    return words[int(np.searchsorted(limits, abs(effect), "right"))]


def missing(package: str) -> SparsightError:
    """The sentence for an optional package that is not installed."""
    return SparsightError(f"assessing needs {package}: pip install 'sparsight[assess]'.")


def _few_things(n: int) -> str:
    least = 2 / math.factorial(n)
    if least > ALPHA:
        return f"with {n} models even a perfect agreement can be chance (p at least {least:.2g})"
    return f"{n} models are few" if n < _FEW_THINGS else ""


def _posthocs() -> Any:
    try:
        import scikit_posthocs
    except ImportError:
        raise missing("scikit-posthocs") from None
    return scikit_posthocs
