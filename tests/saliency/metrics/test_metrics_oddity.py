import numpy as np
import pytest

from sparsight.errors import SparsightError
from sparsight.saliency import metrics

SHAPE = (60, 80)


def display():
    """A target and two distractors of ten pixels."""
    target, distractors = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    target[10:20, 10:20] = True
    distractors[10:20, 50:60] = True
    distractors[40:50, 30:40] = True
    return target, distractors


def published_search(saliency, target, side, tries):
    """The search as it was published, step by step."""
    values, count = saliency.astype(float).copy(), 0
    while True:
        row, column = np.unravel_index(np.argmax(values), values.shape)
        count += 1
        if target[row, column]:
            return count
        top, bottom = max(0, int(row - side / 2)), min(values.shape[0], int(row + side / 2))
        left, right = max(0, int(column - side / 2)), min(values.shape[1], int(column + side / 2))
        values[top:bottom, left:right] = 0
        if count > tries:
            return count


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("side", [1, 7, 10])
def test_search_as_published(seed, side):
    target, _ = display()
    saliency = np.random.default_rng(seed).random(SHAPE)
    saliency[target] *= 0.7
    assert metrics.fixations_to_target(saliency, target, side) == published_search(saliency, target, side, 99)


def test_search_counts_and_misses():
    target, distractors = display()
    saliency = np.where(target, 3.0, np.where(distractors, 2.0, 0.0))
    assert metrics.fixations_to_target(saliency, target, 10) == 1
    assert metrics.fixations_to_target(saliency - 5, target, 10) == 1
    hidden = np.where(distractors, 2.0, np.where(target, 1.0, 0.0))
    assert metrics.fixations_to_target(hidden, target, 30) == 3
    assert metrics.fixations_to_target(hidden, target, 30, max_tries=2) == 3
    assert metrics.fixations_to_target(hidden, target, 30, max_tries=1) == 2
    assert metrics.fixations_to_target(np.where(distractors, 1.0, 0.0), target, 10) == 100
    assert metrics.fixations_to_target(np.zeros(SHAPE), target, 10) == 100
    with pytest.raises(SparsightError, match="give 1 or more"):
        metrics.fixations_to_target(saliency, target, 10, max_tries=0)
    with pytest.raises(SparsightError, match="above zero"):
        metrics.fixations_to_target(saliency, target, 0)


def test_ratios_of_a_worked_example():
    target, distractors = display()
    saliency = np.full(SHAPE, 0.5)
    saliency[target], saliency[distractors] = 3.0, 1.0
    saliency[10, 50] = 2.0
    mean = (199 * 1.0 + 2.0) / 200
    assert metrics.gsi(saliency, target, distractors) == pytest.approx((3 - mean) / (3 + mean))
    assert metrics.msr_target(saliency, target, distractors) == 1.5
    assert metrics.msr_background(saliency, target, distractors) == pytest.approx(0.5 / 3)


def test_published_rules_for_maps_without_an_answer():
    target, distractors = display()
    nothing = np.zeros(SHAPE)
    assert metrics.gsi(nothing, target, distractors) == -1.0
    assert metrics.msr_target(nothing, target, distractors) == -1.0
    assert metrics.msr_background(nothing, target, distractors) == -1.0
    alone = np.where(target, 1.0, 0.0)
    assert metrics.gsi(alone, target, distractors) == 1.0
    assert metrics.msr_target(alone, target, distractors) == -1.0
    assert metrics.msr_background(alone, target, distractors) == 0.0


@pytest.mark.parametrize("name", ["gsi", "msr_target", "msr_background"])
def test_bad_input_is_told_in_one_sentence(name):
    score = getattr(metrics, name)
    target, distractors = display()
    with pytest.raises(SparsightError, match="the target mask is empty"):
        score(np.ones(SHAPE), np.zeros(SHAPE, bool), distractors)
    with pytest.raises(SparsightError, match="80x60 pixels and the mask of the distractors 79x60"):
        score(np.ones(SHAPE), target, distractors[:, 1:])
