"""What metrics take as ground truth, and the sentences for what they do not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.saliency import metrics

rng = np.random.default_rng(0)
MAP = rng.random((20, 30))
EVEN = np.ones((20, 30))
XY = np.array([[3, 4], [20, 10]])
MASK = np.zeros((20, 30), bool)
MASK[4:9, 5:12] = True
OTHER = np.roll(MASK, 12, axis=1)

CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "auc": (metrics.auc, (XY,)),
    "auc_judd": (metrics.auc_judd, (XY,)),
    "auc_borji": (metrics.auc_borji, (XY,)),
    "shuffled_auc": (metrics.shuffled_auc, (XY, XY + 1)),
    "nss": (metrics.nss, (XY,)),
    "log_likelihood": (metrics.log_likelihood, (XY,)),
    "information_gain": (metrics.information_gain, (XY, MAP)),
    "cc": (metrics.cc, (MAP,)),
    "sim": (metrics.sim, (MAP,)),
    "kl": (metrics.kl, (MAP,)),
    "emd": (metrics.emd, (MAP,)),
    "curves": (metrics.curves, (MASK,)),
    "f_measure": (metrics.f_measure, (MASK,)),
    "weighted_f": (metrics.weighted_f, (MASK,)),
    "mae": (metrics.mae, (MASK,)),
    "s_measure": (metrics.s_measure, (MASK,)),
    "e_measure": (metrics.e_measure, (MASK,)),
    "iou": (metrics.iou, (MASK,)),
    "region_auc": (metrics.region_auc, (MASK,)),
    "fixations_to_target": (metrics.fixations_to_target, (MASK, 5.0)),
    "gsi": (metrics.gsi, (MASK, OTHER)),
    "msr_target": (metrics.msr_target, (MASK, OTHER)),
    "msr_background": (metrics.msr_background, (MASK, OTHER)),
}

ODD: list[Any] = [None, "words", [["a", "b"]], [[1, 2], [3]], np.array([[None, 1]]), MAP + 1j, {"x": 1}]


def with_odd_argument() -> list[tuple[str, int]]:
    return [(name, place) for name, (_, truth) in CALLS.items() for place in range(len(truth))]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{type(odd).__name__} {str(odd)[:12]!r}")
@pytest.mark.parametrize(("name", "place"), with_odd_argument())
def test_a_truth_that_is_none_or_no_numbers_is_refused_in_one_sentence(
    name: str, place: int, odd: Any
) -> None:
    call, truth = CALLS[name]
    for saliency in (MAP, EVEN):
        with pytest.raises(SparsightError) as caught:
            call(saliency, *truth[:place], odd, *truth[place + 1 :])
        assert str(caught.value).count(". ") == 0 and "\n" not in str(caught.value)
    with pytest.raises(SparsightError):
        call(odd, *truth)


@pytest.mark.parametrize(
    "name",
    ["cc", "curves", "f_measure", "weighted_f", "mae", "s_measure", "e_measure", "iou", "region_auc"],
)
def test_every_preset_is_taken_and_agrees(name: str) -> None:
    call, truth = CALLS[name]
    plain = call(MAP, *truth)
    for preset in metrics.PRESETS:
        found = call(MAP, *truth, preset=preset)
        if name == "curves":
            np.testing.assert_array_equal(found.f, plain.f)
        else:
            assert found == plain
    for odd in ("matlab", None, ["mit"]):
        with pytest.raises(SparsightError, match=r"no preset of saliency metrics called .*mit, pysaliency"):
            call(MAP, *truth, preset=odd)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.uint8, np.int64, np.int8])
def test_masks_of_zeros_and_ones_of_any_type_are_one_mask(kind: type) -> None:
    for name in ("mae", "s_measure", "weighted_f", "f_measure"):
        call, _ = CALLS[name]
        assert call(MAP, MASK.astype(kind)) == call(MAP, MASK)
    assert metrics.mae(MAP, MASK.astype(np.uint8) * 255) == metrics.mae(MAP, MASK)
    assert metrics.gsi(MAP, MASK.astype(kind), OTHER.astype(kind)) == metrics.gsi(MAP, MASK, OTHER)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (MASK * 0.5, "other numbers than 0 and 1"),
        (MASK * 255.0, "other numbers than 0 and 1"),
        (np.where(MASK, np.nan, 0.0), "other numbers than 0 and 1"),
        (MASK * -1, "below 0 or above 255"),
        (MASK * 256, "below 0 or above 255"),
        (MASK[None], r"shape \(1, 20, 30\)"),
        (MASK * 0.0, "mask is empty"),
    ],
)
def test_other_masks_are_refused(mask: Any, said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        metrics.mae(MAP, mask)


@pytest.mark.parametrize("low", [0.0, -7.0, 1e4])
def test_mae_by_its_formula(low: float) -> None:
    for saliency in (
        low + 3 * MAP,
        (low + 3 * MAP).astype(np.float32),
        np.round(90 * MAP + 20).astype(np.uint8),
    ):
        exact = saliency.astype(np.float64)
        unit = (exact - exact.min()) / np.ptp(exact)
        assert metrics.mae(saliency, MASK) == pytest.approx(np.abs(unit - MASK).mean(), abs=1e-9)


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 50_001])
def test_products_of_short_vectors_add_up(size: int) -> None:
    import math

    from sparsight.saliency.metrics.plane import dot

    first, second = rng.normal(size=(2, size))
    exact = math.fsum((first * second).tolist())
    assert dot(first, second) == pytest.approx(exact, abs=1e-11 * size)
    bits = (second > 0).astype(np.uint8)
    assert dot(first, bits) == pytest.approx(math.fsum(first[bits > 0].tolist()), abs=1e-11 * size)
