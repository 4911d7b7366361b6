from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sparsight import SparsightError
from sparsight.nets import Session
from sparsight.track import embed_networks
from sparsight.track.embed import MEAN, STD, Embedder, NetworkEmbedder, build_embedder, crops
from sparsight.track.embed_networks import onnx_centre, rectified_mean

SIZE = 32, 16


def network(path: Path, *nodes: onnx.NodeProto, last: str, weights: dict[str, NDArray[np.float32]]) -> Path:
    """An ONNX file: global average pooling to (N, 3), then ``nodes``."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["mean"]),
            *nodes,
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *SIZE])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def mean_colour(path: Path) -> Path:
    return network(path, last="mean", weights={})


def normalised(path: Path, scale: list[float], shift: list[float]) -> Path:
    """Mean colour through a batch norm and a ReLU."""
    weights = {"scale": np.float32(scale), "shift": np.float32(shift)}
    weights |= {"at": np.zeros(3, np.float32), "var": np.ones(3, np.float32)}
    norm = helper.make_node("BatchNormalization", ["mean", "scale", "shift", "at", "var"], ["normed"])
    return network(path, norm, helper.make_node("Relu", ["normed"], ["out"]), last="out", weights=weights)


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


BOXES = np.array([[10, 10, 30, 60], [100.4, 50.6, 170, 130], [-9, -9, 5, 20], [0, 0, 160, 120]], np.float32)


def test_crops_are_the_boxes_resized(image: NDArray[np.uint8]) -> None:
    found = crops(image, BOXES, *SIZE)
    assert found.shape == (4, *SIZE, 3)
    expected = cv2.resize(image[51:120, 100:160], (16, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(found[1], expected)
    np.testing.assert_array_equal(found[2], cv2.resize(image[:20, :5], (16, 32)))
    assert crops(image, BOXES[:0], *SIZE).shape == (0, *SIZE, 3)


@pytest.mark.parametrize(
    "box",
    [
        [200, 10, 300, 60],
        [10, 10, 10, 60],
        [10, 10, 10.2, 60],
        [30, 10, 10, 60],
        [np.nan, 10, 30, 60],
        [0, 0, np.inf, 60],
        [-50, -50, -10, -10],
    ],
)
def test_a_box_without_a_pixel_is_an_error(image: NDArray[np.uint8], box: list[float]) -> None:
    with pytest.raises(SparsightError, match="no pixel inside the 160x120 image"):
        crops(image, np.array([BOXES[0], box], np.float32), *SIZE)


def test_vectors_are_unit_means_of_normalised_colour(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    embedder = build_embedder(f"onnx:{mean_colour(tmp_path / 'mean.onnx')}", "cpu")
    assert isinstance(embedder, Embedder)
    assert embedder.dimension == 3
    vectors = embedder(image, BOXES)
    assert vectors.dtype == np.float32
    for crop, vector in zip(crops(image, BOXES, *SIZE), vectors, strict=True):
        colour = (crop.reshape(-1, 3).mean(0) / 255 - MEAN) / STD
        np.testing.assert_allclose(vector, colour / np.linalg.norm(colour), atol=1e-5)


def test_a_box_alone_is_embedded_as_in_a_crowd(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    embedder = build_embedder(f"onnx:{mean_colour(tmp_path / 'mean.onnx')}", "cpu")
    crowd = np.tile(BOXES, (40, 1))
    alone = np.concatenate([embedder(image, crowd[i : i + 1]) for i in range(len(BOXES))])
    np.testing.assert_allclose(embedder(image, crowd), np.tile(alone, (40, 1)), atol=1e-6)
    assert embedder(image, BOXES[:0]).shape == (0, 3)


def test_names_say_which_weights(tmp_path: Path) -> None:
    one = build_embedder(f"onnx:{normalised(tmp_path / 'a.onnx', [1, 1, 1], [0, 0, 0])}", "cpu")
    other = build_embedder(f"onnx:{normalised(tmp_path / 'b.onnx', [1, 1, 1], [0, 0, 1])}", "cpu")
    again = tmp_path / "again" / "a.onnx"
    again.parent.mkdir()
    again.write_bytes((tmp_path / "a.onnx").read_bytes())
    assert one.name.startswith("a-")
    assert one.name[2:] != other.name[2:]
    assert build_embedder(f"onnx:{again}", "cpu").name == one.name


def test_the_mean_of_a_rectified_normal() -> None:
    rng = np.random.default_rng(0)
    scale, shift = np.array([1.0, -0.5, 2.0, 1e-9]), np.array([0.0, 0.7, -3.0, 0.4])
    drawn = np.maximum(rng.normal(size=(1_000_000, 4)) * np.abs(scale) + shift, 0)
    mean, square = rectified_mean(scale, shift)
    np.testing.assert_allclose(mean, drawn.mean(0), atol=5e-3)
    np.testing.assert_allclose(square, np.square(drawn).mean(0), atol=2e-2)


def test_the_common_part_is_taken_off(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    path = normalised(tmp_path / "net.onnx", [1, 2, 1], [2, 2, 3])
    centre = onnx_centre(path)
    assert centre is not None
    assert onnx_centre(mean_colour(tmp_path / "mean.onnx")) is None
    rng = np.random.default_rng(1)
    drawn = np.maximum(rng.normal(size=(100_000, 3)) * [1, 2, 1] + [2, 2, 3], 0)
    np.testing.assert_allclose(centre, drawn.mean(0) / np.sqrt(np.square(drawn).sum(1).mean()), atol=5e-3)
    plain = NetworkEmbedder(Session(path, "cpu"), "plain", 0.3)(image, BOXES)
    moved = plain - centre
    expected = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(build_embedder(f"onnx:{path}", "cpu")(image, BOXES), expected, atol=1e-5)


def test_networks_that_are_no_embedders(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    maps = network(tmp_path / "maps.onnx", helper.make_node("Relu", ["x"], ["out"]), last="out", weights={})
    with pytest.raises(SparsightError, match="one vector per crop"):
        build_embedder(f"onnx:{maps}", "cpu")
    bad = normalised(tmp_path / "bad.onnx", [1, 1, 1], [0, 0, 0])
    log = network(tmp_path / "log.onnx", helper.make_node("Log", ["mean"], ["out"]), last="out", weights={})
    with pytest.raises(SparsightError, match="not finite"):
        build_embedder(f"onnx:{log}", "cpu")(image * 0, BOXES)
    bad.write_bytes(b"no network")
    for name in (f"onnx:{bad}", f"onnx:{tmp_path / 'missing.onnx'}"):
        with pytest.raises(SparsightError):
            build_embedder(name, "cpu")


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="did you mean 'osnet_x0_25'"):
        build_embedder("osnet_x025")


def test_without_osnet_the_choice_falls_on_mobilenet_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in = NetworkEmbedder(Session(mean_colour(tmp_path / "mean.onnx"), "cpu"), "stand-in", 0.3)

    def nowhere(device: str) -> NetworkEmbedder:
        raise SparsightError("no source has it.")

    monkeypatch.setattr(embed_networks, "mobilenet_v2", lambda device: stand_in)
    monkeypatch.setattr(embed_networks, "osnet_x0_25", nowhere)
    assert build_embedder("auto", "cpu") is stand_in
    assert "OSNet's weights cannot be had" in caplog.text
    assert "MobileNetV2" in caplog.text
    caplog.clear()
    monkeypatch.setattr(embed_networks, "osnet_x0_25", lambda device: stand_in)
    assert build_embedder("auto", "cpu") is stand_in
    assert caplog.text == ""
