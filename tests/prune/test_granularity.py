"""Blocks against what each granularity says in words, by loops over every weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsight import SparsightError
from sparsight.prune.granularity import GRANULARITIES, Blocks, parse, partition

LAYERS: dict[str, nn.Module] = {
    "linear": nn.Linear(6, 5),
    "conv1d": nn.Conv1d(3, 4, 3),
    "conv2d": nn.Conv2d(3, 4, (2, 3)),
    "conv3d": nn.Conv3d(2, 3, (2, 3, 2)),
    "grouped": nn.Conv2d(6, 4, 3, groups=2),
    "depthwise": nn.Conv2d(5, 5, 3, groups=5),
    "depthwise_multiplied": nn.Conv1d(3, 6, 2, groups=3),
}

# What two weights of one block have in common. A weight is (group, filter, input, depth, row, column), with
# the filter counted within the layer and the input within the group.
SAME: dict[str, Callable[..., object]] = {
    "weight": lambda g, f, i, z, y, x: (f, i, z, y, x),
    "row": lambda g, f, i, z, y, x: f,
    "column": lambda g, f, i, z, y, x: (g, i, z, y, x),
    "kernel_row": lambda g, f, i, z, y, x: (f, i, z, y),
    "kernel_column": lambda g, f, i, z, y, x: (f, i, z, x),
    "kernel": lambda g, f, i, z, y, x: (f, i),
    "filter": lambda g, f, i, z, y, x: f,
    "input_channel": lambda g, f, i, z, y, x: (g, i),
    "input": lambda g, f, i, z, y, x: (g, i),
    "shared_kernel": lambda g, f, i, z, y, x: (i, z, y, x),
}


def places(shape: tuple[int, ...], groups: int) -> dict[int, tuple[int, ...]]:
    """Flat index of a weight → its place as ``SAME`` has it."""
    kernel = (*[1] * (5 - len(shape)), *shape[2:])
    found, flat = {}, 0
    for f in range(shape[0]):
        for i in range(shape[1]):
            for z in range(kernel[0]):
                for y in range(kernel[1]):
                    for x in range(kernel[2]):
                        found[flat] = (f // (shape[0] // groups), f, i, z, y, x)
                        flat += 1
    return found


def flat_blocks(blocks: Blocks) -> set[frozenset[int]]:
    """The flat indices of the weights in each block."""
    index = torch.arange(torch.Size(blocks.shape).numel()).reshape(blocks.shape)
    gathered = blocks.gather(index.float() + 1).long() - 1
    return {frozenset(value for value in row if value >= 0) for row in gathered.tolist()}


def grouped_by(shape: tuple[int, ...], groups: int, same: Callable[..., object]) -> set[frozenset[int]]:
    found = defaultdict(list)
    for flat, place in places(shape, groups).items():
        found[same(*place)].append(flat)
    return {frozenset(block) for block in found.values()}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", GRANULARITIES)
def test_blocks_are_what_the_name_says(name: str, layer: str) -> None:
    module = LAYERS[layer]
    shape, groups = tuple(module.weight.shape), getattr(module, "groups", 1)
    blocks = partition(name, shape, groups)
    assert flat_blocks(blocks) == grouped_by(shape, groups, SAME[name])
    assert blocks.count == len(flat_blocks(blocks))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("n,m", [(1, 1), (2, 3), (4, 2), (9, 9)])
def test_tiles(layer: str, n: int, m: int) -> None:
    module = LAYERS[layer]
    shape, groups = tuple(module.weight.shape), getattr(module, "groups", 1)
    per_group = shape[0] // groups

    def same(g: int, f: int, i: int, *kernel: int) -> object:
        return g, f % per_group // n, i // m, kernel

    blocks = partition(f"block({n}, {m})", shape, groups)
    assert flat_blocks(blocks) == grouped_by(shape, groups, same)


@pytest.mark.parametrize("layer", LAYERS)
def test_n_of_m_takes_neighbouring_inputs(layer: str) -> None:
    module = LAYERS[layer]
    shape, groups = tuple(module.weight.shape), getattr(module, "groups", 1)
    blocks = partition("2:4", shape, groups)
    assert blocks.keep == 2
    assert flat_blocks(blocks) == grouped_by(shape, groups, lambda g, f, i, *kernel: (f, i // 4, kernel))


@st.composite
def weights(draw: st.DrawFn) -> tuple[tuple[int, ...], int]:
    groups = draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), max_size=3))
    return (groups * draw(st.integers(1, 4)), draw(st.integers(1, 5)), *kernel), groups


NAMES = st.sampled_from([*GRANULARITIES, "block(2, 3)", "block(4, 1)", "2:4", "n_of_m(1, 3)"])


@given(weights(), NAMES)
@settings(max_examples=200)
def test_scatter_undoes_gather(weight: tuple[tuple[int, ...], int], name: str) -> None:
    shape, groups = weight
    blocks = partition(name, shape, groups)
    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape)
    gathered = blocks.gather(tensor, fill=-1)
    assert gathered.shape[0] == blocks.count
    assert torch.equal(blocks.scatter(gathered), tensor)
    assert torch.equal(blocks.sizes(), (gathered >= 0).sum(1))
    numbers = torch.arange(blocks.count)
    spread = blocks.gather(blocks.spread(numbers), fill=-1)
    assert torch.equal(torch.where(gathered >= 0, numbers[:, None], -1), spread)


def test_gather_is_a_view_where_it_can_be() -> None:
    weight = torch.zeros(4, 3, 3, 3)
    for name in ("weight", "kernel_row", "kernel", "filter"):
        assert partition(name, weight.shape).gather(weight).data_ptr() == weight.data_ptr()


def test_which_granularities_narrow_a_layer() -> None:
    found = {name: granularity.removes for name, granularity in GRANULARITIES.items() if granularity.removes}
    assert found == {"row": "outputs", "filter": "outputs", "input_channel": "inputs", "input": "inputs"}


def test_spelling() -> None:
    assert parse("2:4") == parse("n_of_m(2, 4)")
    assert parse(parse("block(4,4)")) == parse("block(4, 4)")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("filters", "did you mean 'filter'"),
        ("block", "two whole numbers"),
        ("block(2)", "two whole numbers"),
        ("block(2, 0)", "at least 1"),
        ("n_of_m(2.0, 4)", "two whole numbers"),
        ("5:4", "1 <= n <= m"),
        ("0:4", "1 <= n <= m"),
        ("filter(2)", "no parameters"),
        ("", "not a name"),
    ],
)
def test_bad_granularities_are_said(name: str, said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        parse(name)


def test_bad_shapes_are_said() -> None:
    with pytest.raises(SparsightError, match="not the shape"):
        partition("weight", (4, 3, 1, 1, 1, 1))
    with pytest.raises(SparsightError, match="not the shape"):
        partition("weight", (4, 3), groups=3)
