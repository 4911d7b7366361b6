"""DeepRare on ImageNet's MobileNetV2: where people look in photographs, and the odd one out."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat

from sparsight import SparsightError, media, saliency
from sparsight import assets as catalogue

pytestmark = pytest.mark.real

PICTURES = range(0, 700, 20)
CELL = 96
CELLS = 5


@pytest.fixture(scope="module")
def model() -> saliency.SaliencyModel:
    try:
        catalogue.path("mobilenet_v2")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")
    return saliency.build("deeprare", device="cpu")


def normalised(values: NDArray[np.float32], x: NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """Normalised scanpath saliency: deviations above the mean, where people looked."""
    return float(((values - values.mean()) / values.std())[y, x].mean())


def test_people_look_where_features_are_rare(assets: Path, model: saliency.SaliencyModel) -> None:
    folder = assets / "saliency" / "osie"
    records = loadmat(folder / "eye" / "fixations.mat", squeeze_me=True, struct_as_record=False)["fixations"]
    ours, centre = [], []
    for index in PICTURES:
        image = media.read_image(folder / "stimuli" / records[index].img)
        height, width = image.shape[:2]
        x = np.concatenate([np.atleast_1d(viewer.fix_x) for viewer in records[index].subjects]).astype(int)
        y = np.concatenate([np.atleast_1d(viewer.fix_y) for viewer in records[index].subjects]).astype(int)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        ours.append(normalised(model(image).map, x[inside], y[inside]))
        row, column = np.mgrid[-2 : 2 : height * 1j, -2 : 2 : width * 1j]
        middle = np.exp(-(row**2 + column**2) / 2).astype(np.float32)
        centre.append(normalised(middle, x[inside], y[inside]))
    assert np.mean(ours) > 1.3
    assert np.mean(ours) > np.mean(centre) + 0.4


def array_of_bars(odd: tuple[int, int], kind: str) -> NDArray[np.uint8]:
    """Five by five bars on grey, one of them of another colour or orientation."""
    image = np.full((CELL * CELLS, CELL * CELLS, 3), 128, np.uint8)
    for row in range(CELLS):
        for column in range(CELLS):
            other = (row, column) == odd
            colour = (40, 70, 220) if other and kind == "colour" else (220, 60, 40)
            angle = math.radians(120 if other and kind == "orientation" else 30)
            middle = np.array([column + 0.5, row + 0.5]) * CELL
            half = np.array([math.cos(angle), math.sin(angle)]) * CELL * 0.25
            first, last = ((middle + sign * half).astype(int).tolist() for sign in (-1, 1))
            cv2.line(image, first, last, colour, CELL // 7, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("kind", ["colour", "orientation"])
def test_the_odd_one_out_is_found_first(model: saliency.SaliencyModel, kind: str) -> None:
    places = [(row, column) for row in range(CELLS) for column in range(CELLS)]
    found = 0
    for odd in places:
        values = model(array_of_bars(odd, kind)).map
        row, column = np.unravel_index(values.argmax(), values.shape)
        found += (int(row) // CELL, int(column) // CELL) == odd
    assert found / len(places) >= 0.8
