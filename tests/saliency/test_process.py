from __future__ import annotations

import cv2
import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.saliency import SaliencyResult
from sparsight.saliency.process import processed


def result() -> SaliencyResult:
    values = np.zeros((40, 60), np.float32)
    values[5, 50] = 1
    values[20, 30] = 0.9
    return SaliencyResult(values, processing=("before",))


def test_nothing_is_done_unless_asked_for() -> None:
    before = result()
    after = processed(before)
    np.testing.assert_array_equal(after.map, before.map)
    assert after.processing == ("before",)


def test_a_low_pass_of_a_fraction_of_the_width() -> None:
    after = processed(result(), blur=0.05)
    expected = cv2.GaussianBlur(result().map, (0, 0), 3, borderType=cv2.BORDER_REFLECT)
    np.testing.assert_allclose(after.map, (expected - expected.min()) / np.ptp(expected), atol=1e-6)
    assert after.processing == ("before", "low-pass, sigma 0.05 of the width")


def test_a_centre_prior_moves_the_peak_to_the_middle() -> None:
    after = processed(result(), centre_prior=0.25)
    assert np.unravel_index(after.map.argmax(), after.map.shape) == (20, 30)
    at = [
        (((y + 0.5) / 40 - 0.5) ** 2 + ((x + 0.5) / 60 - 0.5) ** 2) / (2 * 0.25**2)
        for y, x in ((5, 50), (20, 30))
    ]
    assert after.map[5, 50] / after.map[20, 30] == pytest.approx(np.exp(at[1] - at[0]) / 0.9, rel=1e-4)
    assert after.processing == ("before", "centre prior, sigma 0.25 of the size")


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("step", ["blur", "centre_prior"])
def test_a_deviation_that_is_none(step: str, sigma: float) -> None:
    with pytest.raises(SparsightError, match="out of range"):
        processed(result(), **{step: sigma})
