"""Weights from files: what fits is loaded exactly, and nothing else gets in."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.nets import build
from sparsight.nets.export import export
from sparsight.nets.weights import find, load_into, read_safetensors


def _network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build("convnet", widths=(4, 6), num_classes=3, input_shape=(1, 12, 12))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias)
    return model


def _write_safetensors(path: Path, state: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Independent of the reader: the format's description, byte by byte."""
    names = {torch.float32: "F32", torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16"}
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, tensor in state.items():
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def _same(model: nn.Module, other: nn.Module, skip: str = "\0") -> bool:
    theirs = other.state_dict()
    return all(
        torch.equal(value, theirs[name]) for name, value in model.state_dict().items() if skip not in name
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "best": 0.5},
        lambda state: {"model": state},
        lambda state: {"model": {"state_dict": {f"module.{key}": value for key, value in state.items()}}},
        lambda state: {key: value for key, value in state.items() if "num_batches" not in key},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(tmp_path: Path, wrap: Any, zipped: bool) -> None:
    source, model = _network(1), _network(2)
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    load_into(model, tmp_path / "w.pth")
    assert _same(model, source)


def test_safetensors_files(tmp_path: Path) -> None:
    source, model = _network(1), _network(2)
    _write_safetensors(tmp_path / "w.safetensors", source.state_dict(), {"format": "pt"})
    load_into(model, str(tmp_path / "w.safetensors"))
    assert _same(model, source)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    source, model = _network(1), _network(2)
    state = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in source.state_dict().items()
    }
    _write_safetensors(tmp_path / "w.safetensors", state)
    load_into(model, tmp_path / "w.safetensors")
    assert model.features[0].weight.dtype == torch.float32
    assert torch.equal(model.features[0].weight, source.features[0].weight.bfloat16().float())


def _onnx_with(state: dict[str, Tensor], path: Path) -> None:
    """An ONNX file that keeps every name, as one exported without constant folding does."""
    tensors = [numpy_helper.from_array(value.numpy(), name) for name, value in state.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], tensors)
    graph.output[0].name = "y"
    onnx.save(helper.make_model(graph), str(path))


def test_onnx_files_with_names(tmp_path: Path) -> None:
    source, model = _network(1), _network(2)
    state = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    _onnx_with(state, tmp_path / "w.onnx")
    load_into(model, tmp_path / "w.onnx")
    assert _same(model, source)


def test_onnx_files_with_folded_batch_norms(tmp_path: Path) -> None:
    source, model = _network(1), _network(2)
    (tmp_path / "w.onnx").write_bytes(export(source, (1, 12, 12)))
    names = {tensor.name for tensor in onnx.load(str(tmp_path / "w.onnx")).graph.initializer}
    assert "features.0.weight" not in names  # else this tests nothing
    load_into(model, tmp_path / "w.onnx")
    x = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(model(x), source(x), rtol=1e-5, atol=1e-5)


def test_an_onnx_file_of_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(export(_network(), (1, 12, 12)))
    with pytest.raises(SparsightError, match="another network"):
        load_into(
            build("convnet", widths=(4, 6, 8), num_classes=3, input_shape=(1, 12, 12)), tmp_path / "w.onnx"
        )
    with pytest.raises(SparsightError, match="shape"):
        load_into(
            build("convnet", widths=(4, 7), num_classes=3, input_shape=(1, 12, 12)), tmp_path / "w.onnx"
        )


def test_an_onnx_file_with_weights_elsewhere_is_refused(tmp_path: Path) -> None:
    source = _network()
    _onnx_with({k: v for k, v in source.state_dict().items() if "num_batches" not in k}, tmp_path / "in.onnx")
    model = onnx.load(str(tmp_path / "in.onnx"))
    secret = model.graph.initializer[0]
    secret.ClearField("raw_data")
    secret.data_location = TensorProto.EXTERNAL
    entry = secret.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    (tmp_path / "out.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SparsightError, match="another file"):
        load_into(source, tmp_path / "out.onnx")


def test_misfits_are_named_and_change_nothing(tmp_path: Path) -> None:
    model, before = _network(1), _network(1)
    path = tmp_path / "w.pt"

    def refused(state: dict[str, Any], match: str) -> None:
        torch.save(state, path)
        with pytest.raises(SparsightError, match=match):
            load_into(model, path)
        assert _same(model, before)

    state = dict(_network(2).state_dict())
    refused({k: v for k, v in state.items() if k != "classifier.bias"}, r"lacks classifier\.bias")
    refused({**state, "extra": torch.zeros(1)}, "has extra, which")
    refused(
        {**state, "classifier.bias": torch.zeros(4)}, r"classifier\.bias of shape \(4,\) in place of \(3,\)"
    )
    refused({**state, "classifier.bias": torch.zeros(3, dtype=torch.int32)}, "of type torch.int32")
    refused({**state, "classifier.bias": torch.zeros(3, dtype=torch.complex64)}, "of type torch.complex64")
    refused({**state, "classifier.bias": torch.zeros(3).to_sparse()}, "other than plain numbers")
    # A tensor may claim to be enormous at no cost to the file.
    refused({**state, "classifier.bias": torch.zeros(1).expand(1 << 40)}, "of shape")
    refused({"weights": [1, 2]}, "holds no state dict")
    refused({}, "holds no state dict")


class Opens:
    """Unpickles to a call of ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path: Path, zipped: bool) -> None:
    path, witness = tmp_path / "w.pt", tmp_path / "witness"
    torch.save({"state_dict": Opens(f"touch {witness}")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SparsightError, match="safely"):
        load_into(_network(), path)
    path.write_bytes(pickle.dumps(Opens(f"touch {witness}")))
    with pytest.raises(SparsightError, match="safely"):
        load_into(_network(), path)
    assert not witness.exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsight.nets.weights.MAX_BYTES", 1 << 20)
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(8 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(SparsightError, match="unpacks to more"):
        load_into(_network(), path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".onnx"])
def test_a_huge_file_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with path.open("wb") as stream:
        stream.truncate(10 << 30)  # sparse: takes no room
    with pytest.raises(SparsightError, match="larger than"):
        load_into(_network(), path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"\0", b"no weights here", b"\x80\x02}", b"PK\x03\x04" + bytes(64)])
def test_what_is_no_weight_file_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(SparsightError):
        load_into(_network(), path)


@pytest.mark.parametrize("form", ["pt", "legacy.pt", "safetensors", "onnx"])
def test_truncated_files_are_refused(tmp_path: Path, form: str) -> None:
    source, path = _network(1), tmp_path / f"w.{form}"
    if form == "safetensors":
        _write_safetensors(path, source.state_dict())
    elif form == "onnx":
        path.write_bytes(export(source, (1, 12, 12)))
    else:
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=form == "pt")
    whole = path.read_bytes()
    for share in np.linspace(0, 0.98, 12):
        path.write_bytes(whole[: int(share * len(whole))])
        model = _network(2)
        with pytest.raises(SparsightError):
            load_into(model, path)
        assert _same(model, _network(2))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_safetensors_are_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    _write_safetensors(path, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)})
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        state = read_safetensors(path)
    except SparsightError:
        return
    assert sum(value.numel() * value.element_size() for value in state.values()) <= len(whole) * len(state)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]},
        {"dtype": "F128", "shape": [1], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": "4", "data_offsets": [0, 4]},
        {"dtype": "F32"},
        [],
        None,
    ],
)
def test_safetensors_that_point_outside_the_file_are_refused(tmp_path: Path, entry: Any) -> None:
    text = json.dumps({"a": entry}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(SparsightError, match="sound safetensors"):
        read_safetensors(path)


def test_a_network_can_rename_keys_and_read_its_own_format(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.read: Path | None = None

        def rename_keys(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
            return {f"inner.{name}": value for name, value in state.items()}

        def load_file(self, path: Path) -> None:
            self.read = path

    model, source = Own(), nn.Linear(2, 2)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_into(model, tmp_path / "w.pt")
    assert torch.equal(model.inner.weight, source.weight)
    (tmp_path / "w.weights").write_bytes(b"own")
    load_into(model, tmp_path / "w.weights")
    assert model.read == tmp_path / "w.weights"
    with pytest.raises(SparsightError, match=r"\.safetensors"):
        load_into(source, tmp_path / "w.weights")


def test_unknown_files_and_assets(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="there is no weight file"):
        find(tmp_path / "none.pt")
    with pytest.raises(SparsightError, match="there is no weight file"):
        find("folder/none.pt")
    with pytest.raises(SparsightError, match="there is no weight file"):
        find(str(tmp_path))
    with pytest.raises(SparsightError, match="did you mean 'mobilenet_v2'"):
        find("mobilenetv2")


def test_an_asset_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, model = _network(1), _network(2)
    torch.save(source.state_dict(), tmp_path / "stand-in.pth")
    monkeypatch.setattr("sparsight.assets.path", lambda name: tmp_path / "stand-in.pth")
    load_into(model, "resnet18")
    assert _same(model, source)
