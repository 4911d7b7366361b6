from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsight import SparsightError
from sparsight.prune.variety import VARIETY, clusters, pairs, rarity


def distance(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def naive_pairs(scores: list[float], filters: list[list[float]], count: int) -> list[bool]:
    """The rule, step by step, with every distance worked out anew each time."""
    left = list(range(len(filters)))
    for _ in range(count):
        if len(left) == 1:
            left = []
            break
        _, i, j = min((distance(filters[i], filters[j]), i, j) for i in left for j in left if i < j)
        left.remove(i if scores[i] < scores[j] else j)
    return [i in left for i in range(len(filters))]


def layer(filters: int, seed: int, size: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(filters, size, generator=generator, dtype=torch.float64)
    return weight.abs().mean(dim=1), weight


@settings(max_examples=60, deadline=None)
@given(filters=st.integers(1, 14), seed=st.integers(0, 999), data=st.data())
def test_pairs_is_the_rule_taken_step_by_step(filters: int, seed: int, data: st.DataObject) -> None:
    scores, weight = layer(filters, seed)
    count = data.draw(st.integers(0, filters))
    assert pairs(scores, weight, count).tolist() == naive_pairs(scores.tolist(), weight.tolist(), count)


@pytest.mark.parametrize("name", VARIETY)
@settings(max_examples=40, deadline=None)
@given(filters=st.integers(1, 20), zeros=st.integers(0, 5), seed=st.integers(0, 999), data=st.data())
def test_exactly_as_many_go_as_asked(
    name: str, filters: int, zeros: int, seed: int, data: st.DataObject
) -> None:
    scores, weight = layer(filters, seed)
    weight[: min(zeros, filters)] = 0
    count = data.draw(st.integers(0, filters))
    kept = VARIETY[name](scores, weight, count)
    assert kept.dtype == torch.bool
    assert int((~kept).sum()) == count
    if count >= min(zeros, filters):
        assert not kept[: min(zeros, filters)].any()


@settings(max_examples=40, deadline=None)
@given(filters=st.integers(2, 20), seed=st.integers(0, 999), scale=st.floats(0.1, 10))
def test_a_copied_filter_is_the_first_to_go(filters: int, seed: int, scale: float) -> None:
    # A copy at another size points the same way; the criterion says which of the two goes.
    scores, weight = layer(filters, seed)
    weight = torch.cat([weight, weight[:1] * scale])
    scores = weight.abs().mean(dim=1)
    gone = int((~pairs(scores, weight, 1)).nonzero())
    assert gone == (0 if scale > 1 else filters)


@settings(max_examples=40, deadline=None)
@given(others=st.integers(2, 20), seed=st.integers(0, 999), data=st.data())
def test_an_outlier_survives_however_low_its_score(others: int, seed: int, data: st.DataObject) -> None:
    # All others lie within a cone; the outlier points the other way and scores least of all.
    _, weight = layer(others, seed)
    axis = torch.ones(weight.shape[1], dtype=torch.float64)
    weight = torch.cat([-axis[None] * 1e-3, axis + 0.3 * weight / weight.norm(dim=1, keepdim=True)])
    count = data.draw(st.integers(0, others - 1))
    scores = weight.abs().mean(dim=1)
    assert pairs(scores, weight, count)[0]
    assert clusters(scores, weight, count)[0]
    assert int(rarity(weight).argmax()) == 0


def test_fewer_and_more_removals_are_nested() -> None:
    scores, weight = layer(30, 3)
    kept = [pairs(scores, weight, count) for count in range(31)]
    assert all(bool((after <= before).all()) for before, after in itertools.pairwise(kept))


def test_opposite_filters_are_no_twins() -> None:
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    assert pairs(torch.tensor([3.0, 1.0, 2.0]), weight, 1).tolist() == [True, True, False]


def test_clusters_lose_filters_in_proportion_to_their_size() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 12)[[0] * 12 + [1] * 6 + [2] * 1]
    weight = centres + 0.02 * torch.randn(19, 12, generator=generator)
    scores = torch.arange(19.0)
    kept = clusters(scores, weight, 9, groups=3)
    assert [int(part.sum()) for part in kept.split([12, 6, 1])] == [6, 3, 1]
    # Within a cluster the highest scores stay.
    assert kept[6:12].all()
    assert kept[15:18].all()
    # The last filter of a cluster goes only when all have but one.
    assert clusters(scores, weight, 16, groups=3).nonzero().flatten().tolist() == [11, 17, 18]


def test_rarity_is_the_distance_to_the_nearest_other() -> None:
    _, weight = layer(9, 5)
    rows = weight.tolist()
    expected = [min(distance(a, b) for j, b in enumerate(rows) if i != j) for i, a in enumerate(rows)]
    torch.testing.assert_close(rarity(weight), torch.tensor(expected))
    torch.testing.assert_close(rarity(weight.view(9, 7, 1, 1)), torch.tensor(expected))


def test_rarity_of_copies_zeros_and_a_lone_filter() -> None:
    weight = torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0], [0.0, -1.0]])
    assert rarity(weight)[:3].abs().max() < 1e-6
    assert rarity(weight)[3] > 1
    assert rarity(torch.tensor([[0.0, 1.0], [0.0, 0.0]])).tolist() == [2.0, 0.0]


def test_bad_input_is_said_in_one_sentence() -> None:
    scores, weight = layer(4, 0)
    with pytest.raises(SparsightError, match="cannot remove 5 of 4 filters"):
        pairs(scores, weight, 5)
    with pytest.raises(SparsightError, match="flatten each filter"):
        clusters(scores, weight.view(4, 7, 1), 1)
    with pytest.raises(SparsightError, match="NaN"):
        rarity(weight * math.nan)
