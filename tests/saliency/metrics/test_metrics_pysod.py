"""Agreement with PySODMetrics 1.6.2, installed beside the project (see CONTRIBUTING.md)."""

import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from sparsight.saliency import metrics

PEERS = Path(__file__).parents[3] / ".venv" / "peers-saliency"
SHAPE = (61, 83)
CLOSE = 1e-6


@pytest.fixture(scope="module")
def peer():
    if not (PEERS / "py_sod_metrics").is_dir():
        pytest.skip(f"no PySODMetrics in {PEERS}: run 'make peers'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(PEERS)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import py_sod_metrics
        yield py_sod_metrics


def make_map(name: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    smooth = cv2.GaussianBlur(rng.random(SHAPE), (0, 0), 4)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return {
        "smooth": smooth,
        "noise": rng.random(SHAPE),
        "tied": np.floor(smooth * 6) / 6,
        "negative": smooth - 0.7,
        "binary": (smooth > 0.6).astype(float),
        "constant": np.full(SHAPE, 0.7),
        "constant .3": np.full(SHAPE, 0.3),
        "even parts": np.where(np.arange(SHAPE[0])[:, None] < 25, [0.1] * 40 + [0.3] * 43, 0.9),
        "single": smooth.astype(np.float32),
        "single constant": np.full(SHAPE, 0.3, np.float32),
        "zero": np.zeros(SHAPE),
        "bytes": np.round(smooth * 255).astype(np.uint8),
        "dark bytes": np.round(20 + smooth * 90).astype(np.uint8),
        "binary bytes": np.where(smooth > 0.6, 255, 0).astype(np.uint8),
        "constant bytes": np.full(SHAPE, 77, np.uint8),
        "zero bytes": np.zeros(SHAPE, np.uint8),
    }[name]


MAPS = [
    "smooth",
    "noise",
    "tied",
    "negative",
    "binary",
    "constant",
    "constant .3",
    "even parts",
    "single",
    "single constant",
    "zero",
    "bytes",
    "dark bytes",
    "binary bytes",
    "constant bytes",
    "zero bytes",
]


def make_mask(name: str) -> np.ndarray:
    rng = np.random.default_rng(8)
    blobs = cv2.GaussianBlur(rng.random(SHAPE), (0, 0), 5)
    square = np.zeros(SHAPE, bool)
    square[10:30, 20:50] = True
    pixel = np.zeros(SHAPE, bool)
    pixel[17, 33] = True
    corner = np.zeros(SHAPE, bool)
    corner[:9, :12] = True
    return {
        "square": square,
        "blobs": blobs > np.quantile(blobs, 0.7),
        "dots": rng.random(SHAPE) > 0.97,
        "noise": rng.random(SHAPE) > 0.5,
        "holes": rng.random(SHAPE) > 0.03,
        "pixel": pixel,
        "corner": corner,
        "all": np.ones(SHAPE, bool),
    }[name]


MASKS = ["square", "blobs", "dots", "noise", "holes", "pixel", "corner", "all"]


def peer_scores(peer, saliency: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    if saliency.dtype == np.uint8:
        pair, options = (saliency, mask.astype(np.uint8) * 255), {"normalize": True}
    else:
        # Without normalisation it takes what lies in [0, 1] only, so the stretching that every user does is
        # done here.
        unit = saliency
        if np.ptp(saliency) > 0:
            unit = (saliency - saliency.min()) / (saliency.max() - saliency.min())
        pair, options = (unit, mask), {"normalize": False}
    handlers = {
        "f": peer.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3),
        "iou": peer.IOUHandler(with_dynamic=True, with_adaptive=True),
    }
    steps = {
        "thresholds": peer.FmeasureV2(handlers),
        "mae": peer.MAE(),
        "s": peer.Smeasure(),
        "e": peer.Emeasure(),
        "w": peer.WeightedFmeasure(),
    }
    for step in steps.values():
        step.step(*pair, **options)
    found = steps["thresholds"].get_results()
    e = steps["e"].get_results()["em"]
    scores = {
        "mae": steps["mae"].get_results()["mae"],
        "s_measure": steps["s"].get_results()["sm"],
        "weighted_f": steps["w"].get_results()["wfm"],
        "e_adaptive": e["adp"],
        "e_max": e["curve"].max(),
        "e_mean": e["curve"].mean(),
    }
    for name in ("f", "iou"):
        scores[f"{name}_adaptive"] = found[name]["adaptive"]
        scores[f"{name}_max"] = found[name]["dynamic"].max()
        scores[f"{name}_mean"] = found[name]["dynamic"].mean()
    return scores


@pytest.mark.parametrize("region", MASKS)
@pytest.mark.parametrize("name", MAPS)
def test_all_region_metrics(peer, name, region):
    saliency, mask = make_map(name), make_mask(region)
    with np.errstate(all="ignore"):
        expected = peer_scores(peer, saliency, mask)
    found = metrics.score_map(saliency, mask=mask, metrics=list(expected), preset="pysod")
    assert found == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 0.69, 0.7, 0.9, 1e-3])
@pytest.mark.parametrize("region", [region for region in MASKS if region != "all"])
def test_s_measure_of_a_constant_map(peer, region, level):
    saliency, mask = np.full(SHAPE, level), make_mask(region)
    with np.errstate(all="ignore"):
        theirs = peer_scores(peer, saliency, mask)["s_measure"]
    assert metrics.s_measure(saliency, mask, preset="pysod") == pytest.approx(theirs, abs=CLOSE)


def test_s_measure_of_a_constant_map_knows_no_rounding_errors_unless_asked_to(peer):
    mask = make_mask("pixel")
    with np.errstate(all="ignore"):
        theirs = [peer_scores(peer, np.full(SHAPE, level), mask)["s_measure"] for level in (0.7, 0.69)]
    assert abs(theirs[0] - theirs[1]) > 0.05
    near = [metrics.s_measure(np.full(SHAPE, level), mask) for level in (0.7, 0.69)]
    assert near[0] == pytest.approx(near[1], abs=0.01)


def test_curves(peer):
    saliency, mask = make_map("bytes"), make_mask("blobs")
    found = metrics.curves(saliency, mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classic = peer.Fmeasure(beta=0.3)
    alignment = peer.Emeasure()
    for step in (classic, alignment):
        step.step(saliency, mask.astype(np.uint8) * 255)
    expected = classic.get_results()
    np.testing.assert_allclose(found.precision, expected["pr"]["p"], atol=CLOSE)
    np.testing.assert_allclose(found.recall, expected["pr"]["r"], atol=CLOSE)
    np.testing.assert_allclose(found.f, expected["fm"]["curve"], atol=CLOSE)
    np.testing.assert_allclose(found.e, alignment.get_results()["em"]["curve"], atol=CLOSE)


def test_a_region_whose_centre_is_in_the_last_column(peer):
    mask = np.zeros(SHAPE, bool)
    mask[10:20, -1] = True
    step = peer.Smeasure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step.step(make_map("smooth"), mask, normalize=False)
    assert np.isnan(step.get_results()["sm"])
    assert 0 < metrics.s_measure(make_map("smooth"), mask) < 1
