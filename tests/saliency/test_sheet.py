from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from sparsight import SparsightError
from sparsight.saliency import SaliencyResult
from sparsight.saliency.result import Channel
from sparsight.saliency.sheet import CHANNELS, explain

Asked = list[tuple[int, int, int]]


def result(shape: tuple[int, int] = (60, 90)) -> tuple[SaliencyResult, Asked]:
    rng = np.random.default_rng(0)
    asked: Asked = []
    maps = rng.random((CHANNELS, 6, 9), np.float32)

    def strongest(x: int, y: int, count: int) -> list[Channel]:
        asked.append((x, y, count))
        return [Channel("layer", index, 0.1, maps[index]) for index in range(count)]

    values = np.zeros(shape, np.float32)
    values[shape[0] // 3, shape[1] // 2] = 1
    layers = {f"features.{index}.conv.0": rng.random((6, 9), np.float32) for index in range(13)}
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    levels = {"6x9": layers["features.0.conv.0"]}
    return SaliencyResult(values, levels, layers, image=image, strongest=strongest), asked


def test_by_default_the_highest_point_is_explained() -> None:
    given, asked = result()
    image = given.image.copy() if given.image is not None else None
    sheet = explain(given)
    assert asked == [(45, 20, CHANNELS)]
    assert sheet.shape[1:] == (1280, 3)
    assert sheet.dtype == np.uint8
    assert image is not None
    np.testing.assert_array_equal(given.image, image)


def test_only_levels_that_are_added_have_weights() -> None:
    given, _ = result()
    added = explain(dataclasses.replace(given, level_weights={"6x9": 1.0}))
    assert added.shape == explain(given).shape
    assert not np.array_equal(added, explain(given))


def test_the_point_asked_for() -> None:
    given, asked = result()
    first, other = explain(given, 10, 12), explain(given, 80, 50)
    assert asked == [(10, 12, CHANNELS), (80, 50, CHANNELS)]
    assert first.shape == other.shape
    assert not np.array_equal(first, other)


def test_the_rows_are_what_a_model_has() -> None:
    given, _ = result()
    heights = [
        explain(dataclasses.replace(given, **less)).shape[0]
        for less in ({}, {"strongest": None}, {"strongest": None, "layers": {}})
    ]
    bare = explain(SaliencyResult(given.map, image=given.image)).shape[0]
    assert sorted([*heights, bare], reverse=True) == [*heights, bare]
    assert len({*heights, bare}) == 4


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3)])
def test_pictures_of_odd_shapes(shape: tuple[int, int]) -> None:
    assert explain(result(shape)[0]).shape[1] == 1280


def test_processing_shows() -> None:
    given, _ = result()
    plain, done = explain(given), explain(dataclasses.replace(given, processing=("low-pass, sigma 0.03",)))
    assert plain.shape == done.shape
    changed = np.nonzero((plain != done).any(axis=(1, 2)))[0]
    assert changed.max() < 60  # in the heading


def test_the_head_names_what_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    text = ImageDraw.ImageDraw.text

    def spy(pen: Any, xy: Any, words: str, *rest: Any, **options: Any) -> None:
        written.append(words)
        text(pen, xy, words, *rest, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    given, _ = result()
    bare = explain(given)
    assert written[0].startswith("At (45, 20)")
    written.clear()
    named = explain(given, title="photo.jpg   deeprare(size=320)")
    assert written[0] == "photo.jpg   deeprare(size=320)"
    assert written[1].startswith("At (45, 20)")
    assert named.shape[0] > bare.shape[0]


@pytest.mark.parametrize(
    ("changes", "point", "words"),
    [
        ({"image": None}, (None, None), "holds no picture"),
        ({}, (3, None), "give both x and y"),
        ({}, (90, 5), "90,5 lies outside the picture of 90x60"),
        ({}, (5, -1), "5,-1 lies outside"),
    ],
)
def test_what_cannot_be_explained(changes: dict[str, Any], point: tuple[Any, Any], words: str) -> None:
    with pytest.raises(SparsightError, match=words):
        explain(dataclasses.replace(result()[0], **changes), *point)
