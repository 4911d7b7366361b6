"""8-bit files: small, close to the network they come from, and not there at all on bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sparsight import SparsightError
from sparsight.nets import Session, build
from sparsight.nets.export import export
from sparsight.prune.profiling import profile
from sparsight.prune.quantising import quantise

SHAPE = (3, 16, 16)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _file(model: nn.Module, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(export(model, SHAPE))
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return _file(build("convnet", widths=(32, 64), input_shape=SHAPE), tmp_path)


def _batches(count: int = 3) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((4, *SHAPE), dtype=np.float32) for _ in range(count)]


def _operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_static(network: Path, tmp_path: Path, method: str) -> None:
    target = tmp_path / "out" / "small.onnx"
    result = quantise(network, target, iter(_batches()), method=method)
    assert (result.path, result.mode) == (target, "static")
    assert result.bytes_before == network.stat().st_size
    assert result.bytes_after == target.stat().st_size < 0.5 * result.bytes_before
    assert {"QuantizeLinear", "DequantizeLinear"} <= _operators(target)
    # The error is what running both files gives, and 8 bits hold about two digits.
    x = _batches()[0]
    one, other = Session(network)(x), Session(target)(x)
    expected = np.sqrt(((one - other) ** 2).sum() / (one**2).sum())
    assert result.error == {"output": pytest.approx(expected, rel=1e-4)}
    assert 0 < expected < 0.1


def test_dynamic_needs_no_data_and_leaves_convolutions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 100))
    target = tmp_path / "small.onnx"
    result = quantise(_file(model, tmp_path), target)
    assert result.mode == "dynamic"
    assert {"Conv", "MatMulInteger"} <= _operators(target)
    assert result.bytes_after < 0.3 * result.bytes_before
    assert 0 < result.error["output"] < 0.05


def test_macs_stay_and_weights_are_quarter(network: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"
    quantise(network, target, _batches(1), reduce_range=True)
    assert profile(target, SHAPE, batches=()).macs == profile(network, SHAPE, batches=()).macs > 0


def test_tensors_serve_and_any_batch_can_be_compared(network: Path, tmp_path: Path) -> None:
    batches = [torch.from_numpy(batch) for batch in _batches()]
    one = quantise(network, tmp_path / "one.onnx", batches, check=batches[1])
    two = quantise(network, tmp_path / "two.onnx", _batches())
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert one.error != two.error


def test_it_says_nothing(network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quantise(network, tmp_path / "static.onnx", _batches(1), method="percentile")
    quantise(network, tmp_path / "dynamic.onnx")
    assert capfd.readouterr() == ("", "")


def test_bad_input_is_one_sentence_and_writes_nothing(network: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "small.onnx"
    with pytest.raises(SparsightError, match="holds no batch"):
        quantise(network, target, [])
    with pytest.raises(SparsightError, match="float32 batches"):
        quantise(network, target, [np.zeros((1, *SHAPE))])  # type: ignore[list-item]
    with pytest.raises(SparsightError, match="not finite"):
        quantise(network, target, [np.full((1, *SHAPE), np.nan, np.float32)])
    with pytest.raises(SparsightError, match="takes samples of shape"):
        quantise(network, target, [np.zeros((1, 3, 8, 16), np.float32)])
    with pytest.raises(SparsightError, match="a calibration batch has shape"):
        quantise(network, target, [*_batches(1), np.zeros((1, 3, 8, 16), np.float32)])
    with pytest.raises(SparsightError, match="no calibration method called 'max'"):
        quantise(network, target, _batches(), method="max")
    with pytest.raises(SparsightError, match="there is no ONNX file"):
        quantise(tmp_path / "none.onnx", target)
    assert not list(tmp_path.glob("out/*"))
