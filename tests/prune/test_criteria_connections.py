from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsight import SparsightError
from sparsight.prune.criteria import CRITERIA
from sparsight.prune.criteria.connections import grasp, snip, synflow
from sparsight.prune.layer import LayerState, new_state, prunable_layers

Batch = tuple[Tensor, Tensor]


class Tiny(nn.Module):
    """Grouped and depthwise convolutions, batch norm, a residual sum and a branch that is not used."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.grouped = nn.Conv2d(4, 6, 2, groups=2)
        self.head = nn.Linear(6, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(self.grouped(x + F.softplus(self.depthwise(x))))
        return self.head(x.mean(dim=(2, 3)))


def states_of(model: nn.Module, *but: str) -> list[LayerState]:
    return [new_state(name, module) for name, module in prunable_layers(model).items() if name not in but]


def batches_of(count: int = 2, dtype: torch.dtype = torch.float64) -> list[Batch]:
    generator = torch.Generator().manual_seed(5)
    return [
        (
            torch.randn(5, 2, 6, 6, generator=generator, dtype=dtype),
            torch.randint(3, (5,), generator=generator),
        )
        for _ in range(count)
    ]


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    return Tiny().double().eval()


def mean_loss(model: nn.Module, batches: list[Batch]) -> Tensor:
    return torch.stack([F.cross_entropy(model(x), y) for x, y in batches]).mean()


def test_snip_is_the_slope_along_a_mask(model: Tiny) -> None:
    states, batches = states_of(model), batches_of()
    scores = snip(model, states, batches, F.cross_entropy)
    assert sum(score.sum().item() for score in scores.values()) == pytest.approx(1)
    step = 1e-5
    slopes, expected = [], []
    with torch.no_grad():
        for state in states:
            weight = state.module.weight.data.view(-1)
            for index in range(0, len(weight), 1 + len(weight) // 8):
                kept = weight[index].item()
                weight[index] = kept * (1 + step)
                above = mean_loss(model, batches)
                weight[index] = kept * (1 - step)
                slopes.append((above - mean_loss(model, batches)).abs().item() / (2 * step))
                weight[index] = kept
                expected.append(scores[state.name].flatten()[index].item())
    # In proportion, that is: the scores are shares of the whole.
    slopes, expected = np.array(slopes), np.array(expected)
    np.testing.assert_allclose(expected * slopes.sum(), slopes * expected.sum(), rtol=1e-5, atol=1e-11)


def test_grasp_is_the_hessian_times_the_gradient_times_the_weight(model: Tiny) -> None:
    states, batches = states_of(model, "first", "unused"), batches_of()
    scores = grasp(model, states, batches, F.cross_entropy)
    weights = [state.module.weight for state in states]
    sizes = [weight.numel() for weight in weights]

    def loss(flat: Tensor) -> Tensor:
        parts = [part.view(w.shape) for part, w in zip(flat.split(sizes), weights, strict=True)]
        named = {f"{state.name}.weight": part for state, part in zip(states, parts, strict=True)}
        return torch.stack(
            [F.cross_entropy(torch.func.functional_call(model, named, (x,)), y) for x, y in batches]
        ).mean()

    flat = torch.cat([weight.detach().flatten() for weight in weights])
    gradient = torch.func.grad(loss)(flat)
    hessian = torch.func.jacrev(torch.func.grad(loss))(flat)
    expected = flat * (hessian @ gradient)
    found = torch.cat([scores[state.name].flatten() for state in states])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_grasp_foretells_the_gradient_that_is_left() -> None:
    # The removal of a small weight changes the squared norm of the gradient by -2 w (H g).
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    model[0].weight.data *= 1e-4
    x, y = torch.randn(6, 3).double(), torch.randint(2, (6,))
    states = [new_state("0", model[0])]
    score = grasp(model, states, [(x, y)], F.cross_entropy)["0"]

    def flow() -> float:
        return torch.autograd.grad(F.cross_entropy(model(x), y), model[0].weight)[0].square().sum().item()

    whole = flow()
    for index in np.ndindex(4, 3):
        weight = model[0].weight.data[index].item()
        model[0].weight.data[index] = 0
        assert whole - flow() == pytest.approx(2 * score[index].item(), rel=1e-2)
        model[0].weight.data[index] = weight


def literal_synflow(model: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Absolute weights written into a copy, one backward pass, gradient times weight."""
    linear = copy.deepcopy(model).double().eval()
    for name, value in linear.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            value.zero_()
        elif value.is_floating_point():
            value.abs_()
    flow = linear(torch.ones(1, *shape, dtype=torch.float64)).sum()
    flow.backward()
    return {
        name: module.weight.grad * module.weight / flow
        for name, module in prunable_layers(linear).items()
        if module.weight.grad is not None
    }


def flowing(norm: bool = True) -> nn.Sequential:
    """A network of homogeneous layers that every path crosses one after another."""
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.BatchNorm2d(6) if norm else nn.Identity(),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(6 * 9, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


@pytest.mark.parametrize("norm", [True, False])
def test_synflow_is_the_literal_gradient_times_weight(norm: bool) -> None:
    model = flowing(norm)
    scores = synflow(model, states_of(model), batches_of(1, torch.float32), None)
    for name, expected in literal_synflow(model, (2, 6, 6)).items():
        torch.testing.assert_close(scores[name], expected.float())


def test_synflow_conserves_the_flow_from_layer_to_layer() -> None:
    model = flowing()
    scores = synflow(model, states_of(model), batches_of(1), None)
    assert {name: pytest.approx(1, rel=1e-5) for name in scores} == {
        name: score.sum().item() for name, score in scores.items()
    }
    # And through every hidden neuron: what comes in goes out.
    torch.testing.assert_close(scores["9"].sum(dim=1), scores["11"].sum(dim=0))


def test_synflow_sees_the_masks_and_never_cuts_a_path_it_is_alone_on() -> None:
    model = flowing()
    states = states_of(model)
    by_name = {state.name: state for state in states}
    by_name["11"].mask[:, 1:] = False
    scores = synflow(model, states, batches_of(1), None)
    assert (scores["11"][:, 1:] == 0).all()
    assert (scores["9"][1:] == 0).all()
    # All flow goes through the one neuron that is left.
    assert scores["9"][0].sum().item() == pytest.approx(1)


def test_synflow_needs_no_data_when_the_model_says_its_shape() -> None:
    model = flowing()
    scores = synflow(model, states_of(model), batches_of(1), None)
    model.input_shape = (2, 6, 6)
    for name, score in synflow(model, states_of(model), None, None).items():
        assert torch.equal(score, scores[name])


def test_synflow_of_a_deep_network_stays_finite() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(40)))
    for layer in model:
        nn.init.normal_(layer.weight, std=50)
    scores = synflow(model, states_of(model), [(torch.zeros(1, 64), torch.zeros(1))], None)
    assert all(torch.isfinite(score).all() for score in scores.values())
    assert scores["0"].sum().item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("name", ["snip", "grasp", "synflow"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(name: str, training: bool) -> None:
    torch.manual_seed(0)
    model = Tiny().train(training)
    before = copy.deepcopy(model.state_dict())
    prepare = CRITERIA[name].prepare
    assert prepare is not None
    with torch.no_grad():  # the sparsifier may be called inside it
        scores = prepare(model, states_of(model), batches_of(dtype=torch.float32), F.cross_entropy)
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    for state in states_of(model):
        assert scores[state.name].shape == state.weight.shape
        assert scores[state.name].dtype == state.weight.dtype
        assert not scores[state.name].requires_grad
    assert not scores["unused"].any()


def test_outputs_and_inputs_of_many_tensors() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor, y: Tensor) -> dict[str, tuple[Tensor, ...] | Tensor]:
            return {"both": (self.a(x), self.b(y)), "sum": self.a(x)}

    model = Two()
    inputs = (torch.randn(5, 3), torch.randn(5, 4))
    scores = synflow(model, states_of(model), [(inputs, None)], None)
    flow = 2 * model.a.weight.abs().sum() + model.b.weight.abs().sum()
    torch.testing.assert_close(scores["a"], 2 * model.a.weight.detach().abs() / flow.detach())
    scores = snip(model, states_of(model), [(inputs, None)], lambda out, _: out["sum"].square().mean())
    assert not scores["b"].any()


def test_what_is_missing_is_said_in_one_sentence(model: Tiny) -> None:
    states = states_of(model)
    with pytest.raises(SparsightError, match=r"'snip' needs calibration batches .* and a loss"):
        snip(model, states, batches_of(), None)
    with pytest.raises(SparsightError, match=r"'grasp' needs .* at least one batch"):
        grasp(model, states, [], F.cross_entropy)
    with pytest.raises(SparsightError, match="shape of the model's input"):
        synflow(model, states, None, None)
