from __future__ import annotations

import numpy as np
import pytest

from sparsight.saliency.levels import itti_sum, itti_weight, minmax, resize, weighted_sum


def test_minmax_stretches_to_one() -> None:
    np.testing.assert_allclose(minmax(np.array([[2, 4], [3, 6]], np.float32)), [[0, 0.5], [0.25, 1]])


def test_minmax_of_a_constant_is_zero() -> None:
    assert not minmax(np.full((3, 4), 7, np.float32)).any()


def test_a_lone_peak_weighs_more_than_many() -> None:
    lone = np.zeros((10, 10), np.float32)
    lone[4, 4] = 1
    many = np.zeros((10, 10), np.float32)
    many[::2] = 1
    assert itti_weight(lone) == pytest.approx(0.99**2)
    assert itti_weight(many) == pytest.approx(0.5**2)


def test_weighted_sum() -> None:
    first = np.array([[0, 1]], np.float32)
    second = np.array([[1, 0]], np.float32)
    np.testing.assert_allclose(weighted_sum([first, second, first], [1, 3, 1]), [[1, 0]])
    assert not weighted_sum([first, second], [1, 1]).any()


@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (300, 5)])
def test_resize_keeps_within_range(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((14, 11), np.float32)
    larger = resize(values, shape)
    assert larger.shape == shape
    assert larger.dtype == np.float32
    assert values.min() <= larger.min() <= larger.max() <= values.max()


@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_itti_sum_is_the_weighted_sum_of_scaled_maps(threshold: float) -> None:
    rng = np.random.default_rng(5)
    maps = np.stack([*rng.gamma(1, 3, (3, 7, 9)).astype(np.float32), np.full((7, 9), 2, np.float32)])
    before = maps.copy()
    total, weights = itti_sum(maps, threshold)
    scaled = [np.where(minmax(values) >= threshold, minmax(values), np.float32(0)) for values in maps]
    assert weights == pytest.approx([itti_weight(values) for values in scaled], abs=1e-6)
    assert weights[-1] == 0
    np.testing.assert_allclose(total, weighted_sum(scaled, weights), atol=1e-6)
    np.testing.assert_array_equal(maps, before)
    assert total.dtype == np.float32
