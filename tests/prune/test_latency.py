"""The search for a sparsity, on a clock that counts multiply-accumulates, and once on the real one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.nets import Session, build
from sparsight.prune import Sparsifier, shrink
from sparsight.prune.latency import parse_target, sparsity_for_latency
from sparsight.prune.profiling import count_macs
from sparsight.prune.shrinking.coupling import coupling

SHAPE = (3, 16, 16)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def _network() -> nn.Module:
    return build("convnet", widths=(32, 64), input_shape=SHAPE)


def _macs(model: nn.Module) -> float:
    return float(count_macs(model, SHAPE))


@pytest.mark.parametrize("fraction", [0.1, 0.4, 0.8])
def test_the_lowest_sparsity_that_is_fast_enough(fraction: float) -> None:
    model = _network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = sparsity_for_latency(model, None, fraction, measure=_macs, round_to=None)
    assert found.met
    assert found.chosen.fraction == _macs(found.model) / _macs(model) <= fraction
    assert found.chosen.fraction == pytest.approx(fraction, abs=0.06)
    assert found.dense_milliseconds == _macs(model)
    assert all(trial.fraction > fraction for trial in found.trials if trial.sparsity < found.chosen.sparsity)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert "is met" in str(found)


def test_widths_are_what_the_machine_likes() -> None:
    found = sparsity_for_latency(_network(), None, 0.4, measure=_macs)
    widths = [module.out_channels for module in found.model.modules() if isinstance(module, nn.Conv2d)]
    assert all(width % 8 == 0 for width in widths)


def test_what_cannot_be_met_is_said_with_the_figure_reached() -> None:
    model = _network()
    found = sparsity_for_latency(model, None, 0.001, measure=_macs, round_to=16)
    assert not found.met
    assert found.chosen.fraction == min(trial.fraction for trial in found.trials)
    assert found.chosen.fraction == _macs(found.model) / _macs(model)
    assert "cannot be met" in str(found)


def test_a_sparsity_out_of_reach_ends_the_search_below_it() -> None:
    found = sparsity_for_latency(_network(), None, 0.001, measure=_macs, scope="global", round_to=16)
    assert not found.met
    assert 0.5 < found.chosen.sparsity < 0.9


def test_a_clock_that_was_lucky_once_is_not_believed() -> None:
    model = _network()
    times: dict[int, list[float]] = {}

    def lucky(network: nn.Module) -> float:
        macs = count_macs(network, SHAPE)
        times.setdefault(macs, []).append(0)
        # The first time that a network is met, it seems a quarter faster than it is.
        return macs * (0.75 if len(times[macs]) == 1 and macs < 0.9 * _macs(model) else 1)

    found = sparsity_for_latency(model, None, 0.4, measure=lucky, round_to=None)
    assert found.met
    assert _macs(found.model) <= 0.4 * _macs(model)


def test_on_the_real_clock() -> None:
    model = _network()
    found = sparsity_for_latency(model, torch.zeros(1, *SHAPE), 0.5, batch=4)
    assert found.batch == 4
    assert all(trial.milliseconds > 0 and math.isfinite(trial.fraction) for trial in found.trials)
    out = Session(found.model, "cpu", input_shape=SHAPE)(np.zeros((1, *SHAPE), np.float32))
    assert out.shape == (1, 10)


class Sum(nn.Module):
    """Two inputs, and layers whose channels meet."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(8, 64), nn.Linear(6, 64), nn.Linear(64, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.left(a) + self.right(b)))
        return out


def test_a_network_of_several_inputs() -> None:
    inputs = (torch.zeros(1, 8), torch.zeros(1, 6))
    assert coupling(Sum(), inputs).coupled == (("left", "right"),)
    found = sparsity_for_latency(Sum(), inputs, 0.9, threads=1)
    assert found.model(*inputs).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "options", "coupled", "left_out"),
    [
        # In each stage, what its sums and its shortcut add up.
        ("resnet18", {"input_shape": (3, 16, 16)}, [3, 3, 3, 3], {"fc"}),
        ("vgg16_bn", {"input_shape": (3, 32, 32)}, [], {"classifier.3"}),
    ],
)
def test_which_layers_go_together(
    name: str, options: dict[str, object], coupled: list[int], left_out: set[str]
) -> None:
    model = build(name, **options)
    found = coupling(model)
    assert [len(names) for names in found.coupled] == coupled
    layers = {name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    assert layers - set(found.layers) == left_out


def test_a_depthwise_convolution_goes_with_what_it_reads() -> None:
    model = build("mobilenet_v1", input_shape=(3, 16, 16))
    assert ("features.0.0", "features.1.0") in {names[:2] for names in coupling(model).coupled}


def test_silence_leaves_nothing_for_a_channel_to_carry() -> None:
    model = build("resnet18", input_shape=(3, 16, 16))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    found = coupling(model)
    with Sparsifier(model, 0.5, granularity="filter", layers=found.layers, coupled=found.coupled) as masks:
        masks.mask()
    x = torch.rand(1, 3, 16, 16)

    def widths() -> set[int]:
        small = shrink(model, x).model
        return {module.out_channels for module in small.modules() if isinstance(module, nn.Conv2d)}

    assert 33 in widths()
    living = {name: tensor.clone() for name, tensor in model.named_parameters()}
    assert (
        found.silence(model) == sum(model.get_submodule(name).weight.shape[0] for name in found.layers) // 2
    )
    assert widths() == {32, 64, 128, 256}
    # Only dead channels are touched.
    alive = model.layer1[0].conv1.weight.flatten(1).any(1)
    norm, before = model.layer1[0].bn1, living["layer1.0.bn1.bias"]
    assert torch.equal(norm.bias, torch.where(alive, before, 0))
    assert torch.equal(norm.weight != 0, alive)
    assert torch.equal(model.fc.bias, living["fc.bias"])


def test_targets() -> None:
    assert parse_target("latency:0.4") == 0.4
    for target in ("0.4", "latency:", "latency:1.5", "latency:nan", "macs:0.4"):
        with pytest.raises(SparsightError, match=r"write latency:0\.4"):
            parse_target(target)


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(SparsightError, match="must be between 0 and 1"):
        sparsity_for_latency(_network(), None, 1.2)
    with pytest.raises(SparsightError, match="no criterion called"):
        sparsity_for_latency(_network(), None, 0.5, criterion="l3")
    with pytest.raises(SparsightError, match="matches 'nothing'"):
        sparsity_for_latency(_network(), None, 0.5, layers=["nothing"])
