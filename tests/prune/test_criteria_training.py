"""Criteria fed by gradients and activations, against plain loops over weights, channels and images."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.prune.criteria import CRITERIA, GATHERERS
from sparsight.prune.layer import LayerState, new_state

CASES = {
    "linear": (lambda: nn.Linear(5, 4), (3, 5)),
    "linear on tokens": (lambda: nn.Linear(5, 4), (3, 6, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (3, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(3, 4, (2, 3)), (3, 3, 5, 6)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (3, 4, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (3, 4, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 3, (1, 2, 2)), (2, 2, 3, 4, 4)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[LayerState, Tensor]:
    torch.manual_seed(0)
    make, shape = CASES[request.param]
    return new_state("layer", make()), torch.randn(shape)


def gather(state: LayerState, name: str, *values: Tensor) -> None:
    gatherer = GATHERERS[name]
    total = gatherer.start(state)
    for value in values:
        total = gatherer.update(total, state, value)
    state.gathered[name] = total


def train(state: LayerState, x: Tensor, steps: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Gather over a few steps of plain gradient descent and return each step's (weight, gradient)."""
    parameter = state.module.weight
    assert isinstance(parameter, nn.Parameter)
    totals = {name: GATHERERS[name].start(state) for name in ("gradient", "gradient_weight")}
    seen = []
    for step in range(steps):
        loss = (state.module(x + step) - 1).square().mean()
        (gradient,) = torch.autograd.grad(loss, parameter)
        totals = {name: GATHERERS[name].update(total, state, gradient) for name, total in totals.items()}
        seen.append((parameter.detach().clone(), gradient))
        parameter.data -= 0.1 * gradient
    state.gathered |= totals
    return seen


def test_movement_sums_gradient_times_the_weight_of_each_step(case: tuple[LayerState, Tensor]) -> None:
    state, x = case
    seen = train(state, x)
    score = CRITERIA["movement"].score(state)
    for index in np.ndindex(*state.weight.shape):
        expected = -math.fsum(g[index].item() * w[index].item() for w, g in seen)
        assert score[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_movement_is_high_for_weights_that_grow() -> None:
    state = new_state("layer", nn.Linear(2, 1, bias=False))
    state.module.weight.data = torch.tensor([[0.5, 0.5]])
    parameter = state.module.weight
    total = GATHERERS["gradient_weight"].start(state)
    for _ in range(20):
        # The target is at (1, 0): the first weight grows, the second one shrinks.
        loss = (parameter - torch.tensor([[1.0, 0.0]])).square().sum()
        (gradient,) = torch.autograd.grad(loss, parameter)
        total = GATHERERS["gradient_weight"].update(total, state, gradient)
        parameter.data -= 0.05 * gradient
    state.gathered["gradient_weight"] = total
    score = CRITERIA["movement"].score(state)
    assert score[0, 0] > 0 > score[0, 1]


def test_taylor_is_the_squared_accumulated_gradient_times_weight(case: tuple[LayerState, Tensor]) -> None:
    state, x = case
    seen = train(state, x)
    score = CRITERIA["taylor"].score(state)
    for index in np.ndindex(*state.weight.shape):
        expected = (state.weight[index].item() * math.fsum(g[index].item() for _, g in seen)) ** 2
        assert score[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_taylor_foretells_the_change_of_the_loss() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3).double()
    layer.weight.data *= 1e-3  # small weights: the first order is nearly all of it
    x, y = torch.randn(8, 4).double(), torch.randn(8, 3).double()
    state = new_state("layer", layer)

    def loss() -> Tensor:
        return (layer(x) - y).square().mean()

    gather(state, "gradient", torch.autograd.grad(loss(), layer.weight)[0])
    score = CRITERIA["taylor"].score(state)
    for index in np.ndindex(3, 4):
        before, weight = loss().item(), layer.weight.data[index].item()
        layer.weight.data[index] = 0
        assert score[index].item() == pytest.approx((loss().item() - before) ** 2, rel=1e-2)
        layer.weight.data[index] = weight


def test_wanda_is_the_weight_times_the_norm_of_the_channel_it_meets(case: tuple[LayerState, Tensor]) -> None:
    state, x = case
    gather(state, "input_square", x, 2 * x)
    channels = x.movedim(-1, 0) if isinstance(state.module, nn.Linear) else x.movedim(1, 0)
    norms = [math.sqrt(math.fsum(5 * v * v for v in channel.flatten().tolist())) for channel in channels]
    score = CRITERIA["wanda"].score(state)
    outputs, inputs = state.weight.shape[:2]
    for index in np.ndindex(*state.weight.shape):
        group = index[0] // (outputs // state.groups)
        expected = abs(state.weight[index].item()) * norms[group * inputs + index[1]]
        assert score[index].item() == pytest.approx(expected, rel=1e-5)


def test_flap_is_the_squared_weight_times_the_variance_of_the_channel_it_meets(
    case: tuple[LayerState, Tensor],
) -> None:
    state, x = case
    gather(state, "input_moments", x + 3, 2 * x + 3)
    both = torch.cat([x, 2 * x])
    channels = both.movedim(-1, 0) if isinstance(state.module, nn.Linear) else both.movedim(1, 0)
    variances = [statistics.pvariance(channel.flatten().tolist()) for channel in channels]
    score = CRITERIA["flap"].score(state)
    outputs, inputs = state.weight.shape[:2]
    for index in np.ndindex(*state.weight.shape):
        group = index[0] // (outputs // state.groups)
        expected = state.weight[index].item() ** 2 * variances[group * inputs + index[1]]
        assert score[index].item() == pytest.approx(expected, rel=1e-4)


def test_flap_leaves_to_the_bias_what_is_constant() -> None:
    state, x = new_state("layer", nn.Linear(3, 2)), torch.randn(64, 3)
    x[:, 1] = -0.42
    gather(state, "input_moments", *x.split(16))
    score = CRITERIA["flap"].score(state)
    assert score[:, 1].max() < 1e-6 < score[:, [0, 2]].min()


def test_the_channel_that_wanda_takes_is_the_one_the_convolution_reads() -> None:
    # Silence one input channel: exactly the weights whose removal changes nothing must score zero.
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, 3, groups=3, bias=False)
    state = new_state("layer", layer)
    x = torch.randn(2, 6, 5, 5)
    x[:, 3] = 0
    gather(state, "input_square", x)
    score = CRITERIA["wanda"].score(state)
    whole = layer(x).detach()
    for index in np.ndindex(6, 2, 1, 1):
        weight = layer.weight.data[index].item()
        layer.weight.data[index] = 0
        assert (score[index].item() == 0) == torch.equal(layer(x), whole)
        layer.weight.data[index] = weight


def test_one_image_without_a_batch_counts_the_same() -> None:
    state, x = new_state("layer", nn.Conv2d(3, 4, 3)), torch.randn(1, 3, 6, 6)
    gather(state, "input_square", x)
    expected = state.gathered["input_square"]
    gather(state, "input_square", x[0])
    torch.testing.assert_close(state.gathered["input_square"], expected)
    gather(state, "output_rank", torch.randn(4, 6, 6))
    assert state.gathered["output_rank"].shape == (4,)


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 5, 1), nn.Conv3d(2, 5, 1)])
def test_hrank_sums_the_rank_of_each_map(layer: nn.Module) -> None:
    generator = np.random.default_rng(0)
    volume = (3,) if isinstance(layer, nn.Conv3d) else ()
    images = 3
    ranks = np.zeros(5)
    maps = np.zeros((images, 5, *volume, 6, 7), dtype=np.float32)
    for image in range(images):
        for channel in range(5):
            # Products of positive factors: the activation changes nothing and the rank is known.
            rank = channel if image else 0
            rows = math.prod(volume) * 6
            product = generator.random((rows, rank)) @ generator.random((rank, 7))
            maps[image, channel] = product.reshape(maps.shape[2:])
            ranks[channel] += min(rank, 7)
    state = new_state("layer", layer)
    gather(state, "output_rank", torch.from_numpy(maps[:1]), torch.from_numpy(maps[1:]))
    score = CRITERIA["hrank"].score(state)
    assert score.shape == state.weight.shape
    assert score.flatten(1)[:, 0].tolist() == ranks.tolist()


def test_hrank_looks_at_the_maps_behind_the_activation() -> None:
    state = new_state("layer", nn.Conv2d(1, 2, 1))
    gather(state, "output_rank", torch.stack([torch.eye(4), -torch.eye(4)])[None])
    assert state.gathered["output_rank"].tolist() == [4, 0]


def test_what_is_missing_is_said_in_one_sentence() -> None:
    with pytest.raises(SparsightError, match=r"'fc' has no 'input_square'.*calibration"):
        CRITERIA["wanda"].score(new_state("fc", nn.Linear(2, 2)))
    with pytest.raises(SparsightError, match="'fc' \\(Linear\\) has none"):
        GATHERERS["output_rank"].start(new_state("fc", nn.Linear(2, 2)))
