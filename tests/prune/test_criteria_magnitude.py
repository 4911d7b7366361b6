from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sparsight.prune.criteria import CRITERIA, random
from sparsight.prune.layer import LayerState, new_state

LAYERS = {
    "linear": lambda: nn.Linear(5, 4),
    "conv1d": lambda: nn.Conv1d(4, 6, 3),
    "conv2d": lambda: nn.Conv2d(3, 4, (2, 3)),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "conv3d": lambda: nn.Conv3d(2, 3, (1, 2, 2)),
}


@pytest.fixture(params=LAYERS)
def state(request: pytest.FixtureRequest) -> LayerState:
    torch.manual_seed(0)
    return new_state("layer", LAYERS[request.param]())


def each(function: object, *tensors: Tensor) -> Tensor:
    """One Python call per weight."""
    values = [function(*xs) for xs in zip(*(t.flatten().tolist() for t in tensors), strict=True)]  # type: ignore[operator]
    return torch.tensor(values).view(tensors[0].shape)


def test_l1_and_l2_are_those_of_each_weight(state: LayerState) -> None:
    torch.testing.assert_close(CRITERIA["l1"].score(state), each(abs, state.weight))
    torch.testing.assert_close(CRITERIA["l2"].score(state), each(lambda w: w * w, state.weight))


def test_movements_compare_with_the_weights_of_before(state: LayerState) -> None:
    state.initial = torch.randn_like(state.weight)
    state.previous = torch.randn_like(state.weight)
    torch.testing.assert_close(
        CRITERIA["magnitude_movement"].score(state),
        each(lambda w, w0: abs(w * (w - w0)), state.weight, state.initial),
    )
    torch.testing.assert_close(
        CRITERIA["updating_movement"].score(state),
        each(lambda w, w1: abs(w - w1), state.weight, state.previous),
    )


def test_fpgm_sums_the_distances_to_the_other_filters(state: LayerState) -> None:
    filters = state.weight.flatten(1).tolist()
    expected = [math.fsum(math.dist(a, b) for b in filters) for a in filters]
    score = CRITERIA["fpgm"].score(state)
    assert score.shape == state.weight.shape
    torch.testing.assert_close(score.flatten(1), torch.tensor(expected)[:, None].expand(-1, len(filters[0])))


def test_fpgm_leaves_masked_filters_out() -> None:
    torch.manual_seed(1)
    state = new_state("layer", nn.Conv2d(2, 5, 3))
    state.mask[3] = False
    filters = state.weight.flatten(1).tolist()
    score = CRITERIA["fpgm"].score(state).flatten(1)[:, 0]
    assert score[3] == 0
    assert score[0].item() == pytest.approx(sum(math.dist(filters[0], filters[j]) for j in (1, 2, 4)))


def test_fpgm_finds_the_filter_in_the_middle() -> None:
    layer = nn.Linear(2, 5)
    layer.weight.data = torch.tensor([[0.0, 3.0], [0.0, -3.0], [3.0, 0.0], [-3.0, 0.0], [0.1, 0.1]])
    assert int(CRITERIA["fpgm"].score(new_state("layer", layer))[:, 0].argmin()) == 4


def test_random_depends_on_seed_and_name_alone(state: LayerState) -> None:
    torch.manual_seed(123)
    first = random(3).score(state)
    torch.manual_seed(4)
    assert torch.equal(first, random(3).score(state))
    assert not torch.equal(first, random(4).score(state))
    assert not torch.equal(first, random(3).score(new_state("other", state.module)))
    assert first.shape == state.weight.shape
    assert 0 <= first.min() < first.max() < 1


def test_every_criterion_is_listed_under_its_own_name() -> None:
    assert {name: criterion.name for name, criterion in CRITERIA.items()} == {name: name for name in CRITERIA}
