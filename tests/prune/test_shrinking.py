from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_networks import ODD, examples, kill, liven, unit
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from sparsight import SparsightError, nets
from sparsight.nets.building import NETWORKS
from sparsight.prune import Sparsifier, coupling
from sparsight.prune.shrinking import ShrinkResult, apply_layout, layout, shrink
from sparsight.prune.shrinking.rules import RULES
from sparsight.prune.shrinking.tracing import tensors

TINY_CFG = """
[net]
channels=3
height=32
width=32
[convolutional]
batch_normalize=1
filters=16
size=3
stride=1
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=16
groups=16
size=3
pad=1
activation=mish
[shortcut]
from=-2
activation=linear
[route]
layers=-1
groups=2
group_id=1
[convolutional]
batch_normalize=1
filters=8
size=1
activation=leaky
[route]
layers=-1,-2
[maxpool]
size=2
stride=2
[maxpool]
size=3
stride=1
[convolutional]
batch_normalize=1
filters=12
size=3
pad=1
activation=swish
[upsample]
stride=2
[route]
layers=-1,0
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=4,6,10,14
classes=2
"""

SMALL: dict[str, dict[str, Any]] = {
    **{
        name: {"num_classes": 10, "input_shape": (3, 32, 32)}
        for name in ("vgg16", "vgg16_bn", "vgg19", "resnet18", "mobilenet_v1", "mobilenet_v2")
    },
    "mlp": {},
    "convnet": {},
    "ssdlite_mobilenet_v2": {"input_size": 64},
    "darknet": {"cfg": TINY_CFG},
    **{name: {"input_size": 32} for name in ("yolox_nano", "yolox_tiny", "yolox_s")},
    **{name: {"num_classes": 10} for name in ("osnet_x0_25", "osnet_x1_0", "osnet_ain_x1_0", "mlfn")},
    "inception_resnet_v1": {"num_classes": 10},
    "openpose_thin": {"input_size": (64, 64)},
}
SIDES = {"osnet_x0_25": (64, 32), "osnet_x1_0": (64, 32), "osnet_ain_x1_0": (64, 32), "mlfn": (64, 32),
         "inception_resnet_v1": (80, 80)}  # fmt: skip


def outputs(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        return list(tensors(model(*inputs), "the result"))


def difference(first: nn.Module, second: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Largest difference of the outputs, over the largest output."""
    ours, theirs = outputs(first, inputs), outputs(second, inputs)
    assert [tensor.shape for tensor in ours] == [tensor.shape for tensor in theirs]
    largest = max(float(tensor.abs().max()) for tensor in theirs)
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)) / max(largest, 1e-12)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# --- Equal outputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ODD))
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    filters=st.sampled_from([0.2, 0.5, 0.8, 1.0]),
    inputs=st.sampled_from([0.0, 0.3, 0.8]),
)
def test_an_odd_network_gives_what_it_gave(name: str, seed: int, filters: float, inputs: float) -> None:
    model = ODD[name]()
    liven(model, seed)
    kill(model, seed + 1, filters, inputs)
    model.double().eval()
    result = shrink(model, examples(model, 1 + seed % 2, seed))
    assert difference(result.model, model, examples(model, 3, seed + 2)) < 1e-9
    assert size(result.model) == result.parameters[1] <= result.parameters[0] == size(model)


@pytest.mark.parametrize(
    "name", sorted(set(ODD) - {"Written", "WrittenThrough", "FixedHeads", "BareParameters", "Borrowed"})
)
def test_an_odd_network_gets_smaller(name: str) -> None:
    model = ODD[name]()
    liven(model, 0)
    for index, module in enumerate(m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))):
        module.weight.data[index % 2 :: 2] = 0  # every second, so that groups lose equally many
        module.weight.data[:, index % 2 :: 2] = 0
    model.double().eval()
    result = shrink(model, examples(model, 1, 0))
    assert result.parameters[1] < result.parameters[0]
    assert difference(result.model, model, examples(model, 2, 1)) < 1e-9


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_gives_what_it_gave_and_gets_smaller(name: str) -> None:
    model = nets.build(name, **SMALL[name])
    liven(model, 3)
    kill(model, 4, 0.5)
    channels, height, width = model.input_shape
    height, width = SIDES.get(name, (height, width))
    x = torch.rand(2, channels, height, width)
    result = shrink(model, x[:1])
    # Rounding is all that may differ: in float64, nothing is left of it.
    assert difference(result.model, model, [x]) < 1e-5
    assert (
        difference(copy.deepcopy(result.model).double(), copy.deepcopy(model).double(), [x.double()]) < 1e-7
    )
    assert result.parameters[1] < 0.9 * result.parameters[0]
    assert result.removed


def test_what_is_removed_does_not_depend_on_the_size_of_the_example() -> None:
    model = nets.build("mobilenet_v2", num_classes=10, input_shape=(3, 32, 32))
    liven(model, 5)
    kill(model, 6, 0.5)
    # Maps of a single pixel have no inside: what holds on them need not hold on larger ones.
    small = shrink(model, torch.rand(1, 3, 32, 32))
    large = shrink(model, torch.rand(1, 3, 96, 64))
    assert small.kept == large.kept
    assert difference(small.model, model, [torch.rand(1, 3, 64, 96)]) < 1e-5


# --- What goes and what stays ------------------------------------------------------------------------------


def chain(*, padding: int, bias: float) -> nn.Sequential:
    """Convolution of 8 filters, the first 5 of them zero, batch norm, ReLU, convolution."""
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=padding),
    )
    liven(model, 0)
    model[0].weight.data[:5] = 0
    model[1].bias.data[:5] = bias
    model[1].weight.data.fill_(1)
    model[1].running_mean.zero_()
    return model.double().eval()


def test_a_filter_without_voice_goes() -> None:
    model = chain(padding=1, bias=-1.0)
    result = shrink(model, torch.rand(1, 2, 6, 6).double())
    assert result.removed == {"0": 5}
    assert result.kept == {"0": 3, "3": 4}
    assert result.skipped == ()
    assert result.model[1].num_features == 3
    assert difference(result.model, model, [torch.rand(2, 2, 9, 7).double()]) < 1e-12


def test_a_constant_is_folded_into_the_bias_of_what_reads_it() -> None:
    model = chain(padding=0, bias=0.7)
    result = shrink(model, torch.rand(1, 2, 6, 6).double())
    assert result.removed == {"0": 5}
    added = (model[3].weight[:, :5].sum((1, 2, 3)) * model[2](model[1].bias[:5] / 1)[0]).detach()
    assert torch.allclose(result.model[3].bias - model[3].bias, added)


def test_one_constant_carries_the_others_past_zero_padding() -> None:
    model = chain(padding=1, bias=0.7)
    model[1].bias.data[:5] = torch.tensor([0.1, 0.2, 0.9, 0.3, -1.0])
    result = shrink(model, torch.rand(1, 2, 6, 6).double())
    assert result.removed == {"0": 4}
    assert [(skip.name, skip.channels) for skip in result.skipped] == [("0", 1)]
    assert "and those of 3 other dead channels past the zero padding of 3" in str(result.skipped[0])
    assert result.model[1].bias[0].item() == pytest.approx(0.9)  # the largest, so that no error grows
    assert difference(result.model, model, [torch.rand(2, 2, 9, 7).double()]) < 1e-12


def test_without_a_bias_the_constant_goes_into_the_norm_or_a_new_bias() -> None:
    for norm in (nn.BatchNorm2d(4), nn.Identity()):
        model = nn.Sequential(nn.Conv2d(2, 6, 1), nn.Sigmoid(), nn.Conv2d(6, 4, 1, bias=False), norm)
        liven(model, 1)
        model[0].weight.data[2:] = 0
        model.double().eval()
        result = shrink(model, torch.rand(1, 2, 4, 4).double())
        assert result.kept == {"0": 2, "2": 4}
        assert (result.model[2].bias is None) == isinstance(norm, nn.BatchNorm2d)
        assert difference(result.model, model, [torch.rand(2, 2, 4, 4).double()]) < 1e-12


def test_a_channel_that_nobody_reads_goes_though_it_lives() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    liven(model, 2)
    model[4].weight.data[:, 2:] = 0  # of 6, two are read; of 8, those two read three
    model[2].weight.data[0, 3:] = 0
    model[2].weight.data[1, 3:] = 0
    model.double()
    result = shrink(model, torch.rand(1, 3).double())
    assert result.kept == {"0": 3, "2": 2, "4": 2}
    assert difference(result.model, model, [torch.rand(5, 3).double()]) < 1e-12


def test_channels_that_only_feed_themselves_go() -> None:
    model = ODD["Cyclic"]()
    liven(model, 3)
    model.head[2].weight.data[:, 7:] = 0
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 12:
            module.weight.data[:7, 7:] = 0
    result = shrink(model.eval(), torch.rand(1, 3, 8, 8))
    assert result.kept == {"stem.0": 7, "blocks.0.0": 7, "blocks.1.0": 7, "blocks.2.0": 7, "head.2": 5}


def test_a_sum_keeps_what_lives_on_either_side() -> None:
    model = ODD["Residual"]()
    liven(model, 4)
    model.stem[0].weight.data[:6] = 0
    model.two[0].weight.data[3:9] = 0
    for norm in (model.stem[1], model.two[1]):
        norm.bias.data.fill_(-0.5)  # what is dead adds nothing after the rectifier
        norm.running_mean.data.zero_()
    result = shrink(model.eval(), torch.rand(1, 3, 8, 8))
    assert result.kept["stem.0"] == result.kept["two.0"] == 9
    reasons = [str(skip) for skip in result.skipped]
    assert any("stem.0: 3 zero channels kept" in reason and "reads" in reason for reason in reasons)


def test_flattened_maps_lose_all_their_columns() -> None:
    model = ODD["Flattened"]()
    liven(model, 5)
    model.two.weight.data[[1, 4]] = 0
    result = shrink(model.eval(), torch.rand(1, 3, 8, 8))
    assert result.model.classifier[0].in_features == 10 * 9


def test_groups_stay_equal_or_go_altogether() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1, groups=4), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    liven(model, 6)
    model[0].bias.data.fill_(-1)
    model[2].bias.data.fill_(-1)
    model[0].weight.data[[0, 1, 4, 8, 12]] = 0  # two of the first group, one of each other
    even = shrink(model, torch.rand(1, 3, 4, 4))
    assert even.kept == {"0": 12, "2": 8, "4": 2}
    assert even.model[2].groups == 4
    assert "keeps the groups of 2 equal" in str(even.skipped[0])
    model[2].weight.data[2:4] = 0  # nothing is left of the second group
    fewer = shrink(model, torch.rand(1, 3, 4, 4))
    assert fewer.kept == {"0": 9, "2": 6, "4": 2}
    assert fewer.model[2].groups == 3
    assert difference(fewer.model, model, [torch.rand(2, 3, 5, 5)]) < 1e-5


def test_a_depthwise_convolution_shrinks_with_what_it_reads() -> None:
    model = nn.Sequential(unit(3, 8), unit(8, 8, groups=8), nn.Conv2d(8, 2, 1))
    liven(model, 7)
    model[0][0].weight.data[:3] = 0
    model[0][1].bias.data.fill_(-1)
    model[0][1].running_mean.data.fill_(0)
    model[1][0].weight.data[3:5] = 0
    result = shrink(model.eval(), torch.rand(1, 3, 6, 6))
    assert result.kept == {"0.0": 3, "2": 2, "1.0": 3}
    assert (result.model[1][0].groups, result.model[1][0].in_channels) == (3, 3)
    model[0][1].bias.data[:3] = 1  # the dead channels speak now, and padding makes their edges differ
    result = shrink(model.eval(), torch.rand(1, 3, 6, 6))
    assert result.kept == {"0.0": 6, "2": 2, "1.0": 6}
    assert "the zero padding of 1.0 reaches its constant" in str(result.skipped[0])


def test_the_last_channel_stays() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    for parameter in model.parameters():
        parameter.data.zero_()
    result = shrink(model, torch.rand(1, 3))
    assert result.kept == {"0": 1, "2": 2}
    assert {skip.reason for skip in result.skipped} == {
        "is the last channel of 0",
        "is an output of the model",
    }


@pytest.mark.parametrize(("multiple", "expected"), [(None, 9), (4, 12), (8, 16), (64, 20)])
def test_widths_are_rounded_up_with_dead_channels(multiple: int | None, expected: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 20, 1), nn.ReLU(), nn.Conv2d(20, 4, 1))
    liven(model, 8)
    model[0].weight.data[:11] = 0
    result = shrink(model, torch.rand(1, 3, 4, 4), round_to=multiple)
    assert result.kept["0"] == expected
    assert sum(skip.channels for skip in result.skipped) == expected - 9
    assert difference(result.model, model, [torch.rand(2, 3, 4, 4)]) < 1e-5


def test_dead_inputs_go_only_when_asked() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 2))
    liven(model, 9)
    model[1].weight.data[:, [0, 5, 11]] = 0
    x = torch.rand(3, 12)
    assert shrink(model, x).model[1].in_features == 12
    result = shrink(model, x, inputs=True)
    assert result.model[1].in_features == 9
    assert result.inputs[0].tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert torch.allclose(result.model(x[:, result.inputs[0]]), model(x), atol=1e-6)


def test_layers_that_did_not_run_are_named() -> None:
    model = nets.build("osnet_x0_25", num_classes=7)
    result = shrink(model, torch.rand(1, 3, 64, 32))
    assert [skip.name for skip in result.skipped if "did not run" in skip.reason] == ["classifier"]
    assert torch.equal(result.model.classifier.weight, model.classifier.weight)


def test_code_that_fixes_its_sizes_keeps_them_and_says_so() -> None:
    model = ODD["FixedSizes"]()
    liven(model, 10)
    kill(model, 11, 0.5)
    result = shrink(model.eval(), torch.rand(1, 3, 8, 8))
    assert result.kept["last"] == 8
    assert "free.0" in result.removed
    reasons = {skip.name: skip.reason for skip in result.skipped}
    assert "cut at a fixed place" in reasons["one.0"]
    assert "has a size written into the code" in reasons["last"]


def test_what_is_not_followed_is_named() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x).sort(dim=1).values)

    model = Sorted()
    kill(model, 12, 0.6)
    result = shrink(model, torch.rand(1, 3))
    assert result.kept == {"one": 6, "two": 2}
    assert any("sort" in skip.reason for skip in result.skipped if skip.name == "one")


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN, nn.LSTM])
def test_what_a_recurrent_layer_reads_is_kept_with_a_reason(kind: type[nn.RNNBase]) -> None:
    model = ODD["Recurrent"]()
    model.rnn = kind(7, 6, batch_first=True, bidirectional=True)
    model.gru = kind(10, 7, batch_first=True)
    liven(model, 18)
    model.one.weight.data[:4] = 0
    model.two.weight.data[:4] = 0
    result = shrink(model.double().eval(), examples(model, 2, 18))
    assert (result.kept["one"], result.kept["two"]) == (10, 4)
    assert "goes through the recurrent layer gru" in next(s.reason for s in result.skipped if s.name == "one")
    assert difference(result.model, model, examples(model, 3, 19)) < 1e-9


def test_hidden_neurons_of_an_encoder_layer_go() -> None:
    assert torch.backends.mha.get_fastpath_enabled()
    model = ODD["Encoder"]().eval()
    liven(model, 20)
    model.layers.layers[0].linear1.weight.data[:5] = 0
    x = torch.rand(2, 5, 6)
    result = shrink(model, x)
    assert result.removed == {"layers.layers.0.linear1": 5}
    assert "layers.layers.1.linear1" in coupling(model, x).layers
    assert torch.backends.mha.get_fastpath_enabled()
    assert difference(result.model, model, [x]) < 1e-5  # as one operation again


def test_a_constant_goes_into_a_bias_that_is_added_by_itself() -> None:
    model = ODD["Sequences"]()
    liven(model, 21)
    model.one.weight.data[:5] = 0
    model.two.weight.data[2:4] = 0
    bias = model.two.bias.detach().clone()
    model.double().eval()
    result = shrink(model, examples(model, 1, 21))
    assert result.removed == {"one": 5, "two": 2}
    dead = torch.sigmoid(model.one.bias[:5])
    expected = bias.double() + model.two.weight[:, :5] @ dead
    assert torch.allclose(result.model.two.bias, expected[[0, 1, 4, 5, 6, 7]])
    assert difference(result.model, model, examples(model, 2, 22)) < 1e-12


def test_gates_and_tensors_made_like_others_are_followed() -> None:
    model = ODD["Glu"]()
    liven(model, 26)
    model.one.weight.data[[1, 7, 3, 9, 4]] = 0  # 1 and 3 with their gates; 4 without
    assert shrink(model.double().eval(), examples(model, 1, 26)).removed == {"one": 4}
    chosen = nn.Sequential(nn.Conv2d(3, 8, 1), Chosen(), nn.Conv2d(8, 2, 1)).double()
    liven(chosen, 27)
    chosen[0].weight.data[:3] = 0
    example = torch.rand(1, 3, 4, 4).double()
    result = shrink(chosen, example)
    assert result.removed == {"0": 3}
    assert difference(result.model, chosen, [example]) < 1e-12


class Chosen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0.2, x, torch.zeros_like(x) - 0.1)


def test_parameters_without_a_module_have_names_of_their_own() -> None:
    model = ODD["BareParameters"]()
    liven(model, 23)
    model.one.data[:3] = 0
    model.two.data[:2] = 0
    model.shift.data.fill_(-1)
    result = shrink(model, torch.rand(1, 3, 8, 8))
    assert result.removed == {"one": 3, "two": 2}
    assert result.kept == {"one": 5, "two": 4, "three": 3}


# --- The result --------------------------------------------------------------------------------------------


@pytest.fixture
def shrunk() -> tuple[nn.Module, ShrinkResult]:
    model = nets.build("resnet18", num_classes=4, input_shape=(3, 16, 16))
    liven(model, 13)
    kill(model, 14, 0.6)
    return model, shrink(model, torch.rand(1, 3, 16, 16))


def test_the_model_given_is_as_it_was() -> None:
    model = nets.build("convnet", widths=(8, 8)).train()
    model.features[1].eval()
    model.features[0].weight.requires_grad_(False)
    liven(model, 15)
    kill(model, 16, 0.5)
    before = copy.deepcopy(model)
    result = shrink(model, torch.rand(1, 3, 32, 32))
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert [m.training for m in result.model.modules()] == [m.training for m in before.modules()]
    assert [p.requires_grad for p in result.model.parameters()] == [
        p.requires_grad for p in before.parameters()
    ]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in result.model.modules())
    theirs = {t.data_ptr() for t in model.state_dict().values()}
    assert not any(t.data_ptr() in theirs for t in result.model.state_dict().values())


def test_it_trains(shrunk: tuple[nn.Module, ShrinkResult]) -> None:
    model = shrunk[1].model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.rand(8, 3, 16, 16), torch.arange(8) % 4
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_it_goes_through_onnx(shrunk: tuple[nn.Module, ShrinkResult]) -> None:
    model, result = shrunk
    x = np.random.default_rng(0).random((3, 3, 16, 16), dtype=np.float32)
    ours = nets.Session(result.model, "cpu", input_shape=(3, 16, 16))(x)
    with torch.no_grad():
        theirs = model(torch.from_numpy(x)).numpy()
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_its_state_can_be_loaded_into_a_fresh_network(shrunk: tuple[nn.Module, ShrinkResult]) -> None:
    result = shrunk[1]
    widths = json.loads(json.dumps(layout(result.model)))
    fresh = apply_layout(nets.build("resnet18", num_classes=4, input_shape=(3, 16, 16)), widths)
    fresh.load_state_dict(result.model.state_dict(), strict=True)
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(fresh(x), result.model(x))
    with pytest.raises(SparsightError, match="another network"):
        apply_layout(nets.build("convnet"), widths)


def test_it_can_be_shrunk_again(shrunk: tuple[nn.Module, ShrinkResult]) -> None:
    again = shrink(shrunk[1].model, torch.rand(1, 3, 16, 16))
    assert again.removed == {}
    assert again.parameters[0] == again.parameters[1]


def test_its_account_can_be_read(shrunk: tuple[nn.Module, ShrinkResult]) -> None:
    result = shrunk[1]
    text = str(result)
    assert f"{result.parameters[1]:,}" in text
    assert "layer1.0.conv1" in text
    assert "fc: " in text
    assert result.difference < 1e-5
    dense = dict(shrunk[0].named_modules())
    for name, kept in result.kept.items():
        layer = dense[name]
        width = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
        assert kept + result.removed.get(name, 0) == width


# --- Where zeros come from ---------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["l1", "hrank"])
def test_masks_of_a_sparsifier_that_is_still_at_work(criterion: str) -> None:
    model = nets.build("convnet", widths=(8, 16)).train()
    with Sparsifier(model, 0.5, granularity="filter", criterion=criterion) as sparsifier:
        model(torch.rand(4, 3, 32, 32))
        sparsifier.mask()
        result = shrink(model, torch.rand(1, 3, 32, 32))
    carriers = sum(skip.channels for skip in result.skipped if "past the zero padding" in skip.reason)
    assert result.kept["features.0"] == 4 + carriers
    assert result.kept["features.4"] == 8
    assert not any(module._forward_hooks for module in result.model.modules())
    model.eval()
    result.model.eval()
    assert difference(result.model, model, [torch.rand(2, 3, 32, 32)]) < 1e-5


def test_masks_of_pytorch_are_baked_in() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    prune.ln_structured(model[0], "weight", amount=3, n=2, dim=0)
    model(torch.rand(1, 4))
    result = shrink(model, torch.rand(1, 4))
    assert result.kept == {"0": 5, "2": 2}
    assert isinstance(result.model[0].weight, nn.Parameter)
    assert prune.is_pruned(model)
    assert difference(result.model, model, [torch.rand(3, 4)]) < 1e-5


def test_parametrisations_are_baked_in() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), parametrizations.weight_norm(nn.Linear(8, 2)))
    model[0].weight.data[:3] = 0
    result = shrink(model, torch.rand(1, 4))
    assert result.kept == {"0": 5, "2": 2}
    assert hasattr(model[2], "parametrizations")
    assert difference(result.model, model, [torch.rand(3, 4)]) < 1e-5


def test_half_precision() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    liven(model, 17)
    model[0].weight.data[:4] = 0
    model.bfloat16()
    result = shrink(model, torch.rand(1, 3, 8, 8).bfloat16())
    assert result.kept["0"] == 4
    assert result.model[2].weight.dtype == torch.bfloat16


# --- Bad input ---------------------------------------------------------------------------------------------


def test_weights_that_are_not_numbers() -> None:
    model = nets.build("convnet")
    model.classifier.weight.data[0, 0] = torch.nan
    with pytest.raises(SparsightError, match=r"classifier\.weight holds NaN"):
        shrink(model, torch.rand(1, 3, 32, 32))


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(SparsightError, match="ConvNet does not run on the example inputs in features"):
        shrink(nets.build("convnet"), torch.rand(1, 5, 32, 32))
    with pytest.raises(SparsightError, match="must be a tensor"):
        shrink(nets.build("convnet"), 3)  # type: ignore[arg-type]


def test_results_that_cannot_be_looked_into() -> None:
    class Boxed(nn.Module):
        def forward(self, x: Tensor) -> object:
            return object()

    with pytest.raises(SparsightError, match="what Boxed returns holds a object"):
        shrink(Boxed(), torch.rand(1, 3))


def test_a_network_whose_outputs_change_from_run_to_run() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(3, 3)
            self.runs = 0

        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            return self.line(x) * self.runs

    with pytest.raises(SparsightError, match="from run to run"):
        shrink(Noisy(), torch.rand(1, 3))


class Branch(nn.Module):
    """Takes one of two ways, as ``ask`` says of the input."""

    def __init__(self, ask: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.ask = ask
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return self.two(F.relu(y) if self.ask(x) else torch.sigmoid(y))


ASKING: dict[str, Callable[[Tensor], Any]] = {
    "bool": lambda x: x.sum() > 0,
    "item": lambda x: x.sum().item() > 0,
    "equal": lambda x: torch.equal(x, x.abs()),
    "tolist": lambda x: x.tolist()[0][0] > 0,
    "numpy": lambda x: x.detach().numpy().max() > 0,
    "array": lambda x: np.asarray(x).max() > 0,
}


@pytest.mark.parametrize("how", ASKING)
def test_a_network_that_decides_by_values_is_refused(how: str) -> None:
    model = nn.Sequential(nn.Identity(), Branch(ASKING[how])).eval()
    model[1].one.weight.data[:4] = 0
    for follow in (shrink, coupling):
        with pytest.raises(SparsightError, match=r"^1 decides by the values of its input"):
            follow(model, torch.ones(1, 4))


def test_what_follows_parameters_alone_may_decide() -> None:
    model = Branch(lambda x: True)
    model.ask = lambda x: bool(model.two.bias[0] > -9) and x.shape[1] > 0
    model.one.weight.data[:4] = 0
    assert shrink(model, torch.ones(1, 4)).removed == {"one": 4}


def test_where_a_size_follows_the_input_both_ways_still_give_what_they_gave() -> None:
    model = Branch(lambda x: len((x > 0).nonzero()) > 0).eval()
    liven(model, 24)
    model.one.weight.data[:4] = 0
    result = shrink(model, torch.rand(2, 4))
    for x in (torch.full((2, 4), 9.0), torch.full((2, 4), -9.0)):
        assert difference(result.model, model, [x]) < 1e-6
    assert "when the size of nonzero is seen" in str(result.skipped[0])


def test_a_small_but_real_difference_is_refused() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.relu(self.one(x))) * (1 + 1e-5 * self.one.out_features)

    model = Counted()
    model.one.weight.data[:4] = 0
    with pytest.raises(SparsightError, match=r"differ by 4\.0e-05.*numbers of its channels"):
        shrink(model, torch.rand(2, 3))


class Rough(nn.Module):
    """Makes rounding large."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(1e4 * self.two(torch.sigmoid(self.one(x))))


def test_rounding_alone_is_no_difference() -> None:
    model = Rough()
    liven(model, 25)
    model.one.weight.data[:4] = 0
    result = shrink(model, torch.rand(50, 3))
    assert result.removed == {"one": 4}
    assert result.difference > 1e-5


def test_where_rounding_cannot_be_told_from_a_mistake() -> None:
    class Single(Rough):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.float())

    model = Single()
    liven(model, 25)
    model.one.weight.data[:4] = 0
    with pytest.raises(SparsightError, match="does not run in float64"):
        shrink(model, torch.rand(50, 3))


def test_outputs_that_are_not_numbers() -> None:
    class Masked(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.one, self.two, self.value = nn.Linear(3, 8), nn.Linear(8, 3), value

        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.relu(self.one(x))).masked_fill(x > 0.5, self.value)

    for value in (-torch.inf, torch.nan):
        model = Masked(value)
        model.one.weight.data[:4] = 0
        if value == -torch.inf:
            assert shrink(model, torch.rand(9, 3)).removed == {"one": 4}
        else:
            with pytest.raises(SparsightError, match="Masked gives NaN on the example inputs"):
                shrink(model, torch.rand(9, 3))


def test_a_shape_is_enough() -> None:
    model = nets.build("convnet", widths=(8, 8))
    model.features[0].weight.data[:4] = 0
    assert shrink(model, (3, 32, 32)).removed == shrink(model, torch.rand(1, 3, 32, 32)).removed != {}


def test_what_is_no_module_of_python() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3)))
    for follow in (shrink, coupling):
        with pytest.raises(SparsightError, match="TorchScript"):
            follow(scripted, torch.rand(1, 3))
        with pytest.raises(SparsightError, match="0 is compiled to TorchScript"):
            follow(nn.Sequential(scripted), torch.rand(1, 3))
        with pytest.raises(SparsightError, match=r"nn\.Module"):
            follow("resnet18", torch.rand(1, 3))  # type: ignore[arg-type]


def test_a_fault_in_following_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise IndexError("index out of range")

    monkeypatch.setitem(RULES, "relu", broken)
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    for follow in (shrink, coupling):
        with pytest.raises(SparsightError, match=r"relu in 1 could not be followed \(index out of range"):
            follow(model, torch.rand(1, 3))


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    model = nn.Linear(2, 2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    shrink(model, torch.zeros(1, 2))
    assert torch.equal(torch.rand(3), expected)
