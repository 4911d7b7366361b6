"""The runtime: numbers against PyTorch, and one sentence for each wrong use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.nets import Session, build, taps
from sparsight.nets.runtime import _TorchEngine


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "cache"))


def _images(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def _file(path: Path, shape: list[int | str], dtype: int = TensorProto.FLOAT, inputs: int = 1) -> Path:
    """y = relu(x0 + x1 + ...), z = -x0"""
    values = [helper.make_tensor_value_info(f"x{index}", dtype, shape) for index in range(inputs)]
    outputs = [helper.make_tensor_value_info(name, dtype, shape) for name in "yz"]
    nodes = [
        helper.make_node("Sum", [value.name for value in values], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
        helper.make_node("Neg", ["x0"], ["z"]),
    ]
    graph = helper.make_graph(nodes, "g", values, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


class Outputs(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> object:
        parts = {"b": x + 1, "a": x.mean((2, 3))}
        return {"dict": parts, "tuple": tuple(parts.values()), "none": None, "mixed": (x, 1)}[self.kind]


def test_a_network_gives_what_pytorch_gives() -> None:
    model = build("convnet", widths=(4, 8))
    x = _images(5, 3, 32, 32)
    session = Session(model, "cpu")
    assert (session.device, session.input_shape, session.input_name) == ("cpu", (3, 32, 32), "input")
    assert session.output_names == ("output",)
    with torch.no_grad():
        want = model(torch.from_numpy(x)).numpy()
    got = session(x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(session.run(x)["output"], want, atol=1e-5)
    np.testing.assert_allclose(session(np.asarray(x[::-2])), want[::-2], atol=1e-5)


def test_running_does_not_change_the_network() -> None:
    model = build("convnet", widths=(4,)).train()
    model.features[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    session = Session(model, "cpu")
    first = session(_images(1, 3, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    nn.init.zeros_(model.classifier.weight)  # nor does a change of the network reach the session
    np.testing.assert_array_equal(session(_images(1, 3, 32, 32)), first)


@pytest.mark.parametrize(("kind", "names"), [("dict", ("b", "a")), ("tuple", ("output_0", "output_1"))])
def test_several_outputs_have_names(kind: str, names: tuple[str, ...]) -> None:
    session = Session(Outputs(kind), "cpu")
    x = _images(3, 1, 8, 8)
    out = session.run(x)
    assert session.output_names == tuple(out) == names
    np.testing.assert_allclose(out[names[0]], x + 1, rtol=1e-6)
    np.testing.assert_allclose(out[names[1]], x.mean((2, 3)), rtol=1e-5)
    with pytest.raises(SparsightError, match="several outputs"):
        session(x)
    np.testing.assert_allclose(Session(Outputs(kind), "cpu", outputs=[names[1]])(x), out[names[1]])
    with pytest.raises(SparsightError, match="no output called 'c'"):
        Session(Outputs(kind), "cpu", outputs=["c"])


@pytest.mark.parametrize("kind", ["none", "mixed"])
def test_outputs_that_are_no_tensors_are_refused(kind: str) -> None:
    with pytest.raises(SparsightError, match="must give a tensor"):
        Session(Outputs(kind), "cpu")


def test_tapped_networks_run_up_to_the_last_tap() -> None:
    model = build("mobilenet_v2", input_shape=(3, 32, 32), num_classes=10)
    tapped = taps(model, ["features.4", "features.1.conv.0", "features.0"])
    session = Session(tapped, "cpu")
    x = _images(2, 3, 32, 32)
    out = session.run(x)
    with torch.no_grad():
        want = tapped(torch.from_numpy(x))
    assert tuple(out) == tuple(want) == tapped.names
    for name, array in out.items():
        np.testing.assert_allclose(array, want[name].numpy(), rtol=1e-4, atol=1e-5)


def test_two_taps_on_one_tensor_and_numbered_taps() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True)), nn.Flatten()).eval()
    out = Session(taps(model, ["0", "0.1", "0.0"]), "cpu", input_shape=(1, 6, 6)).run(_images(2, 1, 6, 6))
    assert list(out) == ["0", "0.1", "0.0"]
    np.testing.assert_array_equal(out["0"], out["0.1"])
    np.testing.assert_array_equal(out["0"], np.maximum(out["0.0"], 0))
    assert (out["0.0"] < 0).any()  # so that the line above can tell a ReLU in place from none


def test_other_sizes_if_asked_for() -> None:
    tapped = taps(build("vgg16_bn", input_shape=(3, 32, 32)), ["features.5", "features.12"])
    session = Session(tapped, "cpu", dynamic_size=True)
    for shape in ((1, 3, 32, 32), (2, 3, 40, 52), (1, 3, 57, 33)):
        x = _images(*shape)
        with torch.no_grad():
            want = tapped(torch.from_numpy(x))
        for name, array in session.run(x).items():
            np.testing.assert_allclose(array, want[name].numpy(), rtol=1e-4, atol=1e-4)
    with pytest.raises(SparsightError, match=r"\(N, 3, any, any\)"):
        session.run(_images(1, 1, 32, 32))


def test_a_size_that_the_network_cannot_take_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(nn.Conv2d(3, 2, 3), "cpu", input_shape=(3, 8, 8), dynamic_size=True)
    with pytest.raises(SparsightError, match="fails on input of shape"):
        session(_images(1, 3, 2, 2))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [["batch", 2, 4, 6], [1, 2, 4, 6]])
def test_files_run_batches_of_any_size(tmp_path: Path, shape: list[int | str]) -> None:
    session = Session(_file(tmp_path / "m.onnx", shape))
    assert (session.device, session.input_shape, session.input_name) == ("cpu", (2, 4, 6), "x0")
    for count in (1, 3):
        x = _images(count, 2, 4, 6) - np.float32(0.5)
        out = session.run(x)
        assert list(out) == ["y", "z"]
        np.testing.assert_array_equal(out["y"], np.maximum(x, 0))
        np.testing.assert_array_equal(out["z"], -x)


def test_files_that_fix_a_batch_or_leave_the_size_free(tmp_path: Path) -> None:
    session = Session(str(_file(tmp_path / "two.onnx", [2, 1, 4, 4])))
    assert len(session.run(_images(2, 1, 4, 4))["y"]) == 2
    with pytest.raises(SparsightError, match="batches of 2"):
        session.run(_images(3, 1, 4, 4))
    free = _file(tmp_path / "free.onnx", ["n", 3, "h", "w"])
    with pytest.raises(SparsightError, match="give an input_shape"):
        Session(free)
    assert Session(free, input_shape=(3, 5, 7)).run(_images(1, 3, 5, 7))["y"].shape == (1, 3, 5, 7)
    with pytest.raises(SparsightError, match="takes samples of shape"):
        Session(free, input_shape=(1, 5, 7))


def test_wrong_input_is_refused() -> None:
    session = Session(build("convnet", widths=(2,)), "cpu")
    x = _images(1, 3, 32, 32)
    for bad in (x[0], x[:0], x[:, :2], x[:, :, :31], x[..., None]):
        with pytest.raises(SparsightError, match=r"shape \(N, 3, 32, 32\) with N > 0"):
            session.run(bad)
    for wrong in (x.astype(np.float64), (x * 255).astype(np.uint8), x.tolist(), torch.from_numpy(x)):
        with pytest.raises(SparsightError, match="float32, not"):
            session(wrong)  # type: ignore[arg-type]


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="no ONNX file"):
        Session(tmp_path / "none.onnx")
    for content in (b"", b"not a network", bytes(1000)):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(SparsightError, match=r"bad\.onnx is not an ONNX network"):
            Session(tmp_path / "bad.onnx")
    with pytest.raises(SparsightError, match=r"tensor\(double\)"):
        Session(_file(tmp_path / "double.onnx", [1, 3, 4, 4], TensorProto.DOUBLE))
    with pytest.raises(SparsightError, match="must take one"):
        Session(_file(tmp_path / "two.onnx", [1, 3, 4, 4], inputs=2))
    with pytest.raises(SparsightError, match="must take one"):
        Session(_file(tmp_path / "flat.onnx", [1, 3]))


def test_wrong_devices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("convnet", widths=(2,))
    with pytest.raises(SparsightError, match="did you mean 'cuda'"):
        Session(model, "cudo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Session(model).device == "cpu"
    with pytest.raises(SparsightError, match="no CUDA device"):
        Session(model, "cuda")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(SparsightError, match="onnxruntime-gpu"):
        Session(_file(tmp_path / "m.onnx", [1, 3, 4, 4]), "cuda")


def test_a_network_without_a_shape_needs_one() -> None:
    with pytest.raises(SparsightError, match="give an input_shape"):
        Session(nn.Conv2d(3, 2, 3), "cpu")
    with pytest.raises(SparsightError, match="cannot be exported"):
        Session(build("convnet", widths=(2,)), "cpu", input_shape=(4, 32, 32))


def test_an_onnx_file_on_the_cpu_needs_no_pytorch(tmp_path: Path) -> None:
    path = _file(tmp_path / "m.onnx", ["n", 3, 4, 4])
    code = (
        "import sys, numpy\n"
        "from sparsight.nets import Session\n"
        f"Session({str(path)!r}).run(numpy.zeros((2, 3, 4, 4), 'float32'))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pytorch_as_the_runtime_gives_the_same() -> None:
    """The engine that serves GPUs, held to the other one on the CPU."""
    model = taps(build("mobilenet_v2", input_shape=(3, 32, 32)), ["features.5", "features.2"]).train()
    x = _images(4, 3, 32, 32)[::-1]
    want = Session(model, "cpu").run(x)
    engine = _TorchEngine(model, (3, 32, 32), "cpu")
    assert engine.names == tuple(want)
    for got, array in zip(engine(x), want.values(), strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-4, atol=1e-5)
    assert model.training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    model = build("resnet18", input_shape=(3, 32, 32), num_classes=10)
    x = _images(3, 3, 32, 32)
    session = Session(model)
    assert session.device == "cuda"
    assert not next(model.parameters()).is_cuda
    np.testing.assert_allclose(session(x), Session(model, "cpu")(x), rtol=1e-2, atol=1e-2)
