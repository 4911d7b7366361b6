"""Input selection end to end on tiny networks: what is left computes what the masked network does."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError, nets
from sparsight.prune import Selector, select_inputs
from sparsight.prune.inputs import BlockDCT, InputSelection, Lines, Selection, SpaceToDepth
from sparsight.prune.inputs.tracing import readers
from sparsight.prune.shrinking import apply_layout

torch.set_num_threads(1)

STEPS = 8
CLASSES = 4


class ChannelsLast(nn.Module):
    """Flattens images with the colours innermost, for two branches that it adds."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(192, 16)
        self.right = nn.Linear(192, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1).flatten(1)
        logits: Tensor = self.head(torch.relu(self.left(rows)) + torch.tanh(self.right(rows)))
        return logits


class Shortcut(nn.Module):
    """Adds its input to what its first layer makes of it."""

    input_shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x).relu() + x)
        return logits


def mlp(**options: Any) -> nn.Module:
    return nets.build("mlp", num_classes=CLASSES, hidden=(12, 8), **options)


def convnet(*shape: int) -> nn.Module:
    return nets.build("convnet", num_classes=CLASSES, input_shape=shape, widths=(8, 8))


def table() -> nn.Module:
    network = nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, CLASSES))
    network.input_shape = (20,)  # type: ignore[assignment]
    return network


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "mlp": (lambda: mlp(input_shape=(1, 10, 10)), {}),
    "mlp in colour": (lambda: mlp(input_shape=(3, 8, 8)), {"features": "pixels"}),
    "table": (table, {}),
    "channels last, two readers": (ChannelsLast, {}),
    "convnet": (lambda: convnet(6, 8, 8), {"features": "channels"}),
    "resnet": (lambda: nets.build("resnet18", num_classes=CLASSES, input_shape=(4, 8, 8)), {}),
    "phases": (lambda: nn.Sequential(SpaceToDepth(2), convnet(12, 8, 8)), {}),
    "frequencies": (lambda: nn.Sequential(BlockDCT(4, "ycbcr"), convnet(48, 8, 8)), {}),
    "lines, mlp": (lambda: mlp(input_shape=(3, 8, 12)), {"features": "lines"}),
    "lines, channels last": (lambda: nn.Sequential(Lines(8, 8), ChannelsLast()), {}),
    "lines, convnet": (lambda: convnet(2, 9, 12), {"features": "lines"}),
}


def shape_of(model: nn.Module) -> tuple[int, ...]:
    if isinstance(model, nn.Sequential) and isinstance(model[0], (SpaceToDepth, BlockDCT)):
        return model[0].image_shape(model[1].input_shape)  # type: ignore[arg-type]
    if isinstance(model, nn.Sequential) and not hasattr(model, "input_shape"):
        model = model[1]
    return tuple(model.input_shape)  # type: ignore[arg-type]


def trainer(shape: tuple[int, ...], steps: int = STEPS) -> Callable[..., None]:
    def train(model: nn.Module, step: Callable[[float], None]) -> None:
        generator = torch.Generator().manual_seed(1)
        # Momentum and weight decay move weights that have no gradient.
        optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9, weight_decay=1e-3)
        model.train()
        for done in range(1, steps + 1):
            images = torch.randn(8, *shape, generator=generator)
            labels = torch.randint(CLASSES, (8,), generator=generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            step(done / steps)

    return train


def selected(name: str, **options: Any) -> tuple[nn.Module, Selection]:
    """The masked network and what was selected."""
    build, features = CASES[name]
    torch.manual_seed(0)
    model = build()
    settings = {"sparsity": 0.5, "input_sparsity": 0.6, **features, **options}
    return model, select_inputs(model, trainer(shape_of(model)), **settings)


@pytest.mark.parametrize("name", CASES)
def test_the_smaller_network_gives_what_the_masked_one_gives(name: str) -> None:
    build, features = CASES[name]
    torch.manual_seed(0)
    model = build()
    shape = shape_of(model)
    selecting = InputSelection(model, sparsity=0.5, input_sparsity=0.6, **features)
    trainer(shape)(selecting.model, selecting.step)
    selection = selecting.finish()
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = selecting.model.eval()(images)
        assert expected.abs().max() > 1e-3
        packed = selection.selector(images)
        assert tuple(packed.shape[1:]) == selection.selector.output_shape
        torch.testing.assert_close(selection.model.eval()(packed), expected, atol=1e-5, rtol=1e-5)
        # Nothing else of the input has a say: what the selector drops may be anything.
        other = torch.from_numpy(selection.selector.unpack(selection.selector(images).numpy()))
        torch.testing.assert_close(selecting.model(other), expected, atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in selection.model.parameters()) < sum(p.numel() for p in model.parameters())
    kept = np.prod(selection.selector.output_shape) / np.prod(shape)
    assert abs(kept - 0.4) < 0.11 if len(selection.kept) > 10 else kept < 0.7
    for fused in (False, True):
        run = onnxruntime.InferenceSession(selection.export(fused=fused))
        given = run.run(None, {"input": (images if fused else packed).numpy()})[0]
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_exactly_what_is_asked_goes_first_what_is_never_lit() -> None:
    torch.manual_seed(0)
    model = mlp(input_shape=(1, 10, 10))
    lit = torch.zeros(10, 10)
    lit[2:8, 1:9] = 1
    plain = trainer((1, 10, 10))

    def train(masked: nn.Module, step: Callable[[float], None]) -> None:
        hook = masked.register_forward_pre_hook(lambda _, inputs: (inputs[0] * lit,))
        plain(masked, step)
        hook.remove()

    selection = select_inputs(model, train, sparsity=0, input_sparsity=0.52)
    np.testing.assert_array_equal(selection.kept.reshape(10, 10), lit.bool().numpy())
    assert selection.selector.output_shape == (48, 1, 1)
    assert selection.model.get_submodule("layers.0").in_features == 48
    assert (selection.inputs.sparsity, selection.others) == (0.52, None)
    assert np.array_equal(selection.strength > 0, selection.kept)


def test_lines_take_the_same_share_of_rows_and_columns() -> None:
    _, selection = selected("lines, mlp", input_sparsity=0.75)
    assert selection.selector.output_shape == (3, 4, 6)


def test_the_rest_shrinks_too() -> None:
    model, selection = selected("mlp")
    assert selection.shrunk.removed == {"layers.0": 6, "layers.2": 4}
    weights = [tuple(p.shape) for p in selection.model.parameters() if p.dim() == 2]
    assert weights == [(6, 40), (4, 6), (CLASSES, 4)]
    assert selection.others is not None
    assert selection.others.sparsity == pytest.approx(0.5)
    assert [tuple(p.shape) for p in model.parameters() if p.dim() == 2] == [(12, 100), (8, 12), (CLASSES, 8)]


@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_other_granularities_behind_the_input(granularity: str) -> None:
    _, selection = selected("phases", granularity=granularity, criterion="l1")
    assert selection.others is not None
    assert selection.others.sparsity == pytest.approx(0.5, abs=0.02) or granularity == "filter"


def test_resumed_it_selects_the_same() -> None:
    def steps(model: nn.Module, selecting: InputSelection, first: int, last: int) -> None:
        for done in range(first, last):
            generator = torch.Generator().manual_seed(done)
            images = torch.randn(8, 1, 10, 10, generator=generator)
            model.zero_grad()
            model.train()(images).square().sum().backward()
            torch.optim.SGD(model.parameters(), 0.01).step()
            selecting.step()

    torch.manual_seed(0)
    whole = mlp(input_shape=(1, 10, 10))
    parts = copy.deepcopy(whole)
    settings: dict[str, Any] = {"sparsity": 0.5, "input_sparsity": 0.6, "total_steps": 10}
    one = InputSelection(whole, **settings)
    steps(whole, one, 0, 10)
    before = InputSelection(parts, **settings)
    steps(parts, before, 0, 5)
    file = io.BytesIO()
    torch.save({"model": parts.state_dict(), "selecting": before.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = mlp(input_shape=(1, 10, 10))
    again.load_state_dict(saved["model"])
    after = InputSelection(again, **settings)
    after.load_state_dict(saved["selecting"])
    steps(again, after, 5, 10)
    for a, b in zip(
        one.finish().fused().state_dict().values(), after.finish().fused().state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    with pytest.raises(SparsightError, match="what state_dict"):
        InputSelection(mlp(input_shape=(1, 10, 10)), **settings).load_state_dict({})


@pytest.mark.parametrize("criterion", [None, "flap", "wanda"])
def test_loops_that_do_not_choose_a_mode(criterion: str | None) -> None:
    """Networks come in evaluation mode; select_inputs puts them into training, loops of one's own may not."""

    def train(model: nn.Module, step: Callable[[float], None]) -> None:
        modes.append(model.training)
        optimizer = torch.optim.Adam(model.parameters())
        for done in range(1, 6):
            images = torch.randn(8, 1, 10, 10, generator=torch.Generator().manual_seed(done))
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
            step(done / 5)

    modes: list[bool] = []
    settings: dict[str, Any] = {"sparsity": 0.5, "input_sparsity": 0.6, "criterion": criterion}
    selection = select_inputs(mlp(input_shape=(1, 10, 10)).eval(), train, **settings)
    selecting = InputSelection(mlp(input_shape=(1, 10, 10)).eval(), **settings)
    train(selecting.model, selecting.step)
    assert modes == [True, False]
    assert not selection.model.training
    assert selection.kept.sum() == selecting.finish().kept.sum() == 40


def test_training_that_stops_early_still_meets_the_target() -> None:
    model = mlp(input_shape=(1, 10, 10))
    selecting = InputSelection(model, sparsity=0.5, input_sparsity=0.6)
    model.train()(torch.randn(2, 1, 10, 10))
    selecting.step(0.3)
    assert selecting.finish().selector.output_shape == (40, 1, 1)


def test_saved_in_a_folder(tmp_path: Path) -> None:
    _, selection = selected("phases")
    selection.save(tmp_path / "out")
    images = torch.randn(2, *selection.selector.input_shape)
    packed = Selector.load(tmp_path / "out" / "selector.json").pack(images.numpy())
    run = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    with torch.no_grad():
        expected = selection.fused().eval()(images)
    np.testing.assert_allclose(run.run(None, {"input": packed})[0], expected, atol=1e-5)
    saved = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    again = apply_layout(convnet(12, 8, 8), saved["layout"])
    again.load_state_dict(saved["state_dict"])
    torch.testing.assert_close(again.eval()(torch.from_numpy(packed)), expected)
    (tmp_path / "file").touch()
    with pytest.raises(SparsightError, match="cannot be written"):
        selection.save(tmp_path / "file")


def test_readers_are_found_by_what_they_see() -> None:
    found = readers(ChannelsLast(), (3, 8, 8))
    places = np.arange(192).reshape(3, 8, 8)
    assert [reader.name for reader in found] == ["left", "right"]
    np.testing.assert_array_equal(found[0].feature, places.transpose(1, 2, 0).ravel())
    np.testing.assert_array_equal(found[1].feature, places.transpose(1, 2, 0).ravel())


class Both(nn.Module):
    """Reads its input with a convolution and with a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(2, 4, 8)
        self.flat = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> Tensor:
        both: Tensor = self.wide(x).flatten(1) + self.flat(x.flatten(1))
        return both


class Fixed(nn.Module):
    """Flattens to a size that is written in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(100, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.reshape(-1, 100))
        return logits


@pytest.mark.parametrize(
    ("model", "shape", "options", "sentence"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), None, {}, "pass input_shape"),
        (mlp(), (1, 8, 8), {}, "does not run on inputs of shape 1x8x8"),
        (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2)), (6,), {}, "reads the input as it is"),
        (nn.Sequential(nn.Linear(6, 6), nn.ReLU()), (5, 6), {}, "reads the input as it is"),
        (nn.Conv2d(4, 4, 3, groups=4), (4, 8, 8), {}, "in groups"),
        (Both(), (2, 8, 8), {}, "differ in what they see"),
        (mlp(), None, {"features": "channels"}, "reads its input as pixels"),
        (mlp(), None, {"features": "frequencies"}, "use auto, pixels, channels or lines"),
        (table(), None, {"features": "lines"}, "without a front end"),
        (
            nn.Sequential(SpaceToDepth(2), convnet(12, 8, 8)),
            None,
            {"features": "lines"},
            "without a front end",
        ),
        (nn.Sequential(SpaceToDepth(2), convnet(6, 8, 8)), None, {}, "multiple of 4"),
        (mlp(), None, {"sparsity": 1.0}, "sparsity"),
        (mlp(), None, {"input_sparsity": -0.1}, "sparsity"),
        (mlp(), None, {"input_sparsity": float("nan")}, "sparsity"),
        (mlp(), None, {"features": "lines", "input_sparsity": 1.0}, "sparsity"),
        (mlp(), None, {"granularity": "columns"}, "granularity"),
    ],
)
def test_bad_input(
    model: nn.Module, shape: tuple[int, ...] | None, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SparsightError, match=sentence):
        InputSelection(model, input_shape=shape, **{"sparsity": 0.5, **options})


def test_networks_that_cannot_be_made_smaller_say_so() -> None:
    for model, shape, sentence in (
        (Shortcut(), (6,), "Shortcut"),
        (Fixed(), (1, 10, 10), "Fixed"),
    ):
        with pytest.raises(SparsightError, match=sentence):
            select_inputs(model, trainer(shape), sparsity=0.5, input_shape=shape)
    with pytest.raises(SparsightError, match="call step after every"):
        select_inputs(mlp(), lambda model, step: None, sparsity=0.5)


def test_a_diverged_training_says_so() -> None:
    def train(model: nn.Module, step: Callable[[float], None]) -> None:
        model.train()(torch.randn(2, 1, 28, 28))
        step(1.0)
        with torch.no_grad():
            model.get_parameter("layers.0.weight")[0] = float("nan")

    with pytest.raises(SparsightError, match="not finite"):
        select_inputs(mlp(), train, sparsity=0.5)
