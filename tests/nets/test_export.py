"""The cache of exports: hit, missed, damaged, shared, full."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from sparsight.nets import Session, build
from sparsight.nets.export import cached_export, content_hash, export, trim

SHAPE = (3, 16, 16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path))
    return tmp_path / "onnx"


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks exported, one entry per run of the exporter."""
    made: list[nn.Module] = []

    def counting(model: nn.Module, *args: Any, **kwargs: Any) -> bytes:
        made.append(model)
        return export(model, *args, **kwargs)

    monkeypatch.setattr("sparsight.nets.export.export", counting)
    return made


def _network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("convnet", widths=(2, 3), input_shape=SHAPE)


def test_an_export_is_a_sound_file_with_a_free_batch(folder: Path) -> None:
    model = onnx.load_from_string(export(_network(), SHAPE))
    onnx.checker.check_model(model, full_check=True)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 3, 16, 16]


def test_exporting_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(_network(), SHAPE)
    assert capfd.readouterr() == ("", "")


def test_the_same_network_is_exported_once(folder: Path, exports: list[nn.Module]) -> None:
    first = cached_export(_network(), SHAPE)
    assert cached_export(_network().train(), SHAPE) == first
    assert len(exports) == 1
    assert isinstance(first, Path)
    assert first.parent == folder


def test_another_network_shape_or_option_is_exported_anew(folder: Path, exports: list[nn.Module]) -> None:
    model = _network()
    changed = _network()
    with torch.no_grad():
        changed.classifier.bias[0] += 1e-6
    statistics = _network()
    statistics.features[1].running_mean[0] += 1
    setting = _network()
    setting.features[1].eps = 1e-3
    paths = {cached_export(each, SHAPE) for each in (model, changed, statistics, setting, _network(1))}
    paths.add(cached_export(model, (3, 20, 16)))
    paths.add(cached_export(model, SHAPE, dynamic_size=True))
    assert len(paths) == len(exports) == 7


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign"])
def test_a_damaged_export_is_made_again(folder: Path, exports: list[nn.Module], damage: str) -> None:
    path = cached_export(_network(), SHAPE)
    assert isinstance(path, Path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(
        {"empty": b"", "truncated": whole[:-7], "flipped": bytes(flipped), "foreign": b"hello"}[damage]
    )
    x = np.random.default_rng(0).random((2, *SHAPE), dtype=np.float32)
    got = Session(_network(), "cpu")(x)
    assert len(exports) == 2
    with torch.no_grad():
        np.testing.assert_allclose(got, _network()(torch.from_numpy(x)).numpy(), atol=1e-5)
    assert [file.read_bytes() == whole for file in folder.glob("*.onnx")] == [True]


def test_without_room_for_a_cache_it_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: list[nn.Module]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "file"))
    x = np.zeros((1, *SHAPE), np.float32)
    assert Session(_network(), "cpu")(x).shape == (1, 10)
    assert isinstance(cached_export(_network(), SHAPE), bytes)


def test_processes_may_export_one_network_at_once(folder: Path) -> None:
    code = (
        "import torch, numpy\n"
        "from sparsight.nets import Session, build\n"
        "torch.manual_seed(0)\n"
        "torch.set_num_threads(1)\n"
        "model = build('convnet', widths=(2, 3), input_shape=(3, 16, 16))\n"
        "print(Session(model, 'cpu')(numpy.ones((1, 3, 16, 16), 'float32')).tolist())\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers[0] == answers[1]
    assert all(path.suffix == ".onnx" and not path.name.startswith(".") for path in folder.iterdir())


def test_the_hash_holds_what_is_computed_and_nothing_else() -> None:
    class Scale(nn.Module):
        def __init__(self, factor: float, table: Any) -> None:
            super().__init__()
            self.factor = factor
            self.table = table
            self.anything = object()

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor + self.table

    zeros = torch.zeros(2)
    base = content_hash(Scale(2.0, zeros))
    assert content_hash(Scale(2.0, zeros.clone()).eval()) == base
    assert content_hash(Scale(3.0, zeros)) != base
    assert content_hash(Scale(2.0, zeros + 1)) != base
    assert content_hash(Scale(2.0, zeros), "salt") != base
    tables = [np.zeros(5000), np.zeros(5000)]
    tables[1][2500] = 1
    assert len({content_hash(Scale(2.0, table)) for table in tables}) == 2
    # The same parts in another order, and the same numbers in another shape.
    one, two = nn.ReLU(), nn.Tanh()
    assert content_hash(nn.Sequential(one, two)) != content_hash(nn.Sequential(two, one))
    assert content_hash(Scale(2.0, zeros.reshape(1, 2))) != base


def test_the_least_recently_used_exports_go_first(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.onnx" for name in "abcd"]
    for age, path in zip((40, 10, 30, 20), paths, strict=True):
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 - age,) * 2)
    trim(tmp_path, 250, keep=paths[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
    trim(tmp_path, 10, keep=paths[0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
