from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sparsight.track import associate
from sparsight.track.associate import assign


def best_by_hand(rows: list[int], columns: list[int], gain: list[float]) -> float:
    """The largest sum over every one-to-one subset, by trying them all."""
    if not rows:
        return 0.0
    without = best_by_hand(rows[1:], columns[1:], gain[1:])
    free = [i for i in range(1, len(rows)) if rows[i] != rows[0] and columns[i] != columns[0]]
    rest = best_by_hand([rows[i] for i in free], [columns[i] for i in free], [gain[i] for i in free])
    return max(without, gain[0] + rest)


def total(rows: np.ndarray, columns: np.ndarray, gain: np.ndarray, shape: tuple[int, int]) -> float:
    taken = assign(rows, columns, gain, shape)
    assert len(set(rows[taken])) == len(set(columns[taken])) == len(taken)
    assert (np.diff(taken) > 0).all()
    return float(gain[taken].sum())


pairs = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 6)), st.floats(0.001, 1), min_size=0, max_size=14
)


@pytest.mark.parametrize("split", [False, True])
@settings(deadline=None)
@given(allowed=pairs)
def test_equals_brute_force(split: bool, allowed: dict[tuple[int, int], float]) -> None:
    rows = np.array([i for i, _ in allowed], np.intp)
    columns = np.array([j for _, j in allowed], np.intp)
    gain = np.array(list(allowed.values()))
    with pytest.MonkeyPatch.context() as patch:
        if split:
            patch.setattr(associate, "_SMALL", 0)
            patch.setattr(associate, "_PAIRS", 2)
        value = total(rows, columns, gain, (6, 7))
    assert value == pytest.approx(best_by_hand(rows.tolist(), columns.tolist(), gain.tolist()))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(30, 300), st.integers(30, 300), st.floats(0.1, 4))
def test_equals_the_dense_optimum(seed: int, height: int, width: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    worth = np.where(rng.random((height, width)) < density / height, rng.uniform(0.01, 1, (height, width)), 0)
    rows, columns = worth.nonzero()
    dense = worth[linear_sum_assignment(worth, maximize=True)].sum()
    assert total(rows, columns, worth[rows, columns], worth.shape) == pytest.approx(dense)


def test_costs_below_a_limit() -> None:
    """Two good pairs beat the best single one, and a pair at the limit is not worth taking."""
    cost, limit = np.array([[0.1, 0.2], [0.3, 0.95]]), 0.9
    rows, columns = (cost < limit).nonzero()
    taken = assign(rows, columns, limit - cost[rows, columns], cost.shape)
    assert sorted(zip(rows[taken], columns[taken], strict=True)) == [(0, 1), (1, 0)]


def test_nothing_allowed() -> None:
    none = np.zeros(0, np.intp)
    for shape in ((0, 0), (3, 0), (0, 3), (4, 4), (100, 100)):
        assert len(assign(none, none, np.zeros(0), shape)) == 0


def test_thousands_of_rows() -> None:
    """Neighbours contest each other in a chain; every second link is worth more."""
    count = 5000
    rows = np.repeat(np.arange(count), 2)
    columns = np.minimum(rows + np.tile([0, 1], count), count)
    gain = np.where(np.tile([True, False], count), 0.5, 0.4)
    assert total(rows, columns, gain, (count, count + 1)) == pytest.approx(count * 0.5)
