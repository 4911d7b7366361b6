from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from sparsight import SparsightError
from sparsight.saliency.assess import statistics as stats

# Demšar (2006), table 6: areas under the curve of C4.5 with and without tuned parameters on 14 data sets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9752, 0.975],  # both print as .975 in the paper, which ranks them 2 and 3
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_demsar_worked_example() -> None:
    found = stats.friedman(-DEMSAR)
    assert found.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # The paper's statistic, 9.28, is not corrected for ties.
    n, k = DEMSAR.shape
    plain = 12 * n / (k * (k + 1)) * ((found.mean_ranks**2).sum() - k * (k + 1) ** 2 / 4)
    assert plain == pytest.approx(9.28, abs=0.005)
    assert (n - 1) * plain / (n * (k - 1) - plain) == pytest.approx(3.69, abs=0.005)
    assert found.chi2 > plain
    assert stats.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert stats.critical_difference(4, 14, 0.1) == pytest.approx(1.12, abs=0.005)
    # At 10%, C4.5 differs from both variants with tuned m; cf alone does not from m alone.
    pairs = stats.nemenyi(-DEMSAR)
    assert pairs[0, 1] < 0.1 and pairs[0, 3] < 0.1
    assert pairs[1, 2] > 0.1 and pairs[0, 2] > 0.1


def test_friedman_is_scipys() -> None:
    found = stats.friedman(DEMSAR)
    theirs = scipy.stats.friedmanchisquare(*DEMSAR.T)
    assert found.chi2 == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.w == pytest.approx(theirs.statistic / (14 * 3))
    assert "too few" in stats.friedman(DEMSAR[:8]).caution and not found.caution


def test_friedman_of_nothing_to_tell_apart() -> None:
    found = stats.friedman(np.ones((20, 3)))
    assert (found.chi2, found.w, found.p) == (0, 0, 1)
    perfect = stats.friedman(np.tile([1.0, 2, 3], (20, 1)))
    assert perfect.w == pytest.approx(1)
    assert perfect.p_f == 0
    with pytest.raises(SparsightError, match="more models or more images"):
        stats.friedman(np.ones((1, 3)))


def test_siegels_three_executives() -> None:
    # Siegel (1956), table 9.1: three executives rank six applicants, W = .16.
    ranks = [[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]]
    found = stats.concordance(ranks)
    assert found.w == pytest.approx(25.5 / (9 * 210 / 12))
    assert found.p > 0.5
    assert (found.judges, found.things) == (3, 6)


def test_concordance_by_chance_is_counted() -> None:
    # Two judges, three things, in full agreement: one of six orders.
    found = stats.concordance([[1, 2, 3], [1, 2, 3]])
    assert found.w == pytest.approx(1)
    assert found.p == pytest.approx(1 / 6, abs=0.02)
    assert found.caution == "3 models are few"
    assert np.isnan(stats.concordance([[1, 2, 3]]).w)


def test_kruskal_is_scipys_column_by_column() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 5, 9], [7, 11, 6])
    values = rng.integers(0, 6, (24, 5)).astype(float)
    values[:, 4] = 2.0
    found = stats.kruskal_wallis(values, labels)
    for column in range(4):
        theirs = scipy.stats.kruskal(*(values[labels == label, column] for label in (3, 5, 9)))
        assert found.h[column] == pytest.approx(theirs.statistic)
        assert found.p[column] == pytest.approx(theirs.pvalue)
        # Tomczak and Tomczak (2014): epsilon squared = H (n + 1) / (n² − 1).
        assert found.epsilon_squared[column] == pytest.approx(theirs.statistic * 25 / (24**2 - 1))
    assert np.isnan(found.h[4]) and np.isnan(found.p[4])
    assert found.counts.tolist() == [7, 11, 6]
    assert not found.caution
    assert "holds 2 values" in stats.kruskal_wallis([1.0, 2, 3, 4], [0, 0, 1, 1]).caution
    with pytest.raises(SparsightError, match="two groups"):
        stats.kruskal_wallis([1.0, 2], [0, 0])


def test_dunn_by_its_formula() -> None:
    rng = np.random.default_rng(1)
    groups = [rng.normal(shift, 1, count).round(1) for shift, count in ((0, 12), (1, 9), (1.5, 14))]
    everything = np.concatenate(groups)
    n = len(everything)
    ranks = np.split(scipy.stats.rankdata(everything), np.cumsum([len(group) for group in groups])[:-1])
    _, ties = np.unique(everything, return_counts=True)
    spread = n * (n + 1) / 12 - (ties**3 - ties).sum() / (12 * (n - 1))
    pairs = list(itertools.combinations(range(3), 2))
    z = [
        abs(ranks[a].mean() - ranks[b].mean()) / np.sqrt(spread * (1 / len(groups[a]) + 1 / len(groups[b])))
        for a, b in pairs
    ]
    wanted = multipletests(2 * scipy.stats.norm.sf(z), method="holm")[1]
    found = stats.dunn(groups)
    assert [found[pair] for pair in pairs] == pytest.approx(wanted)


@settings(deadline=None, max_examples=60)
@given(
    arrays(float, st.integers(1, 12), elements=st.integers(0, 5).map(float)),
    arrays(float, st.integers(1, 12), elements=st.integers(0, 5).map(float)),
)
def test_cliffs_delta_by_counting(a: np.ndarray, b: np.ndarray) -> None:
    wanted = np.sign(a[:, None] - b[None, :]).mean()
    assert stats.cliffs_delta(a, b) == pytest.approx(wanted)
    assert stats.cliffs_delta(b, a) == pytest.approx(-wanted)


def test_cliffs_delta_of_nothing() -> None:
    assert np.isnan(stats.cliffs_delta([], [1.0]))


@pytest.mark.parametrize("n", [3, 5, 8, 20])
def test_rank_correlations_are_scipys(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.permutation(n).astype(float), rng.integers(0, n - 1, n).astype(float)
    b[0], b[-1] = 0, n
    found = stats.rank_correlation(a, b)
    assert found.tau == pytest.approx(scipy.stats.kendalltau(a, b).statistic)
    assert found.rho == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_exact_p_is_scipys_where_there_are_no_ties() -> None:
    a, b = np.arange(7.0), np.array([1.0, 0, 2, 4, 3, 6, 5])
    found = stats.rank_correlation(a, b)
    assert found.p_tau == pytest.approx(scipy.stats.kendalltau(a, b, method="exact").pvalue)
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=30), rng.normal(size=30)
    found = stats.rank_correlation(a, b)
    assert found.p_tau == pytest.approx(scipy.stats.kendalltau(a, b).pvalue, abs=0.02)
    assert found.p_rho == pytest.approx(scipy.stats.spearmanr(a, b).pvalue, abs=0.02)


def test_too_few_models_are_said_to_be() -> None:
    found = stats.rank_correlation([1, 2, 3], [1, 2, 3])
    assert found.tau == 1
    assert found.p_tau == pytest.approx(2 / 6)
    assert "can be chance (p at least 0.33)" in found.caution
    assert stats.rank_correlation([1, 1], [1, 2]).caution == "there is no order to compare"
    assert stats.rank_correlation(np.arange(5), np.arange(5)).caution == "5 models are few"
    assert not stats.rank_correlation(np.arange(6), np.arange(6)).caution


@settings(deadline=None, max_examples=30)
@given(arrays(float, st.tuples(st.integers(2, 5), st.integers(3, 9)), elements=st.integers(0, 4).map(float)))
def test_matrices_hold_the_correlations_of_all_pairs(values: np.ndarray) -> None:
    taus, rhos = stats.tau_matrix(values), stats.rho_matrix(values)
    for a, b in itertools.combinations(range(len(values)), 2):
        if np.ptp(values[a]) and np.ptp(values[b]):
            assert taus[a, b] == pytest.approx(scipy.stats.kendalltau(values[a], values[b]).statistic)
            assert rhos[a, b] == pytest.approx(scipy.stats.spearmanr(values[a], values[b]).statistic)
        else:
            assert np.isnan(taus[a, b]) and np.isnan(rhos[a, b])


def test_corrections_by_hand() -> None:
    p = [[0.01, 0.04], [np.nan, 0.03]]
    assert stats.adjust(p, "holm").ravel() == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert stats.adjust(p, "fdr_bh")[0].tolist() == pytest.approx([0.03, 0.04])
    assert np.isnan(stats.adjust([np.nan], "holm")).all()
    assert stats.adjust([], "fdr_bh").size == 0
    with pytest.raises(SparsightError, match="did you mean 'holm'"):
        stats.adjust([0.5], "hoolm")


@pytest.mark.parametrize("method", ["holm", "fdr_bh"])
def test_corrections_are_statsmodels(method: str) -> None:
    rng = np.random.default_rng(4)
    for count in (1, 7, 40):
        p = np.round(rng.uniform(0, 1, count) ** 3, 2)
        assert stats.adjust(p, method) == pytest.approx(multipletests(p, method=method)[1])


def test_bootstrap_of_a_normal_mean() -> None:
    values = np.random.default_rng(0).normal(5, 2, (400, 3, 2))
    mean, low, high = stats.bootstrap_means(values, seed=1)
    assert mean.shape == low.shape == high.shape == (3, 2)
    half = 1.96 * values.std(axis=0, ddof=1) / 20
    assert high - mean == pytest.approx(half, rel=0.15)
    assert mean - low == pytest.approx(half, rel=0.15)


def test_words_for_sizes() -> None:
    assert stats.magnitude(0.005, "epsilon") == "negligible"
    assert stats.magnitude(-0.4, "delta") == "medium"
    assert stats.magnitude(0.6, "w") == "large"
