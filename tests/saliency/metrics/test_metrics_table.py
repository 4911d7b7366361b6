import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from sparsight.errors import SparsightError
from sparsight.saliency import metrics

SHAPE = (50, 70)


def everything():
    rng = np.random.default_rng(1)
    saliency = cv2.GaussianBlur(rng.random(SHAPE), (0, 0), 3)
    xy, other = rng.random((30, 2)) * (70, 50), rng.random((200, 2)) * (70, 50)
    target, distractors = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    target[5:15, 5:15], distractors[30:40, 40:50] = 255, 255
    truth = {
        "xy": xy,
        "other_xy": other,
        "density": metrics.density_map(xy, SHAPE, 4.0),
        "baseline": metrics.density_map(other, SHAPE, 8.0),
        "mask": saliency > np.quantile(saliency, 0.8),
        "target": target,
        "distractors": distractors,
        "distractor_size": 10,
    }
    return saliency, truth


@pytest.mark.parametrize("preset", ["mit", "pysaliency", "pysod"])
def test_all_at_once_equals_one_by_one(preset):
    saliency, truth = everything()
    xy, density, mask = truth["xy"], truth["density"], truth["mask"]
    target, distractors = truth["target"], truth["distractors"]
    expected = {
        "auc": metrics.auc(saliency, xy, preset=preset),
        "auc_judd": metrics.auc_judd(saliency, xy, preset=preset),
        "auc_borji": metrics.auc_borji(saliency, xy, preset=preset),
        "shuffled_auc": metrics.shuffled_auc(saliency, xy, truth["other_xy"], preset=preset),
        "nss": metrics.nss(saliency, xy, preset=preset),
        "log_likelihood": metrics.log_likelihood(saliency, xy, preset=preset),
        "information_gain": metrics.information_gain(saliency, xy, truth["baseline"], preset=preset),
        "cc": metrics.cc(saliency, density),
        "sim": metrics.sim(saliency, density, preset=preset),
        "kl": metrics.kl(saliency, density, preset=preset),
        "emd": metrics.emd(saliency, density, preset=preset),
        "weighted_f": metrics.weighted_f(saliency, mask),
        "mae": metrics.mae(saliency, mask),
        "s_measure": metrics.s_measure(saliency, mask),
        "region_auc": metrics.region_auc(saliency, mask),
        "fixations_to_target": metrics.fixations_to_target(saliency, target, 10),
        "gsi": metrics.gsi(saliency, target, distractors),
        "msr_target": metrics.msr_target(saliency, target, distractors),
        "msr_background": metrics.msr_background(saliency, target, distractors),
    }
    for how in ("adaptive", "max", "mean"):
        expected[f"f_{how}"] = metrics.f_measure(saliency, mask, how=how)
        expected[f"iou_{how}"] = metrics.iou(saliency, mask, how=how)
        expected[f"e_{how}"] = metrics.e_measure(saliency, mask, how=how)
    found = metrics.score_map(saliency, preset=preset, **truth)
    assert list(found) == list(metrics.METRICS)
    assert found == expected
    assert all(type(score) is float for score in found.values())


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        (("xy",), {"fixations"}),
        (("density",), {"density"}),
        (("mask",), {"regions"}),
        (("xy", "density", "mask"), {"fixations", "density", "regions"}),
        ((), set()),
    ],
)
def test_all_is_what_the_ground_truth_allows(given, kinds):
    saliency, truth = everything()
    found = metrics.score_map(saliency, **{name: truth[name] for name in given})
    assert {metrics.METRICS[name].kind for name in found} == kinds
    assert all(set(metrics.METRICS[name].needs) <= set(given) for name in found)


def test_named_metrics_keep_their_order():
    saliency, truth = everything()
    found = metrics.score_map(saliency, xy=truth["xy"], metrics=("nss", "auc"))
    assert list(found) == ["nss", "auc"]
    with pytest.raises(SparsightError, match="'kl' needs density"):
        metrics.score_map(saliency, xy=truth["xy"], metrics=["kl"])
    with pytest.raises(SparsightError, match="did you mean 'nss'"):
        metrics.score_map(saliency, xy=truth["xy"], metrics=["ns"])


def test_directions():
    """The map that is the truth beats its reverse in the stated direction."""
    saliency, truth = everything()
    rows = np.unique(np.argwhere(truth["mask"]), axis=0)[:, ::-1]
    truth |= {
        "xy": rows,
        "density": saliency,
        "mask": truth["mask"],
        "target": truth["mask"],
        "distractors": saliency < np.quantile(saliency, 0.2),
    }
    best = metrics.score_map(saliency, **truth)
    worst = metrics.score_map(-saliency, **truth)
    for name, metric in metrics.METRICS.items():
        assert (best[name] > worst[name]) == metric.higher_is_better, name


def test_a_mask_that_covers_the_image():
    saliency, _ = everything()
    whole = np.ones(SHAPE, bool)
    with pytest.raises(SparsightError, match="covers the whole image"):
        metrics.region_auc(saliency, whole)
    found = metrics.score_map(saliency, mask=whole)
    assert "region_auc" not in found
    assert found["s_measure"] == pytest.approx(((saliency - saliency.min()) / np.ptp(saliency)).mean())


@pytest.mark.parametrize(
    "name", ["f_measure", "weighted_f", "mae", "s_measure", "e_measure", "iou", "region_auc"]
)
def test_regions_refuse_in_one_sentence(name):
    score = getattr(metrics, name)
    saliency, truth = everything()
    mask = truth["mask"]
    with pytest.raises(SparsightError, match="the map has 70x50 pixels and the mask 70x49"):
        score(saliency, mask[1:])
    with pytest.raises(SparsightError, match="the mask is empty"):
        score(saliency, np.zeros_like(mask))
    with pytest.raises(SparsightError, match="booleans, 0 and 1, or whole"):
        score(saliency, mask * 0.5)
    assert score(saliency, mask) == score(saliency, mask.astype(np.uint8))
    assert score(saliency, mask) == score(saliency, mask.astype(np.uint8) * 255)
    if name in ("f_measure", "e_measure", "iou"):
        with pytest.raises(SparsightError, match="adaptive, max, mean"):
            score(saliency, mask, how="most")


def test_region_auc_is_exact_for_bytes():
    saliency, truth = everything()
    levels = np.round((saliency - saliency.min()) / np.ptp(saliency) * 255).astype(np.uint8)
    inside, outside = levels[truth["mask"]].astype(int), levels[~truth["mask"]].astype(int)
    wins = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
    assert metrics.region_auc(levels, truth["mask"]) == pytest.approx(wins.mean(), abs=1e-12)
    assert metrics.region_auc(np.full(SHAPE, 0.3), truth["mask"]) == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_pixel_of_the_region_is_the_one_that_scipy_finds(seed):
    from sparsight.saliency.metrics.structure import _lend

    rng = np.random.default_rng(seed)
    inside = (rng.random((40, 50)) > (0.5, 0.9, 0.99, 0.05)[seed]).astype(np.uint8)
    error = rng.random(inside.shape) * inside
    lent = error.copy()
    _lend(lent, inside)
    distance, nearest = distance_transform_edt(inside == 0, return_indices=True)
    expected = error[nearest[0], nearest[1]]
    near = distance_transform_edt(inside == 0) > 0
    near &= cv2.dilate(inside, np.ones((7, 7), np.uint8)) > 0
    assert (distance[near] > 0).all()
    np.testing.assert_array_equal(lent[near], expected[near])
