from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.nets import build, taps


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("on purpose")


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


def test_taps_are_the_features_in_the_order_asked() -> None:
    model = build("vgg16", input_shape=(3, 32, 32), num_classes=10)
    x = torch.rand(2, 3, 32, 32)
    out = taps(model, ["features.6", "features.0", "classifier"])(x)
    assert list(out) == ["features.6", "features.0", "classifier"]
    assert torch.equal(out["features.0"], model.features[0](x))
    assert torch.equal(out["features.6"], model.features[:7](x))
    assert torch.equal(out["classifier"], model(x))
    assert _hooks(model) == 0


def test_the_rest_of_the_network_does_not_run() -> None:
    counter = Counts()
    model = nn.Sequential(nn.ReLU(), nn.Tanh(), counter)
    taps(model, ["1", "0"])(torch.rand(1, 2))
    assert counter.calls == 0


def test_hooks_go_also_when_the_network_fails() -> None:
    model = nn.Sequential(nn.ReLU(), Fails(), nn.Tanh())
    with pytest.raises(RuntimeError, match="on purpose"):
        taps(model, ["0", "2"])(torch.rand(1, 2))
    assert _hooks(model) == 0


def test_an_in_place_activation_does_not_overwrite_a_tap() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    x = torch.randn(8, 4)
    out = taps(model, ["0", "2"])(x)
    assert torch.equal(out["0"], model[0](x))
    assert (out["0"] < 0).any()


def test_a_module_that_runs_twice_gives_its_first_output() -> None:
    model = build("resnet18", input_shape=(3, 32, 32))
    x = torch.rand(1, 3, 32, 32)
    out = taps(model, ["layer1.0.relu", "layer1.0.bn1"])(x)
    assert torch.equal(out["layer1.0.relu"], out["layer1.0.bn1"].relu())


def test_gradients_flow() -> None:
    model = build("convnet", widths=(4, 4))
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    taps(model, ["features.0"])(x)["features.0"].sum().backward()
    assert x.grad is not None
    assert model.features[0].weight.grad is not None
    assert model.features[4].weight.grad is None


def test_the_network_keeps_its_mode() -> None:
    model = build("convnet", widths=(4,))
    assert not taps(model, ["features.0"]).training
    assert taps(model.train(), ["features.0"]).training
    assert model.training


def test_an_unknown_name_lists_the_nearest() -> None:
    model = build("mobilenet_v2", input_shape=(3, 32, 32))
    with pytest.raises(SparsightError, match=r"'feature\.3'.*features\.3"):
        taps(model, ["feature.3"])
    with pytest.raises(SparsightError, match="nearest"):
        taps(model, [""])


def test_no_names_and_repeated_names_are_refused() -> None:
    model = build("convnet", widths=(4,))
    for names in ([], ["features", "features"]):
        with pytest.raises(SparsightError, match="at least one"):
            taps(model, names)


def test_a_module_that_does_not_run_or_gives_no_tensor_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.ReLU()
            self.lstm = nn.LSTM(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.lstm(x)[0]
            return out

    with pytest.raises(SparsightError, match="does not run"):
        taps(Two(), ["unused"])(torch.rand(1, 2))
    model = Two()
    with pytest.raises(SparsightError, match="tuple"):
        taps(model, ["lstm"])(torch.rand(1, 2))
    assert _hooks(model) == 0
