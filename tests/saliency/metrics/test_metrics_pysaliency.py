"""Agreement with pysaliency 0.2.22, installed beside the project (see CONTRIBUTING.md)."""

import warnings

import cv2
import numpy as np
import pytest

from sparsight.saliency import metrics

SHAPE = (48, 64)
CLOSE = 1e-6


@pytest.fixture
def peer(pysaliency):
    return pysaliency


def make_map(name: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    smooth = cv2.GaussianBlur(rng.random(SHAPE), (0, 0), 3)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return {
        "smooth": smooth,
        "float32": smooth.astype(np.float32),
        "noise": rng.random(SHAPE),
        "tied": np.floor(smooth * 6) / 6,
        "sparse": np.where(smooth > 0.8, smooth, 0.0),
        "bytes": np.round(smooth * 255).astype(np.uint8),
        "negative": smooth - 0.7,
        "far": smooth + 1e4,
        "constant": np.full(SHAPE, 0.7),
        "zero": np.zeros(SHAPE),
    }[name]


MAPS = ["smooth", "float32", "noise", "tied", "sparse", "bytes", "negative", "far", "constant", "zero"]


def points(count: int, seed: int) -> np.ndarray:
    """Fixations near the middle, some of them in one pixel."""
    rng = np.random.default_rng(seed)
    middle = np.array([SHAPE[1], SHAPE[0]]) / 2
    xy = np.clip(rng.normal(middle, 9, (count, 2)), 0, np.array([SHAPE[1], SHAPE[0]]) - 1e-3)
    return np.concatenate([xy, xy[:4]])


XY, OTHERS = points(40, 1), points(150, 2)


class Peer:
    """pysaliency's view of one map and its fixations."""

    def __init__(self, pysaliency, saliency, xy=XY):
        self.pysaliency = pysaliency
        data = np.asarray(saliency, dtype=float)

        class Fixed(pysaliency.SaliencyMapModel):
            def _saliency_map(self, stimulus):
                return data

        self.stimuli = pysaliency.Stimuli([np.zeros((*SHAPE, 3), np.uint8)])
        self.model = Fixed(caching=False)
        self.fixations = self.at(xy)

    def at(self, xy):
        return self.pysaliency.Fixations.create_without_history(
            x=xy[:, 0].astype(int), y=xy[:, 1].astype(int), n=np.zeros(len(xy), int)
        )

    def density(self):
        return self.pysaliency.models.SaliencyMapNormalizingModel(self.model, minimum_value=1e-20)


@pytest.mark.parametrize("name", MAPS)
def test_exact_auc(peer, name):
    given = Peer(peer, make_map(name))
    expected = given.model.AUC(given.stimuli, given.fixations)
    assert metrics.auc(make_map(name), XY, preset="pysaliency") == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("name", MAPS)
def test_exact_auc_of_each_pixel_once_against_the_unfixated(peer, name):
    once = np.unique(np.floor(XY), axis=0)
    given = Peer(peer, make_map(name), once)
    expected = given.model.AUC(given.stimuli, given.fixations, nonfixations="unfixated")
    assert metrics.auc(make_map(name), XY, preset="mit") == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("name", [name for name in MAPS if name not in ("constant", "zero")])
@pytest.mark.parametrize("jitter", [True, False])
def test_auc_judd(peer, name, jitter):
    given = Peer(peer, make_map(name))
    expected = given.model.AUC_Judd(given.stimuli, given.fixations, jitter=jitter)
    found = metrics.auc_judd(make_map(name), XY, preset="pysaliency", jitter=jitter)
    assert found == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("name", ["constant", "zero"])
def test_auc_judd_of_a_constant_map_is_a_half_where_pysaliency_draws_lots(peer, name):
    given = Peer(peer, make_map(name))
    assert abs(given.model.AUC_Judd(given.stimuli, given.fixations) - 0.5) > 1e-3
    assert metrics.auc_judd(make_map(name), XY, preset="pysaliency") == 0.5


@pytest.mark.parametrize("name", ["smooth", "noise", "negative"])
def test_auc_judd_of_mit_without_ties(peer, name):
    given = Peer(peer, make_map(name), np.unique(np.floor(XY), axis=0))
    expected = given.model.AUC_Judd(given.stimuli, given.fixations, jitter=False)
    assert metrics.auc_judd(make_map(name), XY, jitter=False) == pytest.approx(expected, abs=CLOSE)
    assert metrics.auc_judd(make_map(name), XY) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", MAPS)
def test_shuffled_auc(peer, name):
    given = Peer(peer, make_map(name))
    expected = given.model.AUC(given.stimuli, given.fixations, nonfixations=given.at(OTHERS))
    found = metrics.shuffled_auc(make_map(name), XY, OTHERS, preset="pysaliency")
    assert found == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("name", MAPS)
def test_nss(peer, name):
    given = Peer(peer, make_map(name))
    expected = given.model.NSS(given.stimuli, given.fixations)
    # pysaliency divides rounding errors by each other where the map is constant.
    if name == "constant":
        expected = 0.0
    assert metrics.nss(make_map(name), XY, preset="pysaliency") == pytest.approx(expected, abs=CLOSE)


DENSITIES = {
    "fixations": metrics.density_map(XY, SHAPE, 4.0),
    "other scale": metrics.density_map(OTHERS, SHAPE, 3.0) * 255,
    "negative": metrics.density_map(OTHERS, SHAPE, 9.0) - 1e-4,
    "constant": np.ones(SHAPE),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("truth", DENSITIES)
def test_against_densities(peer, name, truth):
    saliency, density = make_map(name).astype(float), DENSITIES[truth]
    if truth != "constant":
        expected = 0.0 if name == "constant" else peer.metrics.CC(saliency, density)
        assert metrics.cc(make_map(name), density) == pytest.approx(expected, abs=CLOSE)
    expected = peer.metrics.SIM(saliency, density)
    assert metrics.sim(make_map(name), density, preset="pysaliency") == pytest.approx(expected, abs=CLOSE)
    expected = peer.metrics.image_based_kl_divergence(saliency, density)
    assert metrics.kl(make_map(name), density, preset="pysaliency") == pytest.approx(expected, abs=CLOSE)
    with np.errstate(divide="ignore"):
        # Its MIT_KLDiv is this with MATLAB's eps cut to 2.2204e-16, which is seen where the map is zero.
        expected = peer.metrics.image_based_kl_divergence(
            saliency, density, minimum_value=0, log_regularization=2**-52, quotient_regularization=2**-52
        )
        assert peer.metrics.MIT_KLDiv(saliency, density) == pytest.approx(expected, abs=1e-4)
    assert metrics.kl(make_map(name), density, preset="mit") == pytest.approx(expected, abs=CLOSE)


def test_correlation_with_a_constant_density_is_zero_where_pysaliency_has_none(peer):
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(peer.metrics.CC(make_map("zero"), np.ones(SHAPE)))
    assert metrics.cc(make_map("zero"), np.ones(SHAPE)) == 0.0
    assert metrics.cc(make_map("smooth"), np.ones(SHAPE)) == 0.0


@pytest.mark.parametrize("name", MAPS)
def test_likelihood_and_information_gain(peer, name):
    baseline = metrics.density_map([(32, 24)], SHAPE, 15.0)
    given, prior = Peer(peer, make_map(name)), Peer(peer, baseline)
    expected = given.density().log_likelihood(given.stimuli, given.fixations)
    found = metrics.log_likelihood(make_map(name), XY, preset="pysaliency")
    assert found == pytest.approx(expected, abs=CLOSE)
    expected = given.density().information_gain(
        given.stimuli, given.fixations, baseline_model=prior.density()
    )
    found = metrics.information_gain(make_map(name), XY, baseline, preset="pysaliency")
    assert found == pytest.approx(expected, abs=CLOSE)
