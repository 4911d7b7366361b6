"""Detectors on networks made for the test, whose every box is known."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.nets import build
from sparsight.track import build_detector
from sparsight.track.detect import DETECTORS
from sparsight.track.detect.detector import NetworkDetector
from sparsight.track.detect.fitting import letterbox, stretch
from sparsight.track.detect.scale import common

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2


def constant_network(path: Path, outputs: dict[str, NDArray[Any]], side: int = SIDE) -> Path:
    """An ONNX file that answers ``outputs`` for every image of a batch, whatever the image."""
    nodes = [helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=1)]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    constants = [
        numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
    ]
    values = []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32)[None], f"{name}_value"))
        constants.append(numpy_helper.from_array(np.array([-1] + [1] * value.ndim), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", ["nothing", f"{name}_shape"], [f"{name}_batch"]))
        nodes.append(helper.make_node("Add", [f"{name}_batch", f"{name}_value"], [name]))
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *value.shape]))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, side, side])
    graph = helper.make_graph(nodes, "constant", [image], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def yolox_rows(
    *found: tuple[float, float, float, float, float, int], classes: int = 3
) -> NDArray[np.float32]:
    """Raw output with boxes (x1, y1, x2, y2, score, class) in input pixels, put in cells of stride 16."""
    raw = np.zeros((CELLS, 5 + classes), np.float32)
    for n, (x1, y1, x2, y2, score, class_id) in enumerate(found):
        column, row = n % 4, n // 4
        cell = 64 + n
        raw[cell, :2] = (x1 + x2) / 32 - column, (y1 + y2) / 32 - row
        raw[cell, 2:4] = np.log((x2 - x1) / 16), np.log((y2 - y1) / 16)
        raw[cell, 4], raw[cell, 5 + class_id] = 0.8, score / 0.8
    return raw


def image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


# --- YOLOX: decoding, letterbox, classes, suppression ----------------------------------------------------


def test_yolox_boxes_land_on_the_image(tmp_path: Path) -> None:
    rows = yolox_rows(
        (8, 4, 24, 28, 0.7, 0), (40, 10, 60, 30, 0.6, 0), (41, 10, 61, 30, 0.55, 0), (0, 0, 9, 9, 0.7, 1)
    )
    detector = build_detector(f"yolox:{constant_network(tmp_path / 'n.onnx', {'output': rows})}")
    found = detector(image(64, 128))  # fits at half size: input (64, 64) holds it in its upper 32 rows
    # The third box gives way to the second, the fourth is no person; what hangs out at the bottom is cut.
    np.testing.assert_allclose(found.xyxy, [[16, 8, 48, 56], [80, 20, 120, 60]], atol=1e-3)
    np.testing.assert_allclose(found.score, [0.7, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found.class_id, [0, 0])
    assert detector.device == "cpu"


def test_options(tmp_path: Path) -> None:
    rows = yolox_rows(
        (8, 4, 24, 28, 0.7, 0), (9, 4, 25, 28, 0.6, 0), (8, 5, 24, 29, 0.5, 2), (30, 30, 40, 40, 0.1, 1)
    )
    path = constant_network(tmp_path / "n.onnx", {"output": rows})

    def classes(**options: Any) -> list[int]:
        found = build_detector(f"yolox:{path}", **options)(image(SIDE, SIDE))
        assert found.class_id is not None
        return found.class_id.tolist()

    assert classes() == [0]
    assert classes(iou=1) == [0, 0]
    assert classes(iou=0.99, score=0.65) == [0]
    assert classes(classes=None, score=0.05) == [0, 2, 1]  # boxes of different classes do not compete
    assert classes(classes={1, 2}, score=0.05) == [2, 1]
    assert classes(classes=[1], score=0.2) == []


def test_boxes_are_cut_at_the_border_and_dropped_outside(tmp_path: Path) -> None:
    rows = yolox_rows((-20, -30, 30, 20, 0.9, 0), (40, 40, 90, 90, 0.8, 0), (-40, 0, -10, 20, 0.7, 0))
    detector = build_detector("yolox", network=constant_network(tmp_path / "n.onnx", {"output": rows}))
    np.testing.assert_allclose(detector(image(64, 64)).xyxy, [[0, 0, 30, 20], [40, 40, 64, 64]], atol=1e-3)


def test_numbers_gone_wild_are_no_detections(tmp_path: Path) -> None:
    rows = yolox_rows(
        (8, 4, 24, 28, 0.7, 0), (40, 10, 60, 30, 0.6, 0), (40, 40, 60, 60, 0.5, 0), (0, 0, 9, 9, 0.7, 0)
    )
    rows[64, 0], rows[65, 2], rows[66, 5] = np.nan, 1e4, np.nan
    found = build_detector("yolox", network=constant_network(tmp_path / "n.onnx", {"output": rows}))(
        image(64, 64)
    )
    np.testing.assert_allclose(found.xyxy, [[0, 0, 9, 9]], atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (480, 640), (37, 5)])
def test_images_of_any_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    whole = yolox_rows((0, 0, 64, 64, 0.9, 0))
    boxes = np.array([[0.25, 0.5, 2, 2]])
    height, width = shape
    yolox = build_detector("yolox", network=constant_network(tmp_path / "y.onnx", {"output": whole}))
    np.testing.assert_allclose(yolox(image(*shape)).xyxy, [[0, 0, width, height]], rtol=1e-5)
    path = constant_network(tmp_path / "s.onnx", {"boxes": boxes, "scores": np.array([[0.9]])})
    ssdlite = build_detector(f"ssdlite:{path}")
    np.testing.assert_allclose(
        ssdlite(image(*shape)).xyxy, [[width / 4, height / 2, width, height]], rtol=1e-5
    )


def test_a_batch_is_its_images(tmp_path: Path) -> None:
    rows = yolox_rows((8, 4, 24, 28, 0.7, 0), (40, 10, 60, 30, 0.6, 0))
    detector = build_detector("yolox", network=constant_network(tmp_path / "n.onnx", {"output": rows}))
    images = [image(64, 64), image(10, 500), image(300, 200)]
    batch = detector.batch(images)
    assert len(batch) == 3
    for one, together in zip(map(detector, images), batch, strict=True):
        np.testing.assert_array_equal(one.xyxy, together.xyxy)
        np.testing.assert_array_equal(one.score, together.score)
    assert detector.batch([]) == []


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "image.png",
    ],
)
def test_what_is_no_image(tmp_path: Path, bad: Any) -> None:
    network = constant_network(tmp_path / "n.onnx", {"output": yolox_rows()})
    with pytest.raises(SparsightError, match="a detector takes"):
        build_detector("yolox", network=network)(bad)


# --- What the networks are shown -------------------------------------------------------------------------


def test_letterbox_keeps_the_aspect_ratio() -> None:
    red = np.zeros((50, 100, 3), np.uint8)
    red[:, :, 0] = 200
    fitted, placement = letterbox(red, 64, 64, 114)
    np.testing.assert_array_equal(fitted[:32], np.broadcast_to([200, 0, 0], (32, 64, 3)))
    np.testing.assert_array_equal(fitted[32:], np.full((32, 64, 3), 114))
    np.testing.assert_allclose(placement.to_image(np.array([[0, 0, 64, 32]], np.float32)), [[0, 0, 100, 50]])


def test_stretch_fills_the_input() -> None:
    fitted, placement = stretch(image(50, 100), 64, 32)
    assert fitted.shape == (64, 32, 3)
    np.testing.assert_allclose(
        placement.to_image(np.array([[8, 16, 32, 64]], np.float32)), [[25, 12.5, 100, 50]]
    )


def test_each_network_sees_its_own_colours(tmp_path: Path) -> None:
    picture = np.full((32, 64, 3), (250, 100, 0), np.uint8)
    yolox = build_detector("yolox", network=constant_network(tmp_path / "y.onnx", {"output": yolox_rows()}))
    assert isinstance(yolox, NetworkDetector)
    x, _ = yolox.prepare(picture, 64, 64)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[:, :32].reshape(3, -1).mean(1), [0, 100, 250])  # BGR
    np.testing.assert_array_equal(x[:, 32:], np.full((3, 32, 64), 114))
    path = constant_network(tmp_path / "s.onnx", {"boxes": np.zeros((1, 4)), "scores": np.zeros((1, 1))})
    ssdlite = build_detector("ssdlite", network=path)
    assert isinstance(ssdlite, NetworkDetector)
    x, _ = ssdlite.prepare(picture, 16, 16)
    np.testing.assert_allclose(x.reshape(3, -1).mean(1), np.array([250, 100, 0]) / 127.5 - 1, atol=1e-6)
    cfg, _ = darknet_files(tmp_path)
    darknet = build_detector(f"darknet:{cfg}")
    assert isinstance(darknet, NetworkDetector)
    x, _ = darknet.prepare(picture, 16, 16)
    np.testing.assert_allclose(x.reshape(3, -1).mean(1), np.array([250, 100, 0]) / 255, atol=1e-6)


@pytest.mark.parametrize("sure", [0.2, 0.5, 0.7, 0.9])
def test_a_common_scale_keeps_order_and_ends(sure: float) -> None:
    own = np.linspace(0, 1, 101).astype(np.float32)
    scores = common(own, sure)
    assert scores.dtype == np.float32
    assert (np.diff(scores) > 0).all()
    np.testing.assert_allclose(common(np.array([0, sure, 1]), sure), [0, 0.7, 1], atol=1e-6)


@pytest.mark.parametrize(("own", "kept"), [(0.29, 0), (0.31, 1)])
def test_the_least_score_of_ssdlite_is_as_before(tmp_path: Path, own: float, kept: int) -> None:
    answer = {"boxes": np.array([[0, 0, 0.5, 0.5]]), "scores": np.array([[own]])}
    path = constant_network(tmp_path / "s.onnx", answer)
    assert len(build_detector(f"ssdlite:{path}")(image(64, 64))) == kept


# --- SSDLite and Darknet ---------------------------------------------------------------------------------


def test_ssdlite_runs_any_network_of_its_kind() -> None:
    """A network in PyTorch, such as a pruned one; the expectation is computed without the detector."""
    torch.manual_seed(0)
    model = build("ssdlite_mobilenet_v2", num_classes=2, input_size=64)
    picture = image(64, 64)
    detector = build_detector("ssdlite", device="cpu", network=model, score=0, iou=1, classes=None)
    found = detector(picture)
    with torch.no_grad():
        out = model(torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1)
    xyxy = (out["boxes"][0] * 64).clamp(0, 64).numpy()
    best, class_id = out["scores"][0].max(dim=1)
    inside = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    order = np.lexsort((xyxy[inside, 0], -best.numpy()[inside]))
    assert len(found) == inside.sum()
    own = best.numpy()[inside][order]
    on_scale = np.where(own < 0.5, own * 1.4, 0.4 + own * 0.6)  # 0, 0.5 and 1 are 0, 0.7 and 1 for trackers
    np.testing.assert_allclose(found.score, on_scale, atol=1e-4)
    np.testing.assert_allclose(np.sort(found.xyxy[:, 2]), np.sort(xyxy[inside, 2]), atol=0.05)
    assert found.class_id is not None
    assert np.bincount(found.class_id).tolist() == np.bincount(class_id.numpy()[inside]).tolist()


def darknet_files(folder: Path) -> tuple[Path, Path]:
    """One cell, one anchor: whatever the image, a box in its middle, of class 0."""
    cfg, weights = folder / "one.cfg", folder / "one.weights"
    cfg.write_text(
        "[net]\nwidth=32\nheight=32\nchannels=3\n"
        "[convolutional]\nfilters=7\nsize=32\nstride=32\nactivation=linear\n"
        "[yolo]\nmask=0\nanchors=16,8\nclasses=2\n"
    )
    numbers = np.concatenate([[0, 0, 0, 0, 2, 3, -3], np.zeros(7 * 3 * 32 * 32)])
    weights.write_bytes(struct.pack("<3iQ", 0, 2, 0, 0) + numbers.astype("<f4").tobytes())
    return cfg, weights


def test_darknet_cfg_with_the_weights_beside_it(tmp_path: Path) -> None:
    cfg, weights = darknet_files(tmp_path)
    found = build_detector(f"darknet:{cfg}", device="cpu")(image(100, 200))
    np.testing.assert_allclose(found.xyxy, [[50, 37.5, 150, 62.5]], atol=1e-3)
    np.testing.assert_allclose(found.score, [1 / (1 + np.exp(-2)) / (1 + np.exp(-3))], atol=1e-5)
    weights.unlink()
    with pytest.raises(SparsightError, match=r"one\.weights do not exist: put them beside the cfg"):
        build_detector(f"darknet:{cfg}")


# --- What cannot be built --------------------------------------------------------------------------------


def test_unknown_names_and_options() -> None:
    with pytest.raises(SparsightError, match="no detector called 'sdlite': did you mean 'ssdlite'"):
        build_detector("sdlite")
    with pytest.raises(SparsightError, match=r"known are darknet, groundtruth, mot, .*ssdlite, yolox"):
        build_detector("")
    for name in DETECTORS:
        with pytest.raises(SparsightError, match="no option of the detector"):
            build_detector(name, treshold=0.5)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_files_that_do_not_exist_or_are_something_else(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "none.onnx", tmp_path, ""):
        with pytest.raises(SparsightError, match="does not exist"):
            build_detector(f"{name}:{path}")
    text = tmp_path / "text.onnx"
    text.write_text("hello\n")
    (tmp_path / "text.weights").write_bytes(b"")
    with pytest.raises(SparsightError, match=r"text\.onnx"):
        build_detector(f"{name}:{text}")


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("yolox", {"output": np.zeros((CELLS, 5))}),
        ("yolox", {"output": np.zeros((CELLS + 1, 85))}),
        ("yolox", {"output": np.zeros((CELLS, 85)), "more": np.zeros((1, 1))}),
        ("ssdlite", {"output": np.zeros((CELLS, 85))}),
        ("ssdlite", {"boxes": np.zeros((5, 4)), "scores": np.zeros((4, 1))}),
        ("ssdlite", {"boxes": np.zeros((5, 5)), "scores": np.zeros((5, 1))}),
    ],
)
def test_networks_of_another_kind(tmp_path: Path, name: str, outputs: dict[str, NDArray[Any]]) -> None:
    path = constant_network(tmp_path / "n.onnx", outputs)
    with pytest.raises(SparsightError, match=f"the network given to {name}.* has outputs of shape"):
        build_detector(f"{name}:{path}")


def test_yolox_input_sides(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "n.onnx", {"output": np.zeros((CELLS, 85))}, side=50)
    with pytest.raises(SparsightError, match="multiples of 32, not 50x50"):
        build_detector(f"yolox:{path}")


def test_darknet_without_yolo_layers(tmp_path: Path) -> None:
    class Flat(nn.Module):
        input_shape = (3, 8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    with pytest.raises(SparsightError, match=r"give one with \[yolo\] layers"):
        build_detector("darknet", device="cpu", network=Flat())


@pytest.mark.parametrize(
    "options",
    [
        {"score": 1.5},
        {"iou": -1},
        {"classes": ()},
        {"classes": [-1]},
        {"classes": [0, 3]},
        {"score": float("nan")},
    ],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any]) -> None:
    network = constant_network(tmp_path / "n.onnx", {"output": yolox_rows()})
    with pytest.raises(SparsightError, match=next(iter(options))):
        build_detector("yolox", network=network, **options)
