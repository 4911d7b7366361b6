"""Costs against sums done by hand, published figures, and the same network as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.nets import build
from sparsight.nets.export import export
from sparsight.prune.profiling import Latency, count_macs, interleave, profile


@pytest.fixture(autouse=True)
def _one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _file(model: nn.Module, shape: tuple[int, int, int], folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(export(model, shape))
    return path


CASES: dict[str, tuple[nn.Module, tuple[int, int, int], int]] = {
    # Outputs x numbers of one output's kernel.
    "convolution": (nn.Conv2d(3, 8, 3, 2, 1), (3, 9, 7), 8 * 5 * 4 * 3 * 9),
    "grouped": (nn.Conv2d(6, 4, (3, 1), groups=2, dilation=2), (6, 9, 7), 4 * 5 * 7 * 3 * 3),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6), (6, 5, 5), 12 * 3 * 3 * 9),
    # Inputs x numbers of one input's kernel.
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (4, 5, 5), 4 * 5 * 5 * 3 * 9),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(60, 7)), (3, 4, 5), 420),
    "linear on the last side": (nn.Linear(5, 7), (3, 4, 5), 12 * 35),
    "norms and sums": (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)), (3, 4, 4), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_macs_are_those_of_a_sum_by_hand(name: str, tmp_path: Path) -> None:
    model, shape, macs = CASES[name]
    model.eval()
    assert count_macs(model, shape) == macs
    assert count_macs(model, torch.zeros(5, *shape)) == macs
    assert profile(_file(model, shape, tmp_path), shape, batches=()).macs == macs


class Attention(nn.Module):
    """Tokens from an image's pixels, and products that no layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.vector = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        weighted = mixed @ self.vector
        return torch.einsum("bt,btc->bc", weighted, tokens)


def test_attention_and_bare_products_count() -> None:
    tokens, width = 12, 8
    projections = 4 * tokens * width * width
    attention = 2 * tokens * tokens * width
    assert count_macs(Attention(), (8, 3, 4)) == projections + attention + tokens * width + tokens * width


@pytest.mark.parametrize(
    ("name", "published", "millions"),
    # Parameters as torchvision publishes them.
    [
        ("vgg16_bn", 15.47, 138.365992),
        ("resnet18", 1.81, 11.689512),
        ("mobilenet_v2", 0.30, 3.504872),
        ("mobilenet_v1", 0.569, 4.2),
    ],
)
def test_published_figures(name: str, published: float, millions: float) -> None:
    found = profile(build(name), batches=())
    assert found.macs / 1e9 == pytest.approx(published, abs=0.006)
    assert found.parameters / 1e6 == pytest.approx(millions, rel=0.01)
    assert found.bytes == pytest.approx(4 * found.parameters, rel=0.02)
    assert found.latency == {}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convnet", {"widths": (2, 3)}),
        ("resnet18", {"input_shape": (3, 16, 16)}),
        ("mobilenet_v2", {"input_shape": (3, 16, 16)}),
        ("osnet_x0_25", {"num_classes": 3}),
        ("yolox_nano", {"input_size": 64}),
        ("ssdlite_mobilenet_v2", {"num_classes": 3}),
    ],
)
def test_a_network_and_its_file_have_the_same_macs(
    name: str, options: dict[str, object], tmp_path: Path
) -> None:
    model = build(name, **options)
    path = _file(model, model.input_shape, tmp_path)
    whole, file = profile(model, batches=()), profile(path, batches=())
    assert whole.macs == file.macs > 0
    assert file.bytes == path.stat().st_size
    # What is left of the norms in a file is their shifts.
    assert 0 < file.parameters <= whole.parameters


def test_a_file_for_batches_of_two_is_counted_by_the_sample(tmp_path: Path) -> None:
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (4, 3, 1, 1), np.ones(12))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"])],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 5, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 4, 5, 5))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    found = profile(path, batches=(2,), repeats=3)
    assert (found.macs, found.parameters) == (4 * 25 * 3, 12)


def test_latency_is_given_by_batch_with_its_spread() -> None:
    model = build("convnet", widths=(2, 3), input_shape=(3, 16, 16)).train()
    found = profile(model, batches=(1, 4), repeats=5, threads=1)
    assert (found.runtime, found.device, found.threads) == ("onnxruntime", "cpu", 1)
    assert list(found.latency) == [1, 4]
    for latency in found.latency.values():
        assert 0 < latency.low_ms <= latency.median_ms <= latency.high_ms
        assert latency.calls == 5
    assert model.training
    eager = profile(model, batches=(1,), repeats=3, runtime="torch")
    assert (eager.runtime, eager.latency[1].calls) == ("torch", 3)
    assert model.training


def test_networks_of_several_inputs_are_timed_in_pytorch() -> None:
    model = nn.Bilinear(3, 4, 5)
    found = profile(model, (torch.ones(2, 3), torch.ones(2, 4)), batches=(1, 3), repeats=3)
    assert found.runtime == "torch"
    assert set(found.latency) == {1, 3}
    with pytest.raises(SparsightError, match="use runtime torch"):
        profile(model, (torch.ones(2, 3), torch.ones(2, 4)), runtime="onnxruntime")


def test_the_spread_is_from_the_tenth_to_the_ninetieth_percentile() -> None:
    assert Latency.of(np.arange(101.0)) == Latency(50, 10, 90, 101)


def test_calls_take_turns_each_after_one_that_is_not_timed() -> None:
    order: list[str] = []
    times = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 4, 60)
    assert order == ["a", "a", "b", "b"] * 4
    assert {key: len(value) for key, value in times.items()} == {"a": 4, "b": 4}
    # Out of time, three rounds are still made.
    assert len(interleave({"a": lambda: None}, 100, 0)["a"]) == 3


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    model = build("convnet", widths=(2, 3), input_shape=(3, 16, 16))
    with pytest.raises(SparsightError, match="does not run on input of shape"):
        profile(model, (4, 16, 16))
    with pytest.raises(SparsightError, match="give example_inputs"):
        profile(nn.Linear(3, 3))
    with pytest.raises(SparsightError, match="example_inputs must be"):
        profile(model, (3, "16", 16))  # type: ignore[arg-type]
    with pytest.raises(SparsightError, match="batch of 0"):
        profile(model, batches=(1, 0))
    with pytest.raises(SparsightError, match="no runtime called"):
        profile(model, runtime="tensorrt")
    with pytest.raises(SparsightError, match="there is no ONNX file"):
        profile(tmp_path / "none.onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"hello")
    with pytest.raises(SparsightError, match="not an ONNX network"):
        profile(path)
