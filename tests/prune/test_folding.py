"""Folding: the same outputs wherever it is done, and left alone wherever it would not be exact."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from sparsight import SparsightError
from sparsight.nets import build
from sparsight.prune.folding import FoldResult, fold_batchnorm


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def stir(model: nn.Module) -> None:
    """Statistics and scales as after training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                if tensor.is_floating_point():
                    nn.init.uniform_(tensor, 0.5 if name == "running_var" else -1, 1.5)


def folded(model: nn.Module, x: Tensor) -> FoldResult:
    """Fold, having checked that outputs on other data stay, and that ``model`` is left as it was."""
    stir(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = fold_batchnorm(model.train(), x)
    assert model.training and not result.model.training
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    other = torch.randn(3, *x.shape[1:])
    with torch.no_grad():
        expected, got = model.eval()(other), result.model(other)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    return result


class Blocks(nn.Module):
    """A module whose forward is given."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


LAYERS: dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]] = {
    "1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (4, 9)),
    "2d without bias": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), (4, 7, 7)),
    "3d": (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), (2, 4, 4, 4)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (4, 7, 7)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, bias=False), nn.BatchNorm2d(6), (4, 5, 5)),
    "transposed in groups": (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (4, 5, 5)),
    "linear": (nn.Linear(5, 6), nn.BatchNorm1d(6), (5,)),
    "without scale": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), (4, 7, 7)),
    "padded": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6, eps=0.1), (4, 7, 7)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer(name: str) -> None:
    layer, norm, shape = LAYERS[name]
    result = folded(nn.Sequential(layer, norm), torch.randn(2, *shape))
    assert (result.folded, result.kept) == ({"1": "0"}, {})
    assert [type(module) for module in result.model] == [type(layer), nn.Identity]


@pytest.mark.parametrize(
    ("name", "options", "norms"),
    [
        ("vgg16_bn", {"input_shape": (3, 32, 32)}, 13),
        ("resnet18", {"input_shape": (3, 32, 32)}, 20),
        ("mobilenet_v2", {"input_shape": (3, 32, 32)}, 52),
        ("osnet_ain_x1_0", {"num_classes": 5}, 75),
    ],
)
def test_networks_lose_every_norm(name: str, options: dict[str, Any], norms: int) -> None:
    model = build(name, **options)
    result = folded(model, torch.randn(1, *model.input_shape))
    assert (len(result.folded), result.kept) == (norms, {})


def test_what_runs_counts_not_what_comes_first() -> None:
    model = Blocks(
        lambda self, x: self.norm(self.second(torch.relu(self.first(x)))),
        first=nn.Conv2d(3, 4, 1),
        norm=nn.BatchNorm2d(4),
        second=nn.Conv2d(4, 4, 1),
    )
    assert folded(model, torch.randn(1, 3, 5, 5)).folded == {"norm": "second"}


def test_through_what_does_nothing_and_through_several_calls() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), nn.Dropout(), nn.BatchNorm2d(4))
    assert folded(model, torch.randn(1, 3, 5, 5)).folded == {"3": "0"}
    twice = Blocks(
        lambda self, x: self.norm(self.conv(torch.relu(self.norm(self.conv(x))))),
        conv=nn.Conv2d(3, 3, 1),
        norm=nn.BatchNorm2d(3),
    )
    assert folded(twice, torch.randn(1, 3, 5, 5)).folded == {"norm": "conv"}


def _shared_weight() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    model[2].weight = model[0].weight
    return model


class Doubling(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def _conv_norm(forward: Callable[[Any, Tensor], Any], **more: nn.Module) -> nn.Module:
    return Blocks(forward, conv=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3), **more)


KEPT: dict[str, tuple[nn.Module, str]] = {
    "read beside": (_conv_norm(lambda self, x: self.norm(y := self.conv(x)) + y), "used elsewhere"),
    "given out": (_conv_norm(lambda self, x: (y := self.conv(x), self.norm(y))), "used elsewhere"),
    "seen as a view": (
        _conv_norm(lambda self, x: (self.norm(y := self.conv(x)), y.flatten(1).sum(1))),
        "used elsewhere",
    ),
    "changed in place": (
        _conv_norm(lambda self, x: self.norm(self.conv(x).relu_())),
        "used elsewhere",
    ),
    "also run without the norm": (
        _conv_norm(lambda self, x: self.norm(self.conv(x)) + self.conv(x).relu()),
        "used elsewhere",
    ),
    "weight read by itself": (
        _conv_norm(lambda self, x: self.norm(self.conv(x)) + self.conv.weight.sum()),
        "used elsewhere",
    ),
    "two norms of one output": (
        _conv_norm(lambda self, x: self.norm(y := self.conv(x)) + self.other(y), other=nn.BatchNorm2d(3)),
        "used elsewhere",
    ),
    "one norm of two layers": (
        _conv_norm(
            lambda self, x: self.norm(self.conv(x)) + self.norm(self.other(x)), other=nn.Conv2d(3, 3, 1)
        ),
        "not the output of one",
    ),
    "after an activation": (
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
        "not the output",
    ),
    "first": (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)), "not the output"),
    "never run": (_conv_norm(lambda self, x: self.conv(x)), "does not run"),
    "shared weight": (_shared_weight(), "shares its weight"),
    "computed weight": (
        nn.Sequential(weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        "computes its weight",
    ),
    "another forward": (nn.Sequential(Doubling(3, 3, 1), nn.BatchNorm2d(3)), "more than its kind"),
    "norm of the batch": (
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        "no running statistics",
    ),
    "other channels": (nn.Sequential(nn.Flatten(2), nn.Linear(25, 7), nn.BatchNorm1d(3)), "channels of 1"),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_exact_is_left_and_named(name: str) -> None:
    model, reason = KEPT[name]
    result = folded(model, torch.randn(3, 3, 5, 5))
    assert result.folded == {}
    assert all(reason in why for why in result.kept.values())
    assert result.kept


def test_a_hook_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda module, args, output: output + 1)
    assert "more than its kind" in folded(model, torch.randn(1, 3, 5, 5)).kept["1"]


def test_a_weight_computed_by_a_hook_is_left_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        first = torch.nn.utils.weight_norm(nn.Conv2d(3, 3, 1))
    model = nn.Sequential(first, nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    result = folded(model, torch.randn(1, 3, 5, 5))
    assert result.folded == {"3": "2"}
    assert "more than its kind" in result.kept["1"]


def test_bad_input_is_one_sentence() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    with pytest.raises(SparsightError, match="does not run on input"):
        fold_batchnorm(model, (4, 5, 5))
    with pytest.raises(SparsightError, match="does not say its input shape"):
        fold_batchnorm(model)
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    with pytest.raises(SparsightError, match="not finite"):
        fold_batchnorm(model, (3, 5, 5))
