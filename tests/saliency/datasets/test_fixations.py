"""Laws of the arrays of fixations."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight.saliency.datasets.fixations import gather

runs = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.tuples(st.floats(-5, 50), st.floats(-5, 50)), max_size=4)),
    max_size=8,
)


@settings(deadline=None)
@given(runs)
def test_each_image_keeps_its_fixations_in_their_order(
    looked: list[tuple[int, list[tuple[float, float]]]],
) -> None:
    fixations = gather(
        [
            (image, [x for x, _ in xy], [y for _, y in xy], np.nan, index)
            for index, (image, xy) in enumerate(looked)
        ]
    )
    assert len(fixations) == sum(len(xy) for _, xy in looked)
    counts = fixations.counts(5)
    for image in range(5):
        expected = [point for which, xy in looked if which == image for point in xy]
        np.testing.assert_array_equal(fixations.xy(image), np.array(expected).reshape(-1, 2))
        assert counts[image] == len(expected)


@settings(deadline=None)
@given(runs, st.integers(1, 60), st.integers(1, 60))
def test_inside_is_where_the_pixel_exists(
    looked: list[tuple[int, list[tuple[float, float]]]], height: int, width: int
) -> None:
    fixations = gather([(image, [x for x, _ in xy], [y for _, y in xy], 0.1, -1) for image, xy in looked])
    inside = fixations.inside(np.tile([height, width], (5, 1)))
    column, row = np.floor(fixations.x), np.floor(fixations.y)
    np.testing.assert_array_equal(
        inside, [0 <= x < width and 0 <= y < height for x, y in zip(column, row, strict=True)]
    )
    kept = fixations.keep(inside)
    assert len(kept) == inside.sum()
    np.testing.assert_array_equal(kept.image, fixations.image[inside])


def test_no_place_is_not_inside() -> None:
    fixations = gather([(0, [np.nan, 1.0], [1.0, 1.0], np.nan, 0)])
    assert fixations.inside(np.array([[5, 5]])).tolist() == [False, True]
