from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scores import METRICS, Metric, scores_of, two_truths

from sparsight.saliency.assess.agreement import agreement, per_image
from sparsight.saliency.assess.tables import FIXATIONS, REGIONS, Scores

UP = [0.0, 0.6, 1.2, 1.8, 2.4, 3.0]


def test_models_are_ranked_by_what_they_were_made_with() -> None:
    scores = scores_of(two_truths(UP, UP[::-1], images=300))
    found = agreement(scores)
    assert len(found.rankings) == 6
    for each in found.rankings:
        wanted = [6, 5, 4, 3, 2, 1] if each.measure.truth == FIXATIONS else [1, 2, 3, 4, 5, 6]
        assert each.ranks.tolist() == wanted
        assert each.p < 1e-10 and each.images == 300
        column = [measure.name for measure in scores.measures].index(each.measure.name)
        values = scores.values[:, :, column]
        assert each.means == pytest.approx(values.mean(axis=0))
        assert (each.low < each.means).all() and (each.means < each.high).all()
        theirs = scipy.stats.friedmanchisquare(*values.T)
        assert each.chi2 == pytest.approx(theirs.statistic)
        best = scipy.stats.rankdata(values if each.measure.name in ("kl", "mae") else -values, axis=1)
        assert each.mean_ranks == pytest.approx(best.mean(axis=0))
    assert found.concordance[FIXATIONS].w == pytest.approx(1)
    assert found.concordance["all"].w == pytest.approx(0)
    assert found.between is not None
    assert found.between.tau == pytest.approx(-1)
    assert found.between.p_tau == pytest.approx(2 / 720)
    assert len(set(found.groups[:3])) == 1 and len(set(found.groups[3:])) == 1
    assert found.groups[0] != found.groups[3]
    assert {tuple(sorted(part)) for part in (found.order[:3], found.order[3:])} == {(0, 1, 2), (3, 4, 5)}


def test_one_truth_only() -> None:
    scores = scores_of(two_truths(UP, UP)[:, :, :3], METRICS[:3])
    found = agreement(scores)
    assert found.between is None and not found.per_image
    assert set(found.concordance) == {FIXATIONS, "all"}


def test_truths_of_different_data_sets_are_compared_by_model() -> None:
    values = two_truths(UP, UP, images=200)
    one, two = values.copy(), values.copy()
    one[:, :, 3:] = np.nan
    two[:, :, :3] = np.nan
    first = scores_of(values)
    both = Scores(
        ("eyes", "masks"),
        np.repeat([0, 1], 200),
        first.images * 2,
        first.models,
        first.measures,
        np.concatenate([one, two]),
    )
    found = agreement(both)
    assert [each.dataset for each in found.rankings] == [0, 0, 0, 1, 1, 1]
    assert found.between is not None and found.between.tau == pytest.approx(1)
    assert not found.per_image


def test_every_image_by_itself_is_scipys_tau() -> None:
    values = two_truths(UP[:5], UP[:5], images=8)
    values[0, :, 0] = 1.0  # no order at all
    values[1, :3, 4] = 2.0  # ties
    scores = scores_of(values)
    found = per_image(scores, 0)
    assert found is not None
    signs = np.array([1, 1, -1, 1, 1, -1.0])
    taus = np.zeros((8, 6, 6))
    for image in range(8):
        for a in range(6):
            for b in range(6):
                one, two = values[image, :, a] * signs[a], values[image, :, b] * signs[b]
                tau = scipy.stats.kendalltau(one, two).statistic
                taus[image, a, b] = 0 if np.isnan(tau) else tau
    assert found.tau == pytest.approx(taus[:, :3, 3:].mean(axis=0))
    assert found.between == pytest.approx(taus[:, :3, 3:].mean(axis=(1, 2)))
    pairs = [(0, 1), (0, 2), (1, 2)]
    within = [np.mean([taus[:, a + base, b + base] for a, b in pairs], axis=0) for base in (0, 3)]
    assert found.within == pytest.approx(np.mean(within, axis=0))
    assert found.p_between == pytest.approx(scipy.stats.wilcoxon(found.between).pvalue)
    assert found.caution == "8 images are few"
    best = [
        scipy.stats.rankdata(values[:, :, part] * signs[part], axis=1).mean(axis=2).argmax(axis=1)
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert found.same_best == pytest.approx((best[0] == best[1]).mean())


def test_truths_differ_where_they_were_made_to() -> None:
    apart = per_image(scores_of(two_truths(UP, UP[::-1], images=150)), 0)
    assert apart is not None
    assert apart.means[0][2] < 0 < apart.means[1][1]
    assert apart.p_difference < 1e-6
    assert np.abs(apart.difficulty).max() < 0.3
    # One map quality behind all six metrics: the truths are one.
    values = two_truths(UP, UP, images=150)
    one = values[:, :, :1] + np.random.default_rng(1).normal(0, 0.5, values.shape)
    signs = np.array([1, 1, -1, 1, 1, -1.0])
    together = per_image(scores_of(one * signs), 0)
    assert together is not None
    assert together.p_difference > 0.01
    assert together.difficulty.min() > 0.4


def test_images_without_all_scores_are_left_out() -> None:
    values = two_truths(UP, UP, images=30)
    values[:10, 0, 4] = np.nan
    scores = scores_of(values)
    found = agreement(scores)
    assert [each.images for each in found.rankings] == [30, 30, 30, 30, 20, 30]
    assert len(found.per_image[0].images) == 20


def test_a_single_image() -> None:
    scores = scores_of(two_truths([0, 1, 2], [0, 1, 2], images=1))
    found = agreement(scores)
    assert not found.per_image
    assert np.isnan(found.rankings[0].p)
    assert "single image" in found.rankings[0].caution


def test_equal_models_share_a_rank() -> None:
    values = two_truths([0, 1], [0, 1], images=20)
    values = np.concatenate([values, values[:, :1]], axis=1)
    found = agreement(scores_of(values))
    assert found.rankings[0].ranks.tolist() == [2.5, 1, 2.5]


def test_two_runs_say_the_same() -> None:
    scores = scores_of(two_truths(UP, UP, images=25))
    one, two = agreement(scores, seed=3), agreement(replace(scores), seed=3)
    assert (one.rankings[0].low == two.rankings[0].low).all()
    assert one.concordance == two.concordance


def test_other_kinds_have_a_truth_of_their_own() -> None:
    metrics = [Metric("auc", "fixations"), Metric("gsi", "odd")]
    found = agreement(scores_of(two_truths(UP, UP)[:, :, :2], metrics))
    assert set(found.consensus) == {FIXATIONS, "odd"}
    assert REGIONS not in found.concordance


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 3), st.permutations(range(5)))
def test_only_order_counts_on_single_images(seed: int, power: float, order: list[int]) -> None:
    values = two_truths(UP[:5], UP[:5], images=6, seed=seed)
    plain = per_image(scores_of(values), 0)
    bent = values.copy()
    bent[:, :, 1] = np.sign(values[:, :, 1]) * np.abs(values[:, :, 1]) ** power
    bent[:, :, 4] = np.exp(values[:, :, 4])
    turned = per_image(scores_of(bent[:, order]), 0)
    assert plain is not None and turned is not None
    assert turned.between == pytest.approx(plain.between)
    assert turned.within == pytest.approx(plain.within)
    assert turned.tau == pytest.approx(plain.tau)
