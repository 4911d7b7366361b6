"""What holds for every classic model: nothing in a flat picture, odd ones out, mirror images, any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight import SparsightError, saliency

CLASSIC = ["aim", "covsal", "gbvs", "itti", "rare2007", "rare2012", "signature", "spectral_residual"]


@pytest.fixture(scope="module", params=CLASSIC)
def model(request: pytest.FixtureRequest) -> saliency.SaliencyModel:
    return saliency.build(request.param)


@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 30, 77)])
@pytest.mark.parametrize("shape", [(60, 80), (301, 400), (777, 1021)])
def test_one_colour_has_nothing_salient(
    model: saliency.SaliencyModel, shape: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    image = np.full((*shape, 3), colour, np.uint8)
    assert not model(image).map.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 5), (33, 300), (300, 33)])
def test_any_size_gives_a_map_of_that_size(model: saliency.SaliencyModel, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    result = model(image)
    for values in (result.map, *result.levels.values()):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert 0 <= values.min() <= values.max() <= 1
    assert result.map.shape == shape


def test_what_is_no_image_is_refused(model: saliency.SaliencyModel) -> None:
    for wrong in (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(SparsightError, match="saliency takes an image"):
            model(wrong)


def scene(seed: int) -> NDArray[np.uint8]:
    """Blobs of colour: as smooth as a photograph."""
    noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def test_a_mirror_image_gets_a_mirrored_map(model: saliency.SaliencyModel) -> None:
    image = scene(1)
    straight = model(image).map
    for mirrored, back in ((image[:, ::-1], np.s_[:, ::-1]), (image[::-1], np.s_[::-1])):
        map_back = model(np.ascontiguousarray(mirrored)).map[back]
        # Halving an even number of pixels keeps the first of each pair, not the middle.
        assert np.corrcoef(straight.ravel(), map_back.ravel())[0, 1] > 0.9


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_same_image_gets_the_same_map_however_it_lies_in_memory(
    model: saliency.SaliencyModel, seed: int
) -> None:
    image = scene(seed)
    wide = np.zeros((96, 256, 3), np.uint8)
    wide[:, ::2] = image
    np.testing.assert_allclose(model(image).map, model(wide[:, ::2]).map, atol=1e-5)


CELL, CELLS = 64, 5


def array_of_items(odd: tuple[int, int], kind: str) -> NDArray[np.uint8]:
    """Five by five items on grey, one of another colour, orientation or size."""
    image = np.full((CELL * CELLS, CELL * CELLS, 3), 128, np.uint8)
    for row in range(CELLS):
        for column in range(CELLS):
            other = (row, column) == odd
            colour = (40, 90, 220) if other and kind == "colour" else (210, 60, 40)
            angle = np.deg2rad(135 if other and kind == "orientation" else 45)
            length = CELL * (0.42 if other and kind == "size" else 0.2)
            middle = (np.array([column, row]) + 0.5) * CELL
            tip = np.array([np.cos(angle), np.sin(angle)]) * length
            ends = [tuple(int(v) for v in middle + sign * tip) for sign in (-1, 1)]
            thick = CELL // 5 if other and kind == "size" else CELL // 8
            cv2.line(image, ends[0], ends[1], colour, thick, cv2.LINE_AA)
    return image


# What each model is made to notice; orientation is nothing to a model of colours, say.
NOTICES = [
    ("aim", "colour"),
    ("covsal", "colour"),
    ("gbvs", "colour"),
    ("itti", "colour"),
    ("itti", "orientation"),
    ("rare2007", "colour"),
    ("rare2012", "colour"),
    ("rare2012", "orientation"),
    ("signature", "colour"),
    ("spectral_residual", "size"),
    ("rare2007", "size"),
    ("itti", "size"),
]


@pytest.mark.parametrize(("name", "kind"), NOTICES)
def test_the_odd_one_out_stands_out(name: str, kind: str) -> None:
    model = saliency.build(name)
    places = [(1, 1), (2, 2), (1, 3), (3, 2)]
    found = 0
    for odd in places:
        values = model(array_of_items(odd, kind)).map
        row, column = np.unravel_index(values.argmax(), values.shape)
        found += (int(row) // CELL, int(column) // CELL) == odd
    assert found >= 3
