import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight.errors import SparsightError
from sparsight.saliency import metrics

PRESETS = ["mit", "pysaliency", "pysod"]


def scene(seed=0, shape=(30, 40), count=25):
    rng = np.random.default_rng(seed)
    saliency = cv2.GaussianBlur(rng.random(shape), (0, 0), 2)
    xy = rng.random((count, 2)) * (shape[1], shape[0])
    return saliency, np.concatenate([xy, xy[:3]])


@st.composite
def scenes(draw):
    """Small maps with many ties, and fixations that share pixels."""
    seed, levels = draw(st.integers(0, 10_000)), draw(st.integers(1, 12))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.uint8]))
    rng = np.random.default_rng(seed)
    height, width = rng.integers(2, 9, 2)
    scale = draw(st.sampled_from([1.0, 1e-3, 20.0]))
    saliency = rng.integers(0, levels, (height, width)) * (1 if dtype == np.uint8 else scale)
    xy = rng.random((rng.integers(1, 12), 2)) * (width, height)
    return saliency.astype(dtype), xy


def brute_auc(saliency, xy, *, once):
    column, row = np.floor(xy).astype(int).T
    fixated = np.zeros(saliency.shape, bool)
    fixated[row, column] = True
    positives = saliency[fixated] if once else saliency[row, column]
    negatives = saliency[~fixated] if once else saliency.ravel()
    wins = [(p > n) + (p == n) / 2 for p in positives.astype(float) for n in negatives.astype(float)]
    return np.mean(wins) if len(wins) else None


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_exact_auc_is_the_share_of_pairs_won(case):
    saliency, xy = case
    for preset, once in (("mit", True), ("pysaliency", False)):
        expected = brute_auc(saliency, xy, once=once)
        if expected is None:
            with pytest.raises(SparsightError, match="every pixel"):
                metrics.auc(np.arange(saliency.size).reshape(saliency.shape), xy, preset=preset)
        else:
            assert metrics.auc(saliency, xy, preset=preset) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("level", [0.0, 0.1, -3.0, 1e30, 255])
def test_a_constant_map_scores_exactly_a_half_and_knows_nothing(preset, level):
    _, xy = scene()
    for dtype in (np.float32, np.float64):
        saliency = np.full((30, 40), level, dtype)
        for name in ("auc", "auc_judd", "auc_borji"):
            assert getattr(metrics, name)(saliency, xy, preset=preset) == 0.5
        assert metrics.shuffled_auc(saliency, xy, xy[::-1], preset=preset) == 0.5
        assert metrics.nss(saliency, xy, preset=preset) == 0.0
        assert metrics.log_likelihood(saliency, xy, preset=preset) == pytest.approx(-math.log(1200))
    assert metrics.auc_judd(saliency, xy, preset=preset, jitter=False) == 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_only_the_order_counts_and_its_reverse_loses_what_it_won(preset):
    saliency, xy = scene()
    for name in ("auc", "auc_judd"):
        score = getattr(metrics, name)
        options = {"preset": preset} if name == "auc" else {"preset": preset, "jitter": False}
        assert score(saliency**3 * 7 - 2, xy, **options) == pytest.approx(score(saliency, xy, **options))
    assert metrics.auc(-saliency, xy, preset=preset) == pytest.approx(
        1 - metrics.auc(saliency, xy, preset=preset)
    )


@pytest.mark.parametrize("factor", [1e-320, 1e-300, 1.0, 1e300])
def test_exact_auc_survives_any_range(factor):
    saliency, xy = scene()
    spread = (saliency - saliency.mean()) * factor
    levels = np.unique(spread, return_inverse=True)[1].reshape(spread.shape)
    assert metrics.auc(spread, xy) == metrics.auc(levels, xy)


def test_exact_auc_with_one_far_outlier():
    saliency, xy = scene()
    outlier = saliency.copy()
    outlier[0, 0] = 1e12
    order = np.argsort(np.argsort(outlier.ravel())).reshape(outlier.shape)
    assert metrics.auc(outlier, xy) == pytest.approx(metrics.auc(order, xy), abs=1e-12)
    assert metrics.auc(outlier, xy) == pytest.approx(brute_auc(outlier, xy, once=True), abs=1e-12)


def literal_judd(saliency, xy):
    """AUC_Judd without jitter, threshold by threshold."""
    column, row = np.floor(xy).astype(int).T
    fixated = np.zeros(saliency.shape, bool)
    fixated[row, column] = True
    thresholds = sorted(saliency[fixated], reverse=True)
    true, false = [0.0], [0.0]
    for i, threshold in enumerate(thresholds, 1):
        true.append(i / len(thresholds))
        above = (saliency >= threshold).sum()
        false.append((above - i) / (saliency.size - len(thresholds)))
    true.append(1.0)
    false.append(1.0)
    return sum((false[i + 1] - false[i]) * (true[i + 1] + true[i]) / 2 for i in range(len(true) - 1))


@pytest.mark.parametrize("seed", range(5))
def test_auc_judd_of_the_matlab_code(seed):
    saliency, xy = scene(seed)
    assert metrics.auc_judd(saliency, xy, jitter=False) == pytest.approx(
        literal_judd(saliency, xy), abs=1e-12
    )
    noise = np.random.default_rng(7).random(saliency.size).reshape(saliency.shape) * 1e-7
    expected = literal_judd(saliency + noise, xy)
    assert metrics.auc_judd(saliency, xy, seed=7) == pytest.approx(expected, abs=1e-12)
    tied = np.round(saliency * 8)
    expected = literal_judd(tied + noise, xy)
    assert metrics.auc_judd(tied, xy, seed=7) == pytest.approx(expected, abs=1e-12)


def literal_stepped(positives, negatives):
    thresholds = [k * 0.1 for k in range(11)][::-1]
    true = [0.0, *[(positives >= t).mean() for t in thresholds], 1.0]
    false = [0.0, *[(negatives >= t).mean() for t in thresholds], 1.0]
    return sum((false[i + 1] - false[i]) * (true[i + 1] + true[i]) / 2 for i in range(len(true) - 1))


def test_auc_borji_and_shuffled_auc_of_the_matlab_code():
    saliency, xy = scene(3)
    unit = (saliency - saliency.min()) / np.ptp(saliency)
    column, row = np.unique(np.floor(xy).astype(int), axis=0).T
    positives = unit[row, column]
    drawn = np.random.default_rng(11).integers(0, unit.size, (len(positives), 100))
    expected = np.mean([literal_stepped(positives, unit.ravel()[split]) for split in drawn.T])
    assert metrics.auc_borji(saliency, xy, seed=11) == pytest.approx(expected, abs=1e-12)
    # With as many others as fixations, drawing without replacement is no choice.
    others = scene(4, count=len(positives))[1][: len(positives)]
    column, row = np.unique(np.floor(others).astype(int), axis=0).T
    expected = literal_stepped(positives, unit[row, column])
    assert metrics.shuffled_auc(saliency, xy, others) == pytest.approx(expected, abs=1e-12)


def test_random_draws_come_near_the_exact_area_and_repeat():
    saliency, xy = scene(5, (200, 300), 200)
    exact = metrics.auc(saliency, xy, preset="pysaliency")
    assert metrics.auc_borji(saliency, xy, preset="pysaliency") == pytest.approx(exact, abs=0.01)
    assert metrics.auc_borji(saliency, xy, seed=1) == metrics.auc_borji(saliency, xy, seed=1)
    assert metrics.auc_borji(saliency, xy, seed=1) != metrics.auc_borji(saliency, xy, seed=2)
    others = scene(6, (200, 300), 900)[1]
    assert metrics.shuffled_auc(saliency, xy, others, seed=1) != metrics.shuffled_auc(
        saliency, xy, others, seed=2
    )


def test_shuffled_auc_gives_nothing_for_what_all_images_share():
    middle = metrics.density_map([(20, 15)], (30, 40), 6.0)
    rng = np.random.default_rng(0)
    near = np.clip(rng.normal((20, 15), 5, (2000, 2)), 0, (39.9, 29.9))
    assert metrics.auc(middle, near[:500]) > 0.7
    assert metrics.shuffled_auc(middle, near[:500], near[500:], preset="pysaliency") == pytest.approx(
        0.5, abs=0.03
    )


def test_nss_of_a_worked_example():
    saliency = np.array([[0.0, 1.0], [2.0, 3.0]])
    # mean 1.5, deviation sqrt(5/3) with N - 1 and sqrt(5/4) with N; pixel (1, 1) twice, (0, 1) once
    xy = [(1, 1), (1.5, 1.9), (0, 1)]
    assert metrics.nss(saliency, xy) == pytest.approx(1.0 / math.sqrt(5 / 3))
    expected = (1.5 + 1.5 + 0.5) / 3 / math.sqrt(5 / 4)
    assert metrics.nss(saliency, xy, preset="pysaliency") == pytest.approx(expected)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e6, 1e9])
def test_nss_and_correlation_do_not_depend_on_an_offset(offset):
    saliency, xy = scene(1)
    density = metrics.density_map(xy, saliency.shape, 3.0)
    close = 1e-7 if abs(offset) < 1e7 else 1e-5  # what is left of the digits
    assert metrics.nss(saliency + offset, xy) == pytest.approx(metrics.nss(saliency, xy), rel=close)
    assert metrics.cc(saliency + offset, density) == pytest.approx(metrics.cc(saliency, density), rel=close)


def test_information_gain_of_the_matlab_code():
    saliency, xy = scene(2)
    baseline = metrics.density_map([(20, 15)], saliency.shape, 8.0)
    column, row = np.unique(np.floor(xy).astype(int), axis=0).T

    def spread(values):
        values = (values - values.min()) / np.ptp(values)
        return values / values.sum()

    eps = np.spacing(1.0)
    bits = np.log2(eps + spread(saliency)[row, column]) - np.log2(eps + spread(baseline)[row, column])
    assert metrics.information_gain(saliency, xy, baseline) == pytest.approx(bits.mean(), abs=1e-9)
    assert metrics.information_gain(baseline, xy, baseline) == 0.0


def test_fixations_outside_are_counted_and_dropped():
    xy = [(0, 0), (39.999, 29.999), (40, 5), (5, 30), (-0.001, 3), (math.nan, 2), (3, math.inf)]
    kept, dropped = metrics.inside(xy, (30, 40))
    assert dropped == 5
    np.testing.assert_array_equal(kept, xy[:2])
    assert metrics.inside([], (3, 4))[0].shape == (0, 2)
    with pytest.raises(SparsightError, match="5 of 7 fixations lie outside the 40x30 map"):
        metrics.nss(scene()[0], xy)


@pytest.mark.parametrize("name", ["auc", "auc_judd", "auc_borji", "nss", "log_likelihood"])
def test_bad_input_is_told_in_one_sentence(name):
    score = getattr(metrics, name)
    saliency, xy = scene()
    with pytest.raises(SparsightError, match="no fixations on this image"):
        score(saliency, np.empty((0, 2)))
    with pytest.raises(SparsightError, match="N rows of x and y"):
        score(saliency, xy[:, :1])
    for bad in (math.nan, math.inf, -math.inf):
        broken = saliency.copy()
        broken[3, 4] = bad
        with pytest.raises(SparsightError, match="NaN or infinite"):
            score(broken, xy)
    with pytest.raises(SparsightError, match="height x width"):
        score(np.zeros((3, 4, 3)), xy)
    with pytest.raises(SparsightError, match="did you mean 'pysaliency'"):
        score(saliency, xy, preset="pysalience")
    with pytest.raises(SparsightError, match="the map has 40x30 pixels and the baseline 39x30"):
        metrics.information_gain(saliency, xy, saliency[:, 1:])
