"""Shrinking from what ``coupling`` found must end as shrinking from scratch does."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_networks import ODD, examples, kill, liven, unit
from torch import nn

from sparsight import nets
from sparsight.prune import Sparsifier, coupling, shrink
from sparsight.prune.criteria.criterion import arguments
from sparsight.prune.finite import first_not_finite
from sparsight.prune.shrinking import ShrinkResult
from sparsight.prune.shrinking.coupling import Coupling
from sparsight.prune.shrinking.surgery import sharing_copy
from sparsight.prune.shrinking.tracing import Tracer


def same(first: ShrinkResult, second: ShrinkResult) -> None:
    assert first.kept == second.kept and first.removed == second.removed
    assert first.skipped == second.skipped and first.parameters == second.parameters
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", sorted(ODD))
@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sparsity=st.sampled_from([0.3, 0.6, 0.9]),
    silent=st.booleans(),
    inputs=st.sampled_from([0.0, 0.0, 0.5]),
)
def test_what_is_known_changes_nothing(
    name: str, seed: int, sparsity: float, silent: bool, inputs: float
) -> None:
    model = ODD[name]()
    liven(model, seed)
    model.double().eval()
    example = examples(model, 1, seed)
    found = coupling(model, example)
    if found.layers:
        with Sparsifier(
            model, sparsity, granularity="filter", layers=found.layers, coupled=found.coupled
        ) as sparsifier:
            sparsifier.mask()
    kill(model, seed, 0.0, inputs)
    if silent:
        found.silence(model)
    same(shrink(model, example, found=found), shrink(model, example))


def pruned(name: str) -> tuple[nn.Module, torch.Tensor, Coupling]:
    torch.manual_seed(0)
    model = nets.build(name, num_classes=5)
    liven(model, 1)
    model.eval()
    example = torch.rand(1, 3, 64, 64)
    found = coupling(model, example)
    with Sparsifier(model, 0.5, granularity="filter", layers=found.layers, coupled=found.coupled) as sparse:
        sparse.mask()
    found.silence(model)
    return model, example, found


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_usual_networks_are_not_followed_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, example, found = pruned(name)
    expected = shrink(model, example)
    monkeypatch.setattr("sparsight.prune.shrinking.removal.Tracer", None)
    same(shrink(model, example, found=found), expected)


def test_what_is_known_of_another_network_is_not_believed() -> None:
    model, example, found = pruned("resnet18")
    for change in ("voice", "activation", "width"):
        other = copy.deepcopy(model)
        if change == "voice":
            other.get_submodule("bn1").bias.data.add_(1)
        elif change == "activation":
            for path, module in list(other.named_modules()):
                if isinstance(module, nn.ReLU):
                    other.set_submodule(path, nn.Sigmoid())
        else:
            other = shrink(other, example).model
        same(shrink(other, example, found=found), shrink(other, example))


def test_a_copy_is_what_deepcopy_makes_around_the_same_tensors() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = unit(3, 4)
            self.twice = self.inner
            self.table = {"inner": self.inner, "list": [self.inner, 3], 4: {5, 6}}
            self.attention = nn.MultiheadAttention(4, 2)

        def __getstate__(self) -> dict[str, object]:
            return {**self.__dict__, "marked": True}

    for model in (Own(), nn.Sequential(Own(), unit(4, 4))):
        copied, expected = sharing_copy(model), copy.deepcopy(model)
        assert repr(copied) == repr(expected)
        assert [*copied.state_dict()] == [*expected.state_dict()]
        for module, ours, theirs in zip(model.modules(), copied.modules(), expected.modules(), strict=True):
            assert ours is not module and vars(ours).keys() == vars(theirs).keys()
            assert all(a is b for a, b in zip(ours.parameters(), module.parameters(), strict=True))
            assert all(
                value is not vars(module)[key] for key, value in vars(ours).items() if type(value) is dict
            )
    own = sharing_copy(Own())
    assert own.twice is own.inner is own.table["inner"] is own.table["list"][0] and own.marked


def test_numbers_that_are_none_are_found() -> None:
    big = torch.full((1000,), 3e38)  # whose sum is infinite
    half = torch.full((1000,), 6e4, dtype=torch.float16)
    fine = [big, half, torch.zeros(0), torch.ones(3, dtype=torch.float64), torch.arange(4)]
    assert first_not_finite([]) is None and first_not_finite(fine) is None
    for bad in (torch.nan, torch.inf, -torch.inf):
        assert first_not_finite([*fine, torch.tensor([1.0, bad]), big]) == len(fine)
    assert first_not_finite([torch.tensor([torch.inf, -torch.inf])]) == 0


class Asks(nn.Module):
    """Picks pixels by the values of its maps; how many there are is seen by its code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.asked, self.last = unit(3, 8), unit(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.asked(self.first(x)).movedim(1, -1)
        return self.last(x[x.mean(-1) > 0.1])


def test_a_network_whose_sizes_depend_on_values_is_run_with_them() -> None:
    model = Asks().eval()
    liven(model, 1)
    found = coupling(model, torch.randn(1, 3, 8, 8))
    assert found.layers == ("first.0",)  # what is there when a size is seen may be used otherwise
    model.first[0].weight.data[:3] = 0
    model.asked[0].weight.data[:3] = 0
    result = shrink(model, torch.randn(1, 3, 8, 8))
    assert result.kept["first.0"] < 8 and result.kept["asked.0"] == 8


# --- Layers of which shrinking can remove nothing are not offered ------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Upscaled", {"one.0", "three.0"}),  # two: four channels make one of the next
        # multiplied: two filters to a channel
        ("Inverted", {"stem.0", "block.0.0", "block.1.0", "block.2.0"}),
        ("Modulated", {"stem.0"}),  # a scale and a shift for each channel of conv
        ("UpGrouped", {"stem.0", "mix.0"}),
    ],
)
def test_what_is_offered_can_be_removed(name: str, wanted: set[str]) -> None:
    model = ODD[name]()
    liven(model, 2)
    model.double().eval()
    example = examples(model, 1, 2)
    found = coupling(model, example)
    assert set(found.layers) == wanted
    with Sparsifier(
        model, 0.5, granularity="filter", layers=found.layers, coupled=found.coupled
    ) as sparsifier:
        sparsifier.mask()
    found.silence(model)
    left = {skip.name: skip.reason for skip in shrink(model, example).skipped if skip.channels}
    assert all("keeps the groups" in left[name] for name in found.layers if name in left)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=(2, 1), padding=1, dilation=(1, 2), groups=2),
        nn.Conv2d(4, 6, (1, 4), padding="same"),
        nn.Conv2d(4, 6, 5, padding=2, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1),
        nn.Conv1d(4, 6, 3, stride=2),
        nn.Conv3d(4, 6, 2, padding=1),
        nn.Linear(4, 6),
    ],
    ids=str,
)
def test_a_layer_that_is_not_computed_has_the_shape_of_one_that_is(layer: nn.Module) -> None:
    rank = 0 if isinstance(layer, nn.Linear) else layer.weight.ndim - 2
    x = torch.rand(2, *([4] if not rank else [4, *[9, 11, 7][:rank]]))
    trace = Tracer(layer.eval(), constants=False, values=False).run([x], {})
    assert [tensor.shape for tensor in trace.outputs] == [layer(x).shape]


def test_calibration_is_moved_to_where_the_model_is() -> None:
    x = torch.ones(2)
    moved_to = arguments((x, {"mask": [x]}), torch.device("meta"))
    assert moved_to[0].device.type == "meta" == moved_to[1]["mask"][0].device.type
    assert len(arguments(x, torch.device("cpu"))) == 1
