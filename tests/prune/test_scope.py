"""Choosing against sorting and counting, one block after the other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.prune import scope
from sparsight.prune.granularity import Blocks, partition

SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, -1.0]), min_size=1, max_size=30)


def whole(scores: list[float], size: int = 1) -> scope.Unit:
    """Blocks of a Linear layer's rows with these scores."""
    return scope.protected(torch.tensor(scores), [partition("row", (len(scores), size))])


@given(SCORES, st.data())
@settings(deadline=None)
def test_lowest_is_the_first_of_a_stable_sort(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(values)))
    expected = set(sorted(range(len(values)), key=lambda index: (values[index], index))[:count])
    found = scope.lowest(torch.tensor(values), count)
    assert {index for index, gone in enumerate(found.tolist()) if gone} == expected


@given(SCORES, st.floats(0, 0.999))
@settings(deadline=None)
def test_local_is_within_half_a_block(values: list[float], target: float) -> None:
    (gone,) = scope.local([whole(values, 3)], [target])
    count = int(gone.sum())
    assert count <= len(values) - 1
    assert abs(count - target * len(values)) <= 0.5 + 1e-9 or count == len(values) - 1
    kept = torch.tensor(values)[~gone]
    assert not gone.any() or torch.tensor(values)[gone].max() <= kept.max()


@given(st.lists(st.tuples(SCORES, st.integers(1, 5)), min_size=1, max_size=4), st.floats(0, 0.99))
@settings(max_examples=200, deadline=None)
def test_global_is_within_half_a_block_and_keeps_one_everywhere(
    layers: list[tuple[list[float], int]], target: float
) -> None:
    units = [whole(values, size) for values, size in layers]
    gone = scope.across(units, [target] * len(units))
    weights = sum(unit.weights for unit in units)
    removed = sum(int(lost.sum()) * size for lost, (_, size) in zip(gone, layers, strict=True))
    largest = max(size for _, size in layers)
    assert all(not bool(lost.all()) for lost in gone)
    reach = scope.reachable(units) * weights
    assert abs(removed - min(target * weights, reach)) <= largest / 2 + 1e-6
    # No block that may go and stays is lower than one that went.
    free = [
        (value, bool(lost[index]))
        for unit, lost in zip(units, gone, strict=True)
        for index, value in enumerate(unit.scores.tolist())
        if value != math.inf
    ]
    highest_gone = max((value for value, went in free if went), default=-math.inf)
    assert all(value >= highest_gone for value, went in free if not went)


@pytest.mark.parametrize("choose", [scope.local, scope.across])
def test_widths_are_multiples(choose: scope.Choose) -> None:
    torch.manual_seed(0)
    units = [whole(torch.rand(n).tolist(), size) for n, size in [(64, 27), (100, 9), (20, 64), (6, 10)]]
    for target in (0.05, 0.3, 0.5, 0.9):
        gone = choose(units, [target] * 4, scope.Widths(8))
        for _unit, lost in zip(units, gone, strict=True):
            n, kept = len(lost), int((~lost).sum())
            assert kept == n or kept % 8 == 0
            if choose is scope.local:
                choices = [*list(range(8, n, 8)), n]
                nearest = min(abs(width - (1 - target) * n) for width in choices)
                assert abs(kept - (1 - target) * n) == pytest.approx(nearest)
    assert len(gone[3]) == int((~gone[3]).sum()), "six channels are never rounded to none"


@given(st.integers(1, 70), st.floats(0, 1), st.sampled_from([1, 2, 8, 16]), st.booleans())
@settings(deadline=None)
def test_widths_are_the_nearest_of_those_that_may_be(
    blocks: int, share: float, multiple: int, halves: bool
) -> None:
    allowed = {n for n in range(1, blocks + 1) if n == blocks or n % multiple == 0}
    if halves:
        allowed |= {n for n in (1, 2, 4, 8) if n <= min(multiple, blocks)}
    width = scope.Widths(multiple, halves).nearest(blocks, share * blocks)
    assert width in allowed
    best = min(abs(n - share * blocks) for n in allowed)
    assert width == max(n for n in allowed if abs(n - share * blocks) == best)


def test_global_widths_come_near_the_target() -> None:
    torch.manual_seed(1)
    units = [whole(torch.rand(256).tolist(), 9) for _ in range(5)]
    for target in (0.1, 0.25, 0.5, 0.8):
        gone = scope.across(units, [target] * 5, scope.Widths(16))
        assert abs(float(torch.stack(gone).float().mean()) - target) <= 8 * 5 / (256 * 5)


def test_n_of_m_always_keeps_n_of_each_m() -> None:
    blocks = partition("2:4", (3, 10))
    torch.manual_seed(0)
    weight = torch.randn(3, 10)
    unit = scope.protected(scope.per_block(weight.abs(), blocks), [blocks])
    assert unit.free == 3 * (2 + 2 + 0) and unit.reach == unit.free
    (gone,) = scope.local([unit], [0.99])
    mask = blocks.scatter(~gone)
    for row, kept in zip(weight, mask, strict=True):
        for begin in (0, 4, 8):
            best = row[begin : begin + 4].abs().topk(2).indices.sort().values
            assert kept[begin : begin + 4].nonzero()[:, 0].tolist() == best.tolist()


def test_scores_of_blocks() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
    rows = partition("row", (2, 3))
    assert scope.per_block(weight, rows).tolist() == pytest.approx([2 / 3, 1])
    assert scope.per_block(weight, rows, "sum").tolist() == [2, 3]
    tiles: Blocks = partition("block(2, 2)", (2, 3))
    assert scope.per_block(weight, tiles).tolist() == [2, -1.5], "what pads a block does not count"


def test_normalisations() -> None:
    scores = torch.tensor([3.0, -1.0, 2.0, 2.0])
    found = {name: normalise(scores) for name, normalise in scope.NORMALISATIONS.items()}
    assert torch.equal(found["none"], scores)
    assert found["max"].tolist() == pytest.approx([1, -1 / 3, 2 / 3, 2 / 3])
    assert found["mean"].tolist() == pytest.approx([1.5, -0.5, 1, 1])
    assert float(found["standardised"].mean()) == pytest.approx(0, abs=1e-6)
    assert float(found["standardised"].std(correction=0)) == pytest.approx(1)
    for normalise in scope.NORMALISATIONS.values():
        assert normalise(torch.zeros(3)).isfinite().all()


@pytest.mark.parametrize("choose", [scope.local, scope.across])
def test_automatic_widths_are_halved_where_the_network_is_narrow(choose: scope.Choose) -> None:
    def found(round_to: int | str | None, target: float, *blocks: int) -> scope.Widths | None:
        units = [whole([0.0] * count, 9) for count in blocks]
        return scope.widths(round_to, torch.device("cuda"), choose, lambda: units, [target] * len(units))

    assert found(None, 0.5, 8, 8) is None
    assert found(16, 0.5, 8, 8) == scope.Widths(16), "as told"
    assert found("auto", 0.5, 64, 128, 24) == scope.Widths(16)
    assert found("auto", 0.5, 16, 16) == scope.Widths(16, halves=True)
    assert found("auto", 0.95, 64, 64) == scope.Widths(16, halves=True)
    assert found("auto", 0.0, 8) == scope.Widths(16), "nothing is asked"


@given(st.lists(st.floats(2**-7, 10, width=32), min_size=1, max_size=20, unique=True))
@settings(deadline=None)
def test_lamp_is_as_published(values: list[float]) -> None:
    expected = [v**2 / sum(u**2 for u in values if abs(u) >= abs(v)) for v in values]
    assert scope.NORMALISATIONS["lamp"](torch.tensor(values)).tolist() == pytest.approx(expected, rel=1e-4)


def test_multiples() -> None:
    assert scope.multiple(None, torch.device("cpu")) is None
    assert scope.multiple(4, torch.device("cpu")) == 4
    assert scope.multiple("auto", torch.device("cpu")) in (8, 16)
    assert scope.multiple("auto", torch.device("cuda")) == 16
    for wrong in (0, 2.5, "wide"):
        with pytest.raises(SparsightError, match="round_to"):
            scope.multiple(wrong, torch.device("cpu"))  # type: ignore[arg-type]
