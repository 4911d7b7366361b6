"""Any re-identification network in an ONNX file, told how its input is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sparsight import SparsightError
from sparsight.track.embed import MEAN, STD, build_embedder, crops

BOXES = np.array([[10, 10, 30, 60], [60.4, 20.6, 130, 110]], np.float32)


def mean_colour(path: Path, height: int | str, width: int | str) -> Path:
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["out"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def colours(
    image: NDArray[np.uint8], size: tuple[int, int], mean: object, std: object
) -> NDArray[np.float64]:
    found = (crops(image, BOXES, *size).mean((1, 2)) / 255 - np.asarray(mean)) / np.asarray(std)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("options", "size", "mean", "std"),
    [
        ("", (256, 128), MEAN, STD),
        (",size=32x24", (32, 24), MEAN, STD),
        (",mean=0.5,std=0.25", (256, 128), 0.5, 0.25),
        (",std=1/2/3,size=40x20,mean=0.1/0.2/-0.3", (40, 20), [0.1, 0.2, -0.3], [1, 2, 3]),
        (",mean=0,std=0.00392157", (256, 128), 0, 1 / 255),
    ],
)
def test_size_mean_and_deviation(
    tmp_path: Path, image: NDArray[np.uint8], options: str, size: tuple[int, int], mean: object, std: object
) -> None:
    path = mean_colour(tmp_path / "a,b.onnx", "h", "w")
    embedder = build_embedder(f"onnx:{path}{options}", "cpu")
    np.testing.assert_allclose(embedder(image, BOXES), colours(image, size, mean, std), atol=1e-5)


def test_a_size_that_the_file_fixes(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    path = mean_colour(tmp_path / "fixed.onnx", 64, "w")
    embedder = build_embedder(f"onnx:{path}", "cpu")
    np.testing.assert_allclose(embedder(image, BOXES), colours(image, (64, 128), MEAN, STD), atol=1e-5)
    with pytest.raises(SparsightError, match="takes samples of shape"):
        build_embedder(f"onnx:{path},size=32x32", "cpu")


def test_vectors_made_otherwise_have_another_name(tmp_path: Path) -> None:
    path = mean_colour(tmp_path / "net.onnx", "h", "w")
    names = {
        build_embedder(f"onnx:{path}{options}", "cpu").name
        for options in ("", ",size=32x24", ",size=32x25", ",mean=0.5", ",mean=0.5,std=0.5")
    }
    assert len(names) == 5
    assert build_embedder(f"onnx:{path},mean=0.5", "cpu").name in names


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("size=256", "is no size of a crop"),
        ("size=0x8", "is no size of a crop"),
        ("mean=1/2", "is not three numbers"),
        ("mean=red", "is not three numbers"),
        ("mean=nan", "is not three numbers"),
        ("std=0", "greater than zero"),
        ("std=1/-1/1", "greater than zero"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: str, told: str) -> None:
    path = mean_colour(tmp_path / "net.onnx", "h", "w")
    with pytest.raises(SparsightError, match=told):
        build_embedder(f"onnx:{path},{options}", "cpu")
