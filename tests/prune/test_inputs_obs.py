"""Inputs judged by what the other inputs cannot stand in for, against regression on the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight import SparsightError, nets
from sparsight.prune import select_inputs
from sparsight.prune.criteria import CRITERIA, GATHERERS, Criterion, gathering
from sparsight.prune.criteria.gathering import COVARIANCE_INPUTS
from sparsight.prune.inputs import InputSelection
from sparsight.prune.layer import LayerState, new_state

torch.set_num_threads(1)


def gather(state: LayerState, *values: Tensor) -> None:
    gatherer = GATHERERS["input_covariances"]
    total = gatherer.start(state)
    for value in values:
        total = gatherer.update(total, state, value)
    state.gathered["input_covariances"] = total


def unexplained(samples: NDArray[np.float64], others: list[int], which: int) -> float:
    """Variance that is left of one column after least squares on others and a constant."""
    design = np.column_stack([np.ones(len(samples)), samples[:, others]])
    fit, *_ = np.linalg.lstsq(design, samples[:, which], rcond=None)
    return float((samples[:, which] - design @ fit).var())


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(6, 4), nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 3, groups=2)],
    ids=["linear", "convolution", "grouped"],
)
def test_each_input_is_scored_given_those_that_count_for_more(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsight.prune.criteria.training.OBS_RIDGE", 1e-9)
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(200, 6, generator=generator) @ torch.randn(6, 6, generator=generator) + 2
    state = new_state("layer", layer)
    groups, inputs = state.groups, 6 // state.groups
    # One input is gone already, and helps nobody.
    state.mask = torch.ones_like(state.weight, dtype=torch.bool)
    state.mask[: 4 // groups, 1] = False
    linear = isinstance(layer, nn.Linear)
    seen = samples if linear else samples.reshape(10, 5, 4, 6).permute(0, 3, 1, 2)
    gather(state, *seen.split(5))
    score = CRITERIA["obs"].score(state)
    table = samples.double().numpy()
    for group in range(groups):
        first, rows = group * inputs, slice(group * 4 // groups, (group + 1) * 4 // groups)
        kept = [column for column in range(first, first + inputs) if column != 1]
        squares = {column: state.weight[rows, column - first].square() for column in kept}

        def cost(column: int, kept: list[int] = kept, squares: dict[int, Tensor] = squares) -> float:
            others = [other for other in kept if other != column]
            return float(squares[column].sum()) * unexplained(table, others, column)

        ranked = sorted(kept, key=cost, reverse=True)
        for place, column in enumerate(ranked):
            expected = squares[column] * unexplained(table, ranked[:place], column)
            torch.testing.assert_close(score[rows, column - first], expected, rtol=1e-3, atol=1e-7)
    assert score[: 4 // groups, 1].max() < 1e-6


def test_the_first_to_go_costs_what_is_left_when_the_others_were_fitted_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Optimal Brain Surgeon's own claim, for a linear layer."""
    monkeypatch.setattr("sparsight.prune.criteria.training.OBS_RIDGE", 1e-9)
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(500, 5, generator=generator) @ torch.randn(5, 5, generator=generator)
    layer = nn.Linear(5, 1)
    state = new_state("layer", layer)
    gather(state, samples)
    score = CRITERIA["obs"].score(state)[0]
    target = layer(samples).detach().double()
    design = torch.cat([samples, torch.ones(500, 1)], 1).double()
    left = []
    for column in range(5):
        others = design[:, [other for other in range(6) if other != column]]
        left.append(float((others @ torch.linalg.lstsq(others, target).solution - target).square().mean()))
    assert int(score.argmin()) == int(np.argmin(left))
    assert float(score.min()) == pytest.approx(min(left), rel=1e-3)


def test_of_two_copies_one_stays() -> None:
    samples = torch.randn(400, 4, generator=torch.Generator().manual_seed(2))
    samples[:, 3] = samples[:, 2]
    samples[:, 0] = -0.4
    state = new_state("layer", nn.Linear(4, 3))
    nn.init.ones_(state.module.weight)  # type: ignore[arg-type]
    gather(state, samples)
    score = CRITERIA["obs"].score(state)[0]
    assert score[0] < 1e-3
    assert score[2:].min() < 0.01 * score[1]
    assert score[2:].max() > 0.5 * score[1]


def test_inputs_that_never_vary_and_inputs_that_are_not_numbers() -> None:
    state = new_state("layer", nn.Linear(3, 2))
    gather(state, torch.full((8, 3), 0.5))
    assert CRITERIA["obs"].score(state).abs().max() < 1e-6
    gather(state, torch.full((8, 3), torch.nan))
    assert CRITERIA["obs"].score(state).isnan().all()


def test_wide_layers_see_fewer_samples_but_at_many_places() -> None:
    state = new_state("layer", nn.Conv2d(1, 2, 3))
    gatherer = GATHERERS["input_covariances"]
    place = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(40, 1, 1, 1)
    whole = gatherer.update(gatherer.start(state), state, place)
    assert int(whole[0, 0, 0]) == 40 * 64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "COVARIANCE_WORK", 4 * 64)
        few = gatherer.update(gatherer.start(state), state, place)
    assert 32 <= int(few[0, 0, 0]) <= 64
    variance = few[0, 1, 1] / few[0, 0, 0] - (few[0, 0, 1] / few[0, 0, 0]) ** 2
    assert float(variance) == pytest.approx((64**2 - 1) / 12, rel=0.2)


def test_too_many_inputs_for_covariances() -> None:
    state = new_state("fc", nn.Linear(COVARIANCE_INPUTS + 1, 1))
    with pytest.raises(SparsightError, match="'fc', and 4097 are too many"):
        GATHERERS["input_covariances"].start(state)


@pytest.mark.parametrize(("side", "name"), [(8, "obs"), (65, "flap")])
def test_the_default_suits_the_size(side: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what covariances can be kept of, each input is judged alone."""
    asked: list[str] = []
    for key in ("obs", "flap"):
        plain = CRITERIA[key]

        def score(state: LayerState, plain: Criterion = plain) -> Tensor:
            asked.append(f"{plain.name} {state.name}")
            return plain.score(state)

        monkeypatch.setitem(CRITERIA, key, Criterion(key, score, plain.needs))
    model = nets.build("mlp", input_shape=(1, side, side), num_classes=2, hidden=(4, 4))

    def train(network: nn.Module, step: object) -> None:
        network.train()(torch.randn(16, 1, side, side))
        step(1.0)  # type: ignore[operator]

    selection = select_inputs(model, train, sparsity=0.5, input_sparsity=0.5)
    assert selection.kept.sum() == round(side * side / 2)
    assert set(asked) == {f"{name} layers.0", "flap layers.2", "flap layers.4"}


def test_one_of_each_pair_of_copies_goes() -> None:
    """A third of the pixels have a copy elsewhere in the image, a third have none."""
    torch.manual_seed(0)
    model = nets.build("mlp", input_shape=(1, 8, 12), num_classes=3, hidden=(16, 8))
    selecting = InputSelection(model, sparsity=0, input_sparsity=1 / 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for done in range(1, 101):
        images = torch.randn(64, 1, 8, 12)
        images[..., 8:] = images[..., 4:8]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(images), images[:, 0, 0, :3].argmax(1)).backward()
        optimizer.step()
        selecting.step(done / 100)
    kept = selecting.finish().kept.reshape(8, 12)
    assert kept[:, :4].all()
    assert ((kept[:, 4:8].astype(int) + kept[:, 8:]) == 1).all()
