"""Each model's formula against a direct, slow version of what its paper says."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight import SparsightError, saliency
from sparsight.saliency.classic import (
    aim,
    covsal,
    gbvs,
    itti,
    pyramid,
    rare2007,
    rare2012,
    rarities,
    signature,
)
from sparsight.saliency.classic.colour import lab, luma, ycbcr
from sparsight.saliency.classic.spectral_residual import spectral_residual
from sparsight.saliency.classic.working import blurred, finished, scaled


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, np.float32)


# --- spectral residual -------------------------------------------------------------------------------------


def test_spectral_residual_by_sums() -> None:
    grey = noise(5, 6)
    height, width = grey.shape
    rows = np.exp(-2j * np.pi * np.outer(np.arange(height), np.arange(height)) / height)
    columns = np.exp(-2j * np.pi * np.outer(np.arange(width), np.arange(width)) / width)
    spectrum = rows @ grey.astype(np.float64) @ columns
    log = np.log(np.abs(spectrum))
    edge = np.pad(log, 1, mode="edge")
    mean = sum(edge[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    lifted = np.exp(log - mean + 1j * np.angle(spectrum))
    expected = np.abs(rows.conj() @ lifted @ columns.conj() / grey.size) ** 2
    np.testing.assert_allclose(spectral_residual(grey), expected, rtol=1e-5)


def test_spectral_residual_of_brighter_light_is_the_same() -> None:
    grey = noise(16, 16)
    np.testing.assert_allclose(spectral_residual(grey * 0.5), spectral_residual(grey), rtol=1e-4)


def test_frequencies_without_energy_stay_out() -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (8, 4))
    assert np.isfinite(spectral_residual(stripes)).all()


# --- image signature ---------------------------------------------------------------------------------------


def cosines(n: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II as a matrix."""
    k, x = np.mgrid[:n, :n]
    matrix = np.cos(np.pi * k * (2 * x + 1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return np.asarray(matrix)


def test_signature_by_matrices() -> None:
    channels = noise(3, 6, 9)
    rows, columns = cosines(6), cosines(9)
    expected = [(rows.T @ np.sign(rows @ values @ columns.T) @ columns) ** 2 for values in channels]
    np.testing.assert_allclose(signature.signature_energy(channels), expected, atol=1e-5)


def test_signature_finds_the_sparse_foreground() -> None:
    # The paper's claim: what is sparse in space stays, what is sparse in the cosine transform goes.
    y, x = np.mgrid[:48, :64]
    background = np.cos(np.pi * 3 * (2 * x + 1) / 128) * np.cos(np.pi * 5 * (2 * y + 1) / 96)
    picture = background.astype(np.float32)
    picture[20:23, 40:43] += 1
    energy = cv2.GaussianBlur(signature.signature_energy(picture[None])[0], (0, 0), 2)
    row, column = np.unravel_index(energy.argmax(), energy.shape)
    assert 19 <= row <= 23
    assert 39 <= column <= 43


def test_signature_has_two_colour_spaces() -> None:
    with pytest.raises(SparsightError, match="colour space called 'lba'"):
        saliency.build("signature", colour="lba")
    image = (noise(30, 40, 3) * 255).astype(np.uint8)
    apart = [saliency.build("signature", colour=colour)(image).map for colour in ("lab", "rgb")]
    assert not np.allclose(*apart)


# --- graph-based visual saliency ---------------------------------------------------------------------------


def walk(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The equilibrium of a random walk with these weights: the eigenvector of its transitions."""
    transitions = weights / weights.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(transitions.T)
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return np.asarray(vector / vector.sum())


def distances(shape: tuple[int, int]) -> NDArray[np.float64]:
    places = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    return np.array([[(a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 for b in places] for a in places], float)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), sigma=st.floats(0.7, 3))
def test_gbvs_by_eigenvectors(seed: int, sigma: float) -> None:
    nodes = noise(3, 4, seed=seed)
    near = np.exp(-distances((3, 4)) / (2 * sigma**2))
    values = nodes.ravel().astype(np.float64)
    first = walk(np.abs(values[:, None] - values) * near)
    np.testing.assert_allclose(gbvs.activated(nodes, sigma).ravel(), first, rtol=1e-3, atol=1e-6)
    second = walk(np.tile(first, (12, 1)) * near)
    activation = first.reshape(3, 4).astype(np.float32)
    np.testing.assert_allclose(gbvs.gathered(activation, sigma).ravel(), second, rtol=1e-3, atol=1e-6)


# --- Itti, Koch and Niebur ---------------------------------------------------------------------------------


def promoted_slowly(values: NDArray[np.float32]) -> NDArray[np.float64]:
    unit = values.astype(np.float64) / values.max()
    summits = []
    for row in range(unit.shape[0]):
        for column in range(unit.shape[1]):
            around = unit[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            top = unit[row, column]
            if top == around.max() and top > around.min() and top > 0.1:
                summits.append(top)
    others = sorted(summits)[:-1]
    return np.asarray(unit * (1 - (sum(others) / len(others) if others else 0)) ** 2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_promotion_by_loops(seed: int) -> None:
    values = noise(7, 9, seed=seed)
    np.testing.assert_allclose(itti.promoted(values), promoted_slowly(values), rtol=1e-4)


def test_one_peak_is_promoted_over_many() -> None:
    one, many = np.zeros((2, 40, 40), np.float32)
    one[20, 20] = 1
    many[4::8, 4::8] = 1
    assert itti.promoted(one).max() == 1
    assert itti.promoted(many).max() == 0
    assert not itti.promoted(np.zeros((5, 5), np.float32)).any()


def test_red_and_green_oppose_each_other_and_grey_neither() -> None:
    colours = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0.5, 0.5, 0.5]]], np.float32)
    wide = np.ascontiguousarray(np.repeat(np.repeat(colours, 8, axis=0), 8, axis=1))
    features = pyramid.early_features(wide, 0, 1)
    red_green, blue_yellow = features.red_green[0][0, ::8], features.blue_yellow[0][0, ::8]
    # r, g, b are divided by the intensity, their mean (eqs. after 1): pure red has r = 3.
    np.testing.assert_allclose(red_green, [3, -3, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(blue_yellow, [0, 0, 3, -1.5, 0], atol=1e-5)


# --- filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", pyramid.ANGLES)
def test_a_gabor_filter_answers_to_its_own_stripes_only(angle: float) -> None:
    y, x = np.mgrid[:80, :80]

    def stripes(turned: float) -> NDArray[np.float32]:
        along = x * np.cos(np.deg2rad(turned)) + y * np.sin(np.deg2rad(turned))
        return np.asarray(np.cos(2 * np.pi * along / 7 + 0.3), np.float32)

    inside = np.s_[20:60, 20:60]
    np.testing.assert_allclose(pyramid.orientation_energy(stripes(angle), angle)[inside], 1, atol=0.05)
    assert pyramid.orientation_energy(stripes(angle + 90), angle)[inside].max() < 0.05
    assert pyramid.orientation_energy(np.ones((40, 40), np.float32), angle).max() < 1e-5


# --- rarity ------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), bins=st.integers(2, 40))
def test_self_information_by_histograms(seed: int, bins: int) -> None:
    maps = noise(3, 9, 8, seed=seed)
    for values, rare in zip(maps, rarities.self_information(maps, bins), strict=True):
        counts, edges = np.histogram(values, bins)
        held = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
        np.testing.assert_allclose(rare, -np.log(counts[held] / values.size), atol=1e-5)


def test_self_information_of_a_worked_example() -> None:
    maps = np.array([[[0, 0, 0, 1], [0, 0, 0, 0.49]]], np.float32)
    expected = [[-math.log(7 / 8)] * 3 + [-math.log(1 / 8)], [-math.log(7 / 8)] * 4]
    np.testing.assert_allclose(rarities.self_information(maps, 2)[0], expected, rtol=1e-6)
    assert not rarities.self_information(maps * 1e-4, 2, flat=1e-3).any()


def test_maps_are_added_by_the_rank_of_their_efficiency() -> None:
    sharp, middling, dull = np.zeros((3, 10, 10), np.float32)
    sharp[0, 0] = 1  # (1 - 0.01)² = 0.98
    middling[:3] = 1  # (1 - 0.3)² = 0.49
    dull[:9] = 1  # (1 - 0.9)² = 0.01, below 0.3 of the best
    total = rarities.efficiency_sum([dull, sharp, middling], 0.3)
    np.testing.assert_allclose(total, sharp + middling * 2 / 3, rtol=1e-6)
    assert not rarities.efficiency_sum([np.zeros((2, 2), np.float32)], 0.3).any()


def test_principal_colours_are_uncorrelated_and_sorted() -> None:
    colours = rare2012.principal_colours(noise(20, 30, 3) @ noise(3, 3, seed=1)).reshape(3, -1)
    covariance = np.cov(colours)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6)
    assert (np.diff(np.diag(covariance)) <= 0).all()


def test_global_attention_by_loops() -> None:
    channel, bins = noise(8, 9), 4
    padded = np.pad(channel.astype(np.float64), 1, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(8, 9, 9)
    message = []
    for values in (windows.mean(axis=2), windows.std(axis=2)):
        unit = (values - values.min()) / (values.max() - values.min())
        message.append(np.minimum((unit * bins).astype(int), bins - 1))
    mean, deviation = message
    expected = np.zeros((8, 9))
    for place in np.ndindex(8, 9):
        p = ((mean == mean[place]) & (deviation == deviation[place])).mean()
        d = 1 - np.abs(mean - mean[place]).sum() / (mean.size * (bins - 1))
        expected[place] = -math.log(p * d)
    np.testing.assert_allclose(rare2007.global_attention(channel[None], 3, bins)[0], expected, rtol=1e-5)
    assert not rare2007.global_attention(np.ones((1, 5, 5), np.float32), 3, bins).any()


# --- AIM ---------------------------------------------------------------------------------------------------


def test_responses_by_loops() -> None:
    picture, filters = noise(6, 7, 3), noise(2, 3, 3, 3, seed=1) - np.float32(0.5)
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    answers = aim.responses(picture, filters)
    for k, row, column in np.ndindex(2, 6, 7):
        patch = padded[row : row + 3, column : column + 3].transpose(2, 0, 1)
        assert answers[k, row, column] == pytest.approx(float((patch * filters[k]).sum()), abs=1e-5)


def test_the_basis_is_small_and_of_length_one() -> None:
    filters = aim.basis()
    assert filters.shape[1] == 3
    assert filters.shape[2] == filters.shape[3]
    assert filters.shape[3] % 2 == 1
    np.testing.assert_allclose((filters**2).sum(axis=(1, 2, 3)), 1, atol=2e-3)


# --- CovSal ------------------------------------------------------------------------------------------------


def test_sigma_points_hold_the_covariance_of_a_block() -> None:
    features = noise(5, 16, 24)
    points, shape = covsal.sigma_points(features, 8)
    assert (points.shape, shape) == ((6, 54), (2, 3))
    part = features[:, 8:16, 16:24].reshape(5, 64)  # the last block
    down, across = np.mgrid[:8, :8].reshape(2, 64) / 8
    factor = points[-1, 5:].reshape(7, 7) / math.sqrt(14)
    np.testing.assert_allclose(points[-1, :5], part.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(factor @ factor.T, np.cov([*part, across, down]), atol=1e-5)
    np.testing.assert_array_equal(factor, np.tril(factor))


def test_dissimilarity_by_loops() -> None:
    points = noise(12, 4).astype(np.float64)
    places = [(row / 4, column / 4) for row in range(3) for column in range(4)]
    expected = []
    for i in range(12):
        apart = [
            np.linalg.norm(points[i] - points[j]) / (1 + math.dist(places[i], places[j]))
            for j in range(12)
            if j != i
        ]
        expected.append(min(apart))  # a tenth of twelve is one
    np.testing.assert_allclose(covsal.dissimilarity(points, (3, 4)), expected, rtol=1e-5)


# --- colours and sizes -------------------------------------------------------------------------------------


def test_colours_by_opencv() -> None:
    rgb = noise(20, 30, 3)
    np.testing.assert_allclose(lab(rgb), np.moveaxis(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), -1, 0), atol=0.3)
    np.testing.assert_allclose(luma(rgb), cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), atol=1e-5)
    y, red, blue = np.moveaxis(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb), -1, 0)
    np.testing.assert_allclose(ycbcr(rgb), [y, blue - 0.5, red - 0.5], atol=2e-3)


def test_a_grey_has_no_colour_at_all() -> None:
    grey = np.repeat(noise(20, 30, 1), 3, axis=2)
    assert np.abs(lab(grey)[1:]).max() < 1e-6
    assert np.abs(ycbcr(grey)[1:]).max() < 1e-6


def test_the_working_picture_keeps_its_shape() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    assert scaled(image, width=64).shape == (48, 64, 3)
    assert scaled(image, side=800).shape == (600, 800, 3)
    assert scaled(image[:, :100], side=150).shape == (150, 50, 3)
    assert scaled(image[:1], width=8).shape == (1, 8, 3)


def test_what_is_flat_but_for_rounding_becomes_zero() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    flat = np.full((4, 4), 5, np.float32)
    flat[0, 0] += np.float32(1e-6)
    assert not finished(flat, image).any()
    assert finished(np.eye(4, dtype=np.float32), image).max() == 1
    np.testing.assert_array_equal(blurred(flat, 0), flat)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("aim", "bins", 1),
        ("aim", "size", 0),
        ("center_bias", "sigma", 0),
        ("covsal", "size", 0),
        ("gbvs", "reach", -1),
        ("itti", "size", 0),
        ("random", "seed", -1),
        ("rare2007", "bins", 1),
        ("rare2012", "bins", 1),
        ("rare2012", "threshold", 2),
        ("rare2012", "scales", 0),
        ("signature", "sigma", 0),
        ("spectral_residual", "width", 0),
    ],
)
def test_options_out_of_range_are_refused(name: str, option: str, value: float) -> None:
    with pytest.raises(SparsightError, match=f"{name} cannot have {option}={value}"):
        saliency.build(name, **{option: value})
