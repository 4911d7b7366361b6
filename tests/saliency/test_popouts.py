from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.saliency.popouts import KINDS, p3_popouts, popout, popouts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_one_item_differs_and_only_in_its_kind(kind: str, seed: int) -> None:
    one = popout(kind, seed, size=(300, 420))
    assert one.image.shape == (300, 420, 3)
    assert one.target_mask.any()
    areas = one.distractor_masks.sum(axis=(1, 2))
    assert areas.min() > 0.8 * areas.max()
    own = one.target_mask.sum()
    # The middle of an item is all ink, its edges are mixed with the paper.
    inks = [np.median(one.image[mask], axis=0) for mask in one.distractor_masks]
    odd = np.median(one.image[one.target_mask], axis=0)
    assert all((ink == inks[0]).all() for ink in inks)
    if kind == "colour":
        assert np.abs(odd - inks[0]).max() > 40
    else:
        np.testing.assert_array_equal(odd, inks[0])
    if kind == "size":
        assert own > 3 * areas.max() or own < areas.min() / 3
    else:
        assert 0.8 * areas.max() < own < areas.min() / 0.8
    if kind == "orientation":
        assert abs(direction(one.target_mask) - direction(one.distractor_masks[0])) > 20


def direction(mask: Any) -> float:
    """The angle of a bar's longer axis, degrees in [0, 180)."""
    y, x = np.nonzero(mask)
    xx, yy, xy = np.cov(x, y)[[0, 1, 0], [0, 1, 1]]
    return float(np.degrees(np.arctan2(2 * xy, xx - yy)) / 2 % 180)


def test_no_two_items_touch_and_a_catchment_holds_the_target_alone() -> None:
    for kind in KINDS:
        for one in (popout(kind, seed, size=(200, 300)) for seed in range(8)):
            together = one.target_mask.astype(int) + one.distractor_masks.sum(axis=0)
            assert together.max() == 1
            middles = [np.argwhere(mask).mean(axis=0).round().astype(int) for mask in one.distractor_masks]
            catchment = one.catchment()
            assert (catchment & one.target_mask).sum() > 0.99 * one.target_mask.sum()
            assert not any(catchment[y, x] for y, x in middles)


def test_several_have_several_sizes() -> None:
    pictures = popouts("colour", 3, seed=5)
    assert [one.image.shape[:2] for one in pictures] == [(300, 300), (480, 640), (600, 800)]
    np.testing.assert_array_equal(pictures[1].image, popout("colour", 6, size=(480, 640)).image)


def test_a_seed_is_a_picture() -> None:
    first, again, other = popout("size", 4), popout("size", 4), popout("size", 5)
    np.testing.assert_array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


def test_what_is_asked_for() -> None:
    one = popout("orientation", 0, size=(200, 200), grid=5, background=(1, 2, 3), difference=90)
    assert len(one.distractor_masks) == 24
    assert one.spacing == 40
    np.testing.assert_array_equal(one.image[0, 0], (1, 2, 3))
    turned = abs(direction(one.target_mask) - direction(one.distractor_masks[0]))
    assert turned == pytest.approx(90, abs=3)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("color", {}, "did you mean 'colour'"),
        ("size", {"grid": 2}, "3 to 9"),
        ("size", {"size": (100, 900), "grid": 7}, "no room"),
    ],
)
def test_what_cannot_be_drawn(kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SparsightError, match=words):
        popout(kind, 0, **options)


def test_pictures_in_the_geometry_of_p3() -> None:
    for kind in KINDS:
        for one in p3_popouts(kind, 3, seed=4):
            assert one.image.shape == (1024, 1024, 3)
            assert len(one.distractor_masks) == 48
            together = one.target_mask.astype(int) + one.distractor_masks.sum(axis=0)
            assert together.max() == 1
            middles = np.array([np.argwhere(mask).mean(axis=0) for mask in one.distractor_masks])
            grid = (np.round(middles / one.spacing - 0.5) + 0.5) * one.spacing
            assert 10 < np.abs(middles - grid).max() < 19.5
            longest = max(
                np.ptp(np.argwhere(mask), axis=0).max() for mask in (one.target_mask, one.distractor_masks[0])
            )
            assert 27 < longest < 93  # a square's diagonal is longer than its side
    odd = [one.target_mask.sum() / one.distractor_masks[0].sum() for one in p3_popouts("size", 12, seed=4)]
    assert min(odd) < 0.5 and max(odd) > 1.8


def test_new_arguments_leave_the_pictures_of_a_seed_as_they_were() -> None:
    one = popout("size", 7, size=(200, 200))
    assert int(one.image.astype(np.int64).sum()) == 1666072
