from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsight.media import Trails, beside, colours, draw_boxes, heat, overlay

NONE = np.zeros((0, 4), np.float32)


def grey(height: int = 120, width: int = 160, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def changed(image: np.ndarray, before: int = 90) -> np.ndarray:
    return (image != before).any(axis=2)


def test_colours_are_stable_and_told_apart() -> None:
    many = colours(np.arange(1000))
    assert many.shape == (1000, 3) and many.dtype == np.uint8
    np.testing.assert_array_equal(colours([7, 3]), many[[7, 3]])
    first = many[:16].astype(int)
    apart = np.abs(first[:, None] - first[None]).max(axis=2)[~np.eye(16, dtype=bool)]
    assert apart.min() > 25
    assert many.max(axis=1).min() > 120  # bright enough on dark film
    assert colours([]).shape == (0, 3) and colours(5).shape == (1, 3)


def test_a_box_is_where_it_should_be() -> None:
    image = grey()
    assert draw_boxes(image, np.array([[40, 50, 80, 110]], np.float32), [3], [""]) is image
    rows, columns = np.nonzero(changed(image))
    # The line runs through the first and the last pixel of the box, with a dark rim around it.
    edges = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    assert (np.abs(edges - [38.5, 48.5, 80.5, 110.5]) <= 0.5).all()
    np.testing.assert_array_equal(image[80, 40], colours(3)[0])
    np.testing.assert_array_equal(image[80, 79], colours(3)[0])
    assert (image[53:107, 43:77] == 90).all()  # the person stays visible


def test_labels_stand_above_and_stay_inside() -> None:
    boxes = np.array([[40, 50, 80, 110], [150, 60, 159, 90], [0, 0, 30, 40]], np.float32)
    image = draw_boxes(grey(), boxes, [1, 2, 3], ["Anna", "Ludwig van", "Zoë"])
    np.testing.assert_array_equal(image[45, 41], colours(1)[0])  # the sign has the colour of the box
    sign = image[30:49, 40:80]
    assert (np.abs(sign.astype(int) - colours(1)[0]).max(axis=2) > 100).sum() > 30  # and holds dark letters
    assert changed(image[:, 100:])[55:60].any()
    assert changed(image[:12, :12]).all()


def test_default_label_is_the_number() -> None:
    box = np.array([[40, 50, 80, 110]], np.float32)
    np.testing.assert_array_equal(draw_boxes(grey(), box, [12]), draw_boxes(grey(), box, [12], ["12"]))


@pytest.mark.parametrize("text", ["", "x" * 500, "Łukasz 日本 🙂", "\n\t", "a\u0301", " "])
@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8), (40, 40)])
def test_any_label_on_any_picture(text: str, shape: tuple[int, int]) -> None:
    box = np.array([[0, 0, shape[1], shape[0]]], np.float32)
    assert draw_boxes(grey(*shape), box, [1], [text]).shape == (*shape, 3)


def test_nothing_to_draw() -> None:
    assert not changed(draw_boxes(grey(), NONE, [])).any()
    assert not changed(Trails().draw(grey())).any()


def test_lines_grow_with_the_picture() -> None:
    wide = draw_boxes(grey(1200, 1600), np.array([[400, 400, 900, 900]], np.float32), [1], [""])
    assert changed(wide)[600, 380:420].sum() >= 6


boxes = hnp.arrays(
    np.float32,
    (4, 4),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=True),
)


@pytest.mark.filterwarnings("error")
@settings(max_examples=50, deadline=None)
@given(boxes)
def test_wild_boxes_do_no_harm(xyxy: np.ndarray) -> None:
    image = grey(40, 50)
    trails = Trails(8)
    for _ in range(3):
        trails.update([1, 2, 3, 4], xyxy)
    trails.draw(draw_boxes(image, xyxy, [1, 2, 3, 4]))
    assert image.shape == (40, 50, 3)


def test_a_trail_follows_the_feet() -> None:
    trails = Trails(32)
    for step in range(20):
        left = 10 + 5 * step
        trails.update([4], np.array([[left, 20, left + 20, 80]], np.float32))
    image = trails.draw(grey())
    rows, columns = np.nonzero(changed(image))
    assert rows.min() >= 78 and rows.max() <= 82
    assert abs(columns.min() - 20) <= 2 and abs(columns.max() - 115) <= 2
    assert np.abs(image[80, 60].astype(int) - colours(4)[0]).max() < 60


def test_a_trail_fades_when_its_owner_is_gone() -> None:
    trails = Trails(8)
    for step in range(4):
        trails.update([4], np.array([[10 + 8 * step, 20, 30 + 8 * step, 80]], np.float32))
    lengths = []
    for _ in range(8):
        lengths.append(int(changed(trails.draw(grey())).sum()))
        trails.update([], NONE)
    assert lengths[0] > 0 and lengths[-1] == 0 and lengths == sorted(lengths, reverse=True)
    assert len(trails._identity) == 0  # and nothing of it is kept


def test_a_long_absence_breaks_the_line() -> None:
    trails = Trails(64)
    left, right = (np.array([[x, 20, x + 20, 80]], np.float32) for x in (0, 130))
    for _ in range(3):
        trails.update([4], left)
    for _ in range(30):
        trails.update([], NONE)
    for _ in range(3):
        trails.update([4], right)
    assert not changed(trails.draw(grey()))[:, 20:130].any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 9), max_size=6), min_size=1, max_size=30), st.randoms())
def test_trails_remember_what_a_plain_list_would(seen: list[set[int]], random: object) -> None:
    length = 7
    trails = Trails(length)
    rng = np.random.default_rng(0)
    history: deque[dict[int, tuple[float, float]]] = deque(maxlen=length)
    for identities in seen:
        order = sorted(identities, key=lambda _: random.random())  # type: ignore[attr-defined]
        xyxy = rng.uniform(0, 100, (len(order), 4)).astype(np.float32)
        trails.update(order, xyxy)
        history.append(
            {who: ((box[0] + box[2]) / 2, box[3]) for who, box in zip(order, xyxy.tolist(), strict=True)}
        )
    expected = {who: [frame.get(who) for frame in history] for frame in history for who in frame}
    points = np.roll(trails._points, -(trails._column + 1), axis=1)[:, length - len(history) :]
    assert sorted(trails._identity.tolist()) == sorted(expected)
    for who, row in zip(trails._identity.tolist(), points, strict=True):
        for got, want in zip(row, expected[who], strict=True):
            assert np.isnan(got).all() if want is None else np.allclose(got, want, atol=1e-4)


def test_heat_grows_brighter() -> None:
    ramp = np.linspace(-3, 11, 256, dtype=np.float32).reshape(1, -1)
    image = heat(ramp)
    brightness = image[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness) > -1.5).all() and brightness[0] < 5 and brightness[-1] > 230
    assert image[0, 150, 0] > image[0, 150, 2]  # red, not blue: the order is RGB


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf])
def test_a_constant_map_is_black(value: float) -> None:
    assert heat(np.full((4, 5), value, np.float32)).max() <= 4
    picture = overlay(grey(), np.full((4, 5), value, np.float32))
    assert np.ptp(picture) == 0  # nothing glows


def test_stray_values_do_not_spoil_a_map() -> None:
    values = np.array([[0.0, 0.5, 1.0]])
    stray = np.array([[np.nan, 0.0, 0.5, 1.0, np.inf, -np.inf]])
    np.testing.assert_array_equal(heat(stray)[0, 1:4], heat(values)[0])
    np.testing.assert_array_equal(heat(stray)[0, [0, 4, 5]], heat(values)[0, [0, 2, 0]])


def test_overlay_glows_where_the_map_is_high() -> None:
    image = grey()
    values = np.zeros((12, 16))
    values[2, 3] = 1  # one tenth of the size: stretched
    out = overlay(image, values).astype(int)
    assert (image == 90).all() and out.shape == image.shape
    bright = np.unravel_index(out.sum(axis=2).argmax(), (120, 160))
    assert abs(bright[0] - 24.5) < 3 and abs(bright[1] - 34.5) < 3
    assert out[100, 140].tolist() == [63, 63, 63]  # elsewhere the picture, at 70%
    assert overlay(image, values, alpha=0.0).max() == 63


def test_beside() -> None:
    pair = beside(grey(60, 80, 1), grey(30, 20, 200))
    assert pair.shape == (60, 120, 3)
    assert (pair[:, :80] == 1).all() and (pair[:, 80:] == 200).all()
