from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sparsight.saliency import rarity
from sparsight.saliency.rarity import channel_maps, rarity_map, rarity_maps, zero_corners
from sparsight.saliency.rarity_torch import rarity_map_torch

Rarity = Callable[..., NDArray[np.float32]]
Channel = NDArray[np.float64]


def literal(features: NDArray[np.float32], bins: int, border: int) -> Channel:
    """The published steps, one channel and one pixel at a time."""
    total = np.zeros(features.shape[1:])
    for channel in features.astype(np.float64):
        scaled = stretched(bordered(channel, border))
        count = [0] * bins
        for value in scaled.flat:
            count[bin_of(value, bins)] += 1
        rarity = np.zeros_like(scaled)
        for place, value in np.ndenumerate(scaled):
            rarity[place] = -math.log(count[bin_of(value, bins)] / scaled.size + 1e-4)
        r = stretched(rarity)
        r = bordered(r * (1 - r.mean()) ** 2, border)
        q = r * r
        total += (q.max() - q.mean()) ** 2 * stretched(q)
    return total


def bordered(values: Channel, border: int) -> Channel:
    result = values.copy()
    height, width = values.shape
    for y in range(height):
        for x in range(width):
            if min(y, x, height - 1 - y, width - 1 - x) < border:
                result[y, x] = 0
    return result


def stretched(values: Channel) -> Channel:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def bin_of(value: float, bins: int) -> int:
    return min(int(value * bins), bins - 1)


def unambiguous(features: NDArray[np.float32], bins: int, border: int) -> bool:
    """Whether no value lies where two bins meet, except the least and the greatest."""
    for channel in features.astype(np.float64):
        place = stretched(bordered(channel, border)) * bins
        between = (place > 1e-9) & (place < bins - 1e-9)
        if (np.abs(place - np.round(place))[between] < 1e-4).any():
            return False
    return True


values = st.one_of(
    st.just(0.0),
    st.just(6.0),  # where ReLU6 saturates
    st.integers(0, 400).map(lambda n: n * 0.01493),
    st.integers(-400, 400).map(lambda n: n * 0.01493),
)
layers = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)), elements=values
)


def by_torch(features: NDArray[np.float32], *, bins: int = 11, border: int = 1) -> NDArray[np.float32]:
    result: NDArray[np.float32] = rarity_map_torch(
        torch.from_numpy(features), bins=bins, border=border
    ).numpy()
    return result


def by_channels(features: NDArray[np.float32], *, bins: int = 11, border: int = 1) -> NDArray[np.float32]:
    return channel_maps(features, bins=bins, border=border).sum(axis=0)


@pytest.fixture(scope="module", params=["numpy", "numba", "torch", "channels"])
def rare(request: pytest.FixtureRequest) -> Iterator[Rarity]:
    """Each way to the same map."""
    if request.param in ("torch", "channels"):
        yield {"torch": by_torch, "channels": by_channels}[request.param]
        return
    if request.param == "numba" and importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")
    module = f"sparsight.saliency.rarity{'_numba' * (request.param == 'numba')}"
    with pytest.MonkeyPatch.context() as patch:
        add = getattr(importlib.import_module(module), "add" if request.param == "numba" else "add_numpy")
        patch.setattr(rarity, "adder", lambda: add)
        yield rarity_map


@settings(deadline=None, max_examples=60)
@given(layers, st.integers(2, 16), st.integers(0, 3))
def test_equals_the_published_steps_taken_one_by_one(
    rare: Rarity, features: NDArray[np.float32], bins: int, border: int
) -> None:
    assume(unambiguous(features, bins, border))
    before = features.copy()
    result = rare(features, bins=bins, border=border)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, literal(features, bins, border), atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(features, before)


References = Callable[[NDArray[np.float32], int], Channel]


@pytest.fixture(scope="module")
def references() -> References:
    """``literal`` with a border of 1; it is slow, so each is made once for all ways."""
    known: dict[tuple[bytes, int], Channel] = {}

    def reference(features: NDArray[np.float32], bins: int) -> Channel:
        key = (hashlib.sha256(features.tobytes()).digest(), bins)
        if key not in known:
            known[key] = literal(features, bins, 1)
        return known[key]

    return reference


@pytest.mark.parametrize(
    ("shape", "bins"),
    [
        ((5, 13, 12), 11),  # two channels to a code, and one left over
        ((7, 40, 38), 11),  # three, and one left over
        ((8, 20, 22), 6),  # three, and two left over
        ((70, 40, 40), 11),  # more than is taken at once
        ((2, 300, 260), 4),  # a map larger than what is taken at once
        ((3, 9, 9), 64),
    ],
)
@pytest.mark.parametrize("relu", [True, False])
def test_equals_the_published_steps_on_larger_layers(
    rare: Rarity, shape: tuple[int, int, int], bins: int, relu: bool, references: References
) -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=shape).astype(np.float32)
    if relu:
        features = np.maximum(features, 0)
    features[0] = 0
    features[1, 3, 4] = 50
    result = rare(features, bins=bins, border=1)
    expected = references(features, bins)
    # A value beside the edge of two bins may be counted in either: a few pixels in a channel of thousands.
    np.testing.assert_allclose(result, expected, rtol=2e-3, atol=2e-3 * expected.max())


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_share_the_work_and_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rarity, "_FEW", 1000)
    rng = np.random.default_rng(3)
    shapes = [(70, 56, 50), (1, 56, 50), (96, 28, 28), (300, 14, 14), (9, 2, 2), (700, 7, 7)]
    layers = {f"layer {index}": rng.random(shape, np.float32) for index, shape in enumerate(shapes)}
    layers["a view"] = rng.random((20, 40, 60), np.float32)[:, ::2, 5:]
    alone = rarity_maps(layers, bins=11, border=lambda width: 1 + (width > 40))
    shared, again = (
        rarity_maps(layers, bins=11, border=lambda width: 1 + (width > 40), threads=threads) for _ in range(2)
    )
    assert list(shared) == list(layers)
    for name in layers:
        np.testing.assert_allclose(shared[name], alone[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(again[name], shared[name])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 20), st.integers(1, 20))), st.integers(1, 6))
def test_every_channel_is_dealt_out_once(shapes: list[tuple[int, int, int]], threads: int) -> None:
    layers = {str(index): np.zeros(shape, np.float32) for index, shape in enumerate(shapes)}
    parts = rarity._parts(layers, threads)
    dealt = [(part.layer, channel) for part in parts for channel in range(part.start, part.stop)]
    assert dealt == [(name, channel) for name, maps in layers.items() for channel in range(len(maps))]
    assert all(part.total.shape == layers[part.layer].shape[1:] for part in parts)
    if threads == 1:
        assert len(parts) == len(layers)


def test_a_single_hot_pixel_is_the_salient_one() -> None:
    features = np.zeros((4, 20, 30), np.float32)
    features[:, 12, 7] = 1
    result = rarity_map(features)
    assert np.unravel_index(result.argmax(), result.shape) == (12, 7)
    assert (result > 0).sum() == 1
    # One pixel of 600: q is one there, scaled by the mean of the stretched rarity, 1/600.
    q = (1 - 1 / 600) ** 4
    assert result[12, 7] == pytest.approx(4 * (q - q / 600) ** 2, rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 9), (3, 9, 2), (1, 2, 2)])
def test_a_map_that_is_all_border_has_nothing_rare(shape: tuple[int, int, int]) -> None:
    result = rarity_map(np.random.default_rng(0).random(shape, np.float32))
    assert result.shape == shape[1:]
    assert not result.any()


def test_the_border_is_zero_however_rare() -> None:
    features = np.random.default_rng(1).random((6, 24, 31), np.float32)
    features[:, 0] = features[:, :, -2] = 99
    result = rarity_map(features, border=2)
    assert not np.concatenate([result[:2].ravel(), result[-2:].ravel()]).any()
    assert not np.concatenate([result[:, :2].ravel(), result[:, -2:].ravel()]).any()
    assert result[2:-2, 2:-2].any()


@pytest.mark.parametrize("value", [0.0, -3.0, 1e30])
def test_a_channel_without_contrast_gives_a_finite_map(value: float) -> None:
    assert np.isfinite(rarity_map(np.full((3, 10, 12), value, np.float32))).all()
    assert not rarity_map(np.full((3, 10, 12), value, np.float32), border=0).any()


@pytest.mark.parametrize("border", [1, 2])
@pytest.mark.parametrize("spared", [None, "corner", "inside"])
def test_corners_are_set_to_zero_but_for_one_that_is_spared(border: int, spared: str | None) -> None:
    maps = np.ones((3, 9, 12), np.float32)
    maps[1, border, border] = 2
    place = {None: None, "corner": (9 - border - 1, border), "inside": (4, 4)}[spared]
    assert zero_corners(maps, border, place).tolist() == [1, 2, 1]
    corners = maps[:, [border, border, -border - 1, -border - 1], [border, -border - 1] * 2]
    expected = [0, 0, 1, 0] if spared == "corner" else [0] * 4
    np.testing.assert_array_equal(corners, [expected] * 3)
    assert maps.sum() == maps.size - 3 * (4 - sum(expected))


def test_corners_of_small_maps_and_of_maps_without_a_border_stay() -> None:
    for shape, border in (((5, 9), 1), ((8, 8), 0)):
        maps = np.ones(shape, np.float32)
        assert not zero_corners(maps, border)
        assert maps.all()
