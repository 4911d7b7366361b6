"""Exported networks of every layout, made for the test, that all see the same two people and a car."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from test_detect import CELLS, SIDE, constant_network, image, yolox_rows

from sparsight import SparsightError
from sparsight.track import build_detector

XYXY = np.array([[8, 20, 24, 44], [40, 18, 60, 40], [2, 24, 30, 40]], np.float32)  # in an input of 64 x 64
SCORE = np.array([0.9, 0.7, 0.8], np.float32)
CLASS = np.array([0, 0, 2])
NAMES = {0: "person", 1: "bicycle", 2: "car"}
ON_IMAGE = 2 * (XYXY[:2] - [0, 16, 0, 16])
"""The people in an image of 128 x 64, of which a centred letterbox shows rows 16 to 48."""


def xywh(xyxy: NDArray[np.float32] = XYXY) -> NDArray[np.float32]:
    return np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def class_scores(classes: int = 3) -> NDArray[np.float32]:
    scores = np.zeros((3, classes), np.float32)
    scores[range(3), CLASS] = SCORE
    return scores


def filled(rows: NDArray[np.float32], count: int, rest: float = 0) -> NDArray[np.float32]:
    """``rows`` among others that are nothing."""
    out = np.full((count, rows.shape[1]), rest, np.float32)
    out[7 : 7 + len(rows)] = rows
    return out


def described(path: Path, **metadata: str) -> Path:
    model = onnx.load(path)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def objects() -> NDArray[np.float32]:
    """Rows of centre, size, objectness, classes."""
    return np.concatenate([xywh(), np.full((3, 1), 0.95, np.float32), class_scores() / 0.95], axis=1)


LETTERBOXED: dict[str, dict[str, NDArray[np.float32]]] = {
    "v5": {"output0": filled(objects(), 3 * CELLS)},
    "v5 with its raw maps": {
        "output": filled(objects(), 3 * CELLS),
        "371": np.zeros((3, 8, 8, 8), np.float32),
    },
    "v6": {"outputs": filled(objects(), CELLS)},
    "v8": {"output0": filled(np.concatenate([xywh(), class_scores()], axis=1), CELLS).T},
    "v8, four levels": {"output0": filled(np.concatenate([xywh(), class_scores()], axis=1), 85).T},
    "v9": {
        name: filled(np.concatenate([xywh(), class_scores()], axis=1), CELLS).T
        for name in ("output0", "1900")
    },
    "v10": {"output0": filled(np.concatenate([XYXY, SCORE[:, None], CLASS[:, None]], axis=1), 300)},
}


@pytest.mark.parametrize("kind", LETTERBOXED)
@pytest.mark.parametrize("named", [False, True])
def test_letterboxed_networks(tmp_path: Path, kind: str, named: bool) -> None:
    path = constant_network(tmp_path / "n.onnx", LETTERBOXED[kind])
    if named:
        described(path, names=str(NAMES), imgsz="[64, 64]")
    detector = build_detector(f"onnx:{path}", device="cpu")
    picture = image(64, 128)
    found = detector(picture)
    np.testing.assert_allclose(found.xyxy, ON_IMAGE, atol=1e-4)
    np.testing.assert_allclose(found.score, SCORE[:2], atol=1e-5)
    if named:
        car = build_detector(f"onnx:{path}", classes=("car",))(picture)
        np.testing.assert_array_equal(car.class_id, [2])
    assert len(build_detector(f"onnx:{path}", classes=None)(picture)) == 3
    assert [len(one) for one in detector.batch([picture, image(30, 30)])] == [2, 2]


def test_masks_behind_the_classes(tmp_path: Path) -> None:
    rows = np.concatenate([xywh(), class_scores(), np.full((3, 32), 5, np.float32)], axis=1)
    outputs = {"output0": filled(rows, CELLS).T, "output1": np.zeros((32, 16, 16), np.float32)}
    path = described(constant_network(tmp_path / "seg.onnx", outputs), names=str(NAMES))
    np.testing.assert_allclose(build_detector(f"onnx:{path}")(image(64, 128)).xyxy, ON_IMAGE, atol=1e-4)


def test_rows_first_where_the_names_tell(tmp_path: Path) -> None:
    rows = filled(np.concatenate([xywh(), class_scores()], axis=1), CELLS)
    path = described(constant_network(tmp_path / "t.onnx", {"output0": rows}), names=str(NAMES))
    np.testing.assert_allclose(build_detector(f"onnx:{path}")(image(64, 128)).xyxy, ON_IMAGE, atol=1e-4)


def test_yolox_is_the_detector_of_that_name(tmp_path: Path) -> None:
    rows = yolox_rows((8, 4, 24, 28, 0.7, 0), (40, 10, 60, 30, 0.6, 0), (41, 10, 61, 30, 0.55, 0))
    path = constant_network(tmp_path / "n.onnx", {"output": rows})
    one, other = (build_detector(f"{name}:{path}", score=0.5)(image(64, 128)) for name in ("onnx", "yolox"))
    np.testing.assert_array_equal(one.xyxy, other.xyxy)
    np.testing.assert_array_equal(one.score, other.score)


def logits(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped = np.clip(scores, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


STRETCHED: dict[str, dict[str, NDArray[np.float32]]] = {
    "ultralytics": {"output0": filled(np.concatenate([xywh() / SIDE, class_scores()], axis=1), 300)},
    "transformers": {
        "logits": filled(logits(class_scores()), 300, rest=-9),
        "pred_boxes": filled(xywh() / SIDE, 300, rest=0.5),
    },
    "boxes and scores": {"boxes": filled(XYXY, 300), "scores": filled(class_scores(), 300)},
}


@pytest.mark.parametrize("kind", STRETCHED)
def test_rt_detr(tmp_path: Path, kind: str) -> None:
    path = constant_network(tmp_path / "n.onnx", STRETCHED[kind])
    found = build_detector(f"onnx:{path}", device="cpu")(image(64, 128))
    np.testing.assert_allclose(found.xyxy, XYXY[:2] * [2, 1, 2, 1], atol=1e-3)
    np.testing.assert_allclose(found.score, SCORE[:2], atol=1e-3)


def test_rt_detr_scales_by_a_second_input(tmp_path: Path) -> None:
    """As its authors export it: boxes come in the pixels that ``orig_target_sizes`` asks for."""
    outputs = {"boxes": filled(XYXY / SIDE, 300), "scores": filled(SCORE[:, None], 300)[:, 0]}
    outputs["labels"] = filled(CLASS[:, None], 300)[:, 0]
    model = onnx.load(constant_network(tmp_path / "n.onnx", outputs))
    graph = model.graph
    for node in graph.node:  # what was the answer becomes a step on the way to it
        if node.output[0] in ("boxes", "labels"):
            node.output[0] = f"raw_{node.output[0]}"
    graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    graph.node.extend(
        [
            helper.make_node("Cast", ["raw_labels"], ["labels"], to=TensorProto.INT64),
            helper.make_node("Concat", ["orig_target_sizes"] * 2, ["four"], axis=1),
            helper.make_node("Cast", ["four"], ["sides"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["sides", "one"], ["row"]),
            helper.make_node("Mul", ["raw_boxes", "row"], ["boxes"]),
        ]
    )
    graph.input.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, ["N", 2]))
    types = {"boxes": (TensorProto.FLOAT, ["N", 300, 4]), "scores": (TensorProto.FLOAT, ["N", 300])}
    types["labels"] = (TensorProto.INT64, ["N", 300])
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, *types[name]) for name in ("labels", "boxes", "scores")
    )
    onnx.save(model, tmp_path / "rtdetr.onnx")
    detector = build_detector(f"onnx:{tmp_path / 'rtdetr.onnx'}", device="cpu")
    for found in (detector(image(64, 128)), *detector.batch([image(64, 128)] * 2)):
        np.testing.assert_allclose(found.xyxy, XYXY[:2] * [2, 1, 2, 1], atol=1e-3)
        np.testing.assert_allclose(found.score, SCORE[:2], atol=1e-5)


def test_boxes_given_once_do_not_compete(tmp_path: Path) -> None:
    rows = np.array([[8, 4, 24, 28, 0.9, 0], [9, 4, 24, 28, 0.8, 0]], np.float32)
    once = constant_network(tmp_path / "v10.onnx", {"output0": filled(rows, 300)})
    assert len(build_detector(f"onnx:{once}")(image(64, 64))) == 2
    assert len(build_detector(f"onnx:{once}(iou=0.45)")(image(64, 64))) == 1
    v8 = np.concatenate([xywh(rows[:, :4]), rows[:, 4:5]], axis=1)
    many = constant_network(tmp_path / "v8.onnx", {"output0": filled(v8, CELLS).T})
    assert len(build_detector(f"onnx:{many}")(image(64, 64))) == 1
    assert len(build_detector(f"onnx:{many}(iou=1)")(image(64, 64))) == 2


def test_the_layout_may_be_said(tmp_path: Path) -> None:
    """Two classes: six columns could be either."""
    rows = np.concatenate([xywh() / SIDE, class_scores()[:, [0, 2]]], axis=1)
    path = constant_network(tmp_path / "n.onnx", {"output0": filled(rows, 300)})
    said, told = (build_detector(f"onnx:{path}{more}")(image(64, 64)) for more in ("(layout='detr')", ""))
    np.testing.assert_array_equal(said.xyxy, told.xyxy)
    with pytest.raises(SparsightError, match="not laid out as yolox"):
        build_detector(f"onnx:{path}", layout="yolox")
    with pytest.raises(SparsightError, match="no layout called 'yolo': did you mean 'yolox'"):
        build_detector(f"onnx:{path}", layout="yolo")


def test_a_network_that_finds_nothing_in_black(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "n.onnx", {"output0": np.zeros((300, 6))})
    assert len(build_detector(f"onnx:{path}", classes=[79])(image(64, 64))) == 0  # 80 classes: end to end


def test_free_input_sizes(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "n.onnx", {"output0": LETTERBOXED["v8"]["output0"]})
    model = onnx.load(path)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    onnx.save(model, path)

    def side(**options: Any) -> tuple[int, int, int]:
        shape = build_detector(f"onnx:{path}", layout="anchor_free", **options).session.input_shape  # type: ignore[attr-defined]
        return tuple(shape)  # type: ignore[return-value]

    assert side() == (3, 640, 640)
    assert side(input_size=320) == (3, 320, 320)
    assert side(input_size=(96, 160)) == (3, 96, 160)
    described(path, imgsz="[256, 192]")
    assert side() == (3, 256, 192)
    assert side(input_size=64) == (3, 64, 64)
    for bad in (0, -1, (1, 2, 3), "big", 1e9):
        with pytest.raises(SparsightError, match="is no size"):
            side(input_size=bad)


def test_fixed_input_sizes_stay(tmp_path: Path) -> None:
    path = described(constant_network(tmp_path / "n.onnx", LETTERBOXED["v8"]), imgsz="[640, 640]")
    assert len(build_detector(f"onnx:{path}")(image(64, 128))) == 2
    with pytest.raises(
        SparsightError, match=re.escape("takes samples of shape (3, 64, 64), not (3, 32, 32)")
    ):
        build_detector(f"onnx:{path}", input_size=32)


@pytest.mark.parametrize(
    "names",
    ["__import__('os').system('false')", "{0: 'person', 2: 'car'}", "[" * 500, "x" * 70000, "3", "\0"],
)
def test_metadata_that_is_no_list_of_names(tmp_path: Path, names: str) -> None:
    path = described(constant_network(tmp_path / "n.onnx", LETTERBOXED["v8"]), names=names, imgsz=names)
    assert len(build_detector(f"onnx:{path}")(image(64, 128))) == 2


def test_classes_by_name(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "n.onnx", LETTERBOXED["v8"])
    with pytest.raises(SparsightError, match="no class called 'car': known are person"):
        build_detector(f"onnx:{path}", classes=("car",))
    described(path, names=str(["person", "bike", "lorry"]))
    assert len(build_detector(f"onnx:{path}", classes="lorry")(image(64, 128))) == 1
    assert len(build_detector(f"onnx:{path}", classes=["lorry", 0])(image(64, 128))) == 3
    described(path, names=str({0: "head", 1: "hat", 2: "car"}))
    with pytest.raises(SparsightError, match=r"no class called 'person': .*known are car, hat, head"):
        build_detector(f"onnx:{path}")
    with pytest.raises(SparsightError, match=r"classes=\[3\]"):
        build_detector(f"onnx:{path}", classes=[3])


@pytest.mark.parametrize(
    "outputs",
    [
        {"features": np.zeros((512,))},
        {"map": np.zeros((19, 8, 8))},
        {"short": np.zeros((CELLS, 4))},
        {"wide": np.full((50, 12), 40.0)},
        {"empty": np.zeros((0, 6))},
    ],
)
def test_networks_that_detect_nothing(tmp_path: Path, outputs: dict[str, NDArray[Any]]) -> None:
    path = constant_network(tmp_path / "n.onnx", outputs)
    with pytest.raises(SparsightError, match="are not laid out as any known detector"):
        build_detector(f"onnx:{path}")
