import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import linprog

from sparsight.errors import SparsightError
from sparsight.saliency import metrics


def smooth(seed, shape=(30, 40)):
    return cv2.GaussianBlur(np.random.default_rng(seed).random(shape), (0, 0), 2)


@pytest.mark.parametrize("count", [12, 400])
def test_density_map_is_a_blurred_count(count):
    rng = np.random.default_rng(0)
    xy = rng.random((count, 2)) * (40, 30)
    counts = np.zeros((30, 40))
    column, row = np.floor(xy).astype(int).T
    np.add.at(counts, (row, column), 1.0)
    expected = gaussian_filter(counts, 3.0, mode="constant", truncate=12)
    found = metrics.density_map(xy, (30, 40), 3.0)
    assert found.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-12)


def test_density_map_refuses():
    with pytest.raises(SparsightError, match="above zero"):
        metrics.density_map([(1, 1)], (3, 4), 0.0)
    with pytest.raises(SparsightError, match="no fixations"):
        metrics.density_map([], (3, 4), 1.0)
    with pytest.raises(SparsightError, match="1 of 1 fixations lie outside the 4x3"):
        metrics.density_map([(4, 1)], (3, 4), 1.0)


@pytest.mark.parametrize("preset", ["mit", "pysaliency", "pysod"])
def test_a_density_scored_against_itself(preset):
    density = smooth(1)
    assert metrics.cc(density * 3 + 1, density) == pytest.approx(1.0)
    assert metrics.cc(-density, density) == pytest.approx(-1.0)
    assert metrics.sim(density * 5, density, preset=preset) == pytest.approx(1.0)
    assert metrics.kl(density * 5, density, preset=preset) == pytest.approx(0.0, abs=1e-9)
    assert metrics.emd(density * 5, density, preset=preset, cell=4) == pytest.approx(0.0, abs=1e-9)


def test_similarity_of_the_matlab_code():
    first, second = smooth(1), smooth(2)

    def spread(values):
        values = (values - values.min()) / np.ptp(values)
        return values / values.sum()

    expected = np.minimum(spread(first), spread(second)).sum()
    assert metrics.sim(first, second) == pytest.approx(expected, abs=1e-12)
    uniform = np.minimum(1 / first.size, spread(second)).sum()
    for constant in (np.zeros_like(first), np.full_like(first, 3.0)):
        assert metrics.sim(constant, second) == pytest.approx(uniform, abs=1e-12)


def all_arcs(first, second):
    """The optimal transport as one linear program over every pair of cells."""
    p, q = first.ravel() / first.sum(), second.ravel() / second.sum()
    cells = np.argwhere(np.ones(first.shape))
    cost = np.linalg.norm(cells[:, None] - cells[None], axis=2)
    n = len(p)
    balance = np.concatenate([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    solved = linprog(cost.ravel(), A_eq=balance, b_eq=np.concatenate([p, q]), method="highs")
    return solved.fun


@pytest.mark.parametrize("seed", range(6))
def test_emd_is_optimal_over_all_arcs(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((5, 7)) ** 3, rng.random((5, 7)) ** 3
    if seed == 0:
        first[:] = second[:] = 0.0
        first[0, 0] = second[4, 6] = 1.0
    if seed == 1:
        second[:] = 0.0
        second[2, 2] = 1.0
    found = metrics.emd(first, second, preset="pysaliency", cell=1)
    assert found == pytest.approx(all_arcs(first, second), abs=1e-6)


def test_emd_of_a_shift_is_its_length():
    first = metrics.density_map([(150, 100)], (320, 480), 12.0)
    second = np.roll(first, (96, 128), (0, 1))
    assert metrics.emd(first, second) * 32 == pytest.approx(160.0, rel=1e-3)
    assert metrics.emd(first, second, cell=16) * 16 == pytest.approx(160.0, rel=1e-3)
    with pytest.raises(SparsightError, match="give 1 or more"):
        metrics.emd(first, second, cell=0)


@pytest.mark.parametrize("name", ["cc", "sim", "kl", "emd"])
def test_bad_input_is_told_in_one_sentence(name):
    score = getattr(metrics, name)
    saliency = smooth(1)
    with pytest.raises(SparsightError, match="the map has 40x30 pixels and the density 40x29"):
        score(saliency, saliency[1:])
    with pytest.raises(SparsightError, match="the density is zero everywhere"):
        score(saliency, np.zeros_like(saliency))
    broken = saliency.copy()
    broken[0, 0] = np.nan
    with pytest.raises(SparsightError, match="the map holds NaN"):
        score(broken, saliency)
    with pytest.raises(SparsightError, match="the density holds NaN"):
        score(saliency, broken)
