"""Networks from ONNX files and maps from folders: their layouts, and files that are not what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sparsight import SparsightError, media, saliency
from sparsight.saliency import metrics
from sparsight.saliency.models import accepts, predict

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def network(
    path: Path,
    *,
    channels_last: bool = False,
    size: tuple[int | str, int | str] = (24, 32),
    weights: tuple[float, float, float] = (1, 2, 4),
    tail: list[onnx.NodeProto] | None = None,
    outputs: tuple[str, ...] = ("map",),
) -> Path:
    """A network whose map is a weighted sum of its three channels."""
    shape = [1, *size, 3] if channels_last else [1, 3, *size]
    axis = 3 if channels_last else 1
    kernel = np.array(weights, np.float32).reshape((1, 1, 1, 3) if channels_last else (1, 3, 1, 1))
    nodes = [
        helper.make_node("Mul", ["image", "kernel"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["map"], keepdims=1),
        *(tail or []),
    ]
    graph = helper.make_graph(
        nodes,
        "saliency",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.ravel()),
            helper.make_tensor("axes", TensorProto.INT64, [1], [axis]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def expected(weights: tuple[float, float, float], size: tuple[int, int] = (24, 32)) -> NDArray[np.float32]:
    """The map of ``network`` on ``IMAGE``, by hand, for pixels from 0 to 1."""
    small = cv2.resize(IMAGE, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float64)
    values = small / 255 @ np.array(weights)
    return np.asarray(cv2.resize(values.astype(np.float32), (64, 48)))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(24, 32), ("height", "width")])
def test_the_layout_is_read_from_the_file(
    tmp_path: Path, channels_last: bool, size: tuple[int | str, int | str]
) -> None:
    path = network(tmp_path / "net.onnx", channels_last=channels_last, size=size)
    model = saliency.build(f"onnx:{path}", mean=0, std=1, size=(24, 32))
    result = model(IMAGE)
    assert result.map.dtype == np.float32
    np.testing.assert_allclose(result.map, expected((1, 2, 4)), atol=1e-4)


def test_a_free_size_is_a_photographs_unless_said(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", size=("height", "width"))
    assert saliency.build(f"onnx:{path}").size == (288, 384)  # type: ignore[attr-defined]
    assert saliency.build(f"onnx:{path}", size=64).size == (64, 64)  # type: ignore[attr-defined]
    fixed = network(tmp_path / "fixed.onnx")
    with pytest.raises(SparsightError, match="takes pictures of 24x32"):
        saliency.build(f"onnx:{fixed}", size=64)


def test_mean_deviation_range_and_order_of_channels(tmp_path: Path) -> None:
    seen: list[NDArray[Any]] = []
    path = network(tmp_path / "net.onnx")
    for options in (
        {},
        {"range": "byte"},
        {"mean": (1, 2, 3), "std": 2, "range": "byte"},
        {"mean": 0, "std": 1, "bgr": True},
    ):
        model = saliency.build(f"onnx:{path}", **options)
        seen.append(model._input(IMAGE)[0].transpose(1, 2, 0))  # type: ignore[attr-defined]
    small = cv2.resize(IMAGE, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float64)
    standard = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen[0], standard, atol=1e-5)
    np.testing.assert_allclose(seen[1], standard, atol=1e-4)
    np.testing.assert_allclose(seen[2], (small - [1, 2, 3]) / 2, atol=1e-4)
    np.testing.assert_allclose(seen[3], small[..., ::-1] / 255, atol=1e-5)


def test_a_log_density_becomes_a_density(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", tail=[helper.make_node("Log", ["map"], ["log"])], outputs=("log",))
    image = np.maximum(IMAGE, 1)
    plain = saliency.build(f"onnx:{network(tmp_path / 'plain.onnx')}", mean=0, std=1)(image).map
    log = saliency.build(f"onnx:{path}", mean=0, std=1, log=True)(image).map
    np.testing.assert_allclose(log, plain, atol=1e-4)


@pytest.mark.parametrize("shift", [-500.0, 500.0])
def test_a_log_density_that_floats_cannot_hold_is_scaled(tmp_path: Path, shift: float) -> None:
    log = helper.make_node("Add", ["map", "shift"], ["log"])
    number = helper.make_node("Constant", [], ["shift"], value_float=shift)
    path = network(tmp_path / "net.onnx", tail=[number, log], outputs=("log",))
    found = saliency.build(f"onnx:{path}", mean=0, std=1, log=True)(IMAGE).map
    small = cv2.resize(IMAGE, (32, 24), interpolation=cv2.INTER_AREA) / 255 @ [1, 2, 4]
    wanted = cv2.resize(np.exp(small - small.max()).astype(np.float32), (64, 48))
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("preset", ["mit", "pysaliency"])
def test_scores_of_a_network_are_those_of_its_output(tmp_path: Path, preset: str) -> None:
    model = saliency.build(f"onnx:{network(tmp_path / 'net.onnx', size=(48, 64))}", mean=-0.2, std=1)
    raw = ((IMAGE / 255 + 0.2) @ [1, 2, 4]).astype(np.float32)
    assert_same_scores(model(IMAGE).map, raw, preset)


def assert_same_scores(found: NDArray[Any], stored: NDArray[Any], preset: str) -> None:
    """All that fixations and a density allow, for two maps that should be one."""
    rng = np.random.default_rng(2)
    xy = rng.integers(0, 48, (20, 2))
    truth = {
        "xy": xy,
        "other_xy": rng.integers(0, 48, (30, 2)),
        "density": metrics.density_map(xy, (48, 64), 5.0),
        "baseline": np.ones((48, 64)) + rng.random((48, 64)),
        "preset": preset,
    }
    wanted = metrics.score_map(stored, **truth)
    assert {"kl", "sim", "log_likelihood"} < wanted.keys()
    assert metrics.score_map(found, **truth) == pytest.approx(wanted, abs=1e-4)
    # The values matter: stretched to [0, 1] the map scores otherwise.
    stretched = (stored - stored.min()) / np.ptp(stored)
    if preset == "pysaliency":
        assert abs(metrics.score_map(stretched, **truth)["sim"] - wanted["sim"]) > 1e-3
    assert abs(metrics.score_map(stretched, **truth)["kl"] - wanted["kl"]) > 1e-3


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    path = network(
        tmp_path / "net.onnx", tail=[helper.make_node("Neg", ["map"], ["other"])], outputs=("map", "other")
    )
    with pytest.raises(SparsightError, match=r"several outputs \(map, other\)"):
        saliency.build(f"onnx:{path}")
    straight, turned = (
        saliency.build(f"onnx:{path}", mean=0, std=1, output=o)(IMAGE).map for o in ("map", "other")
    )
    small = expected((1, 2, 4))
    np.testing.assert_allclose(straight, small, atol=1e-4)
    # Values below zero are lifted, before the map is stretched to the picture.
    highest = (cv2.resize(IMAGE, (32, 24), interpolation=cv2.INTER_AREA) / 255 @ [1, 2, 4]).max()
    np.testing.assert_allclose(turned, highest - small, atol=1e-4)


def test_networks_that_are_no_saliency_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="no ONNX file"):
        saliency.build(f"onnx:{tmp_path / 'none.onnx'}")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\xff\xff nonsense")
    with pytest.raises(SparsightError, match=r"bad\.onnx"):
        saliency.build(f"onnx:{tmp_path / 'bad.onnx'}")
    path = network(tmp_path / "net.onnx")
    with pytest.raises(SparsightError, match="std=0"):
        saliency.build(f"onnx:{path}", std=0)
    with pytest.raises(SparsightError, match="one number or three"):
        saliency.build(f"onnx:{path}", mean=(1, 2))
    with pytest.raises(SparsightError, match="range of pixel values"):
        saliency.build(f"onnx:{path}", range="bytes")
    wide = network(
        tmp_path / "wide.onnx",
        tail=[helper.make_node("Concat", ["map", "map"], ["two"], axis=1)],
        outputs=("two",),
    )
    with pytest.raises(SparsightError, match="not one map"):
        saliency.build(f"onnx:{wide}")(IMAGE)
    broken = network(
        tmp_path / "log.onnx", tail=[helper.make_node("Log", ["map"], ["log"])], outputs=("log",)
    )
    with pytest.raises(SparsightError, match="NaN or infinite"):
        saliency.build(f"onnx:{broken}", mean=1e3, std=1)(IMAGE)


def test_a_network_of_another_input_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "four.onnx")
    with pytest.raises(SparsightError, match="does not take one RGB picture"):
        saliency.build(f"onnx:{tmp_path / 'four.onnx'}")


# --- maps in a folder --------------------------------------------------------------------------------------


def test_maps_are_found_by_their_images_names(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((48, 64))
    np.save(tmp_path / "one.npy", values * 7)
    bytes_ = (values * 200).astype(np.uint8)
    media.write_image(tmp_path / "two.v2.png", bytes_)
    (tmp_path / "indoor").mkdir()
    np.save(tmp_path / "indoor" / "one.npy", -values)
    model = saliency.build(f"maps:{tmp_path}")
    for name in ("one", "one.jpg"):
        np.testing.assert_allclose(predict(model, IMAGE, name).map, values * 7, atol=1e-6)
    for name in ("two.v2", "two.v2.jpg"):
        np.testing.assert_allclose(predict(model, IMAGE, name).map, bytes_)
    lifted = values.max() - values
    np.testing.assert_allclose(predict(model, IMAGE, "indoor/one").map, lifted, atol=1e-6)
    for name in ("three.jpg", "outdoor/one.jpg"):
        with pytest.raises(SparsightError, match=f"no map for the image {name}"):
            predict(model, IMAGE, name)
    with pytest.raises(SparsightError, match="go by their images' names"):
        model(IMAGE)


def test_a_map_of_another_size_is_refused_or_stretched(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((12, 16), np.float32)
    np.save(tmp_path / "one.npy", values)
    with pytest.raises(SparsightError, match=r"one\.npy is 16x12 pixels, its image 64x48"):
        predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.jpg")
    wanted = cv2.resize(values, (64, 48))
    alone = predict(saliency.build(f"maps:{tmp_path}", resize=True), IMAGE, "one.jpg").map
    np.testing.assert_allclose(alone, wanted, atol=1e-5)
    model = saliency.build(f"fused:maps:{tmp_path}+maps:{tmp_path}", resize=True)
    fused = predict(model, IMAGE, "one.jpg").map
    np.testing.assert_allclose(fused, (wanted - wanted.min()) / np.ptp(wanted), atol=1e-5)


@pytest.mark.parametrize("preset", ["mit", "pysaliency"])
@pytest.mark.parametrize("kind", ["npy", "png"])
def test_scores_of_a_stored_map_are_those_of_the_array(tmp_path: Path, kind: str, preset: str) -> None:
    stored = np.random.default_rng(1).integers(60, 200, (48, 64)).astype(np.uint8)
    if kind == "png":
        media.write_image(tmp_path / "one.png", stored)
        wanted = stored.astype(np.float64)
    else:
        wanted = stored / stored.sum(dtype=np.float64)  # a density, as networks give it
        np.save(tmp_path / "one.npy", wanted)
    result = predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.jpg")
    assert_same_scores(result.map, wanted, preset)
    assert result.top == pytest.approx(wanted.max())


def test_maps_from_elsewhere_are_drawn_in_full(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((48, 64))
    for scale in (1e-4, 300.0):
        np.save(tmp_path / "one.npy", values * scale)
        result = predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.jpg")
        sheet = saliency.explain(result)
        np.save(tmp_path / "one.npy", values / values.max())
        plain = saliency.explain(predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.jpg"))
        assert np.abs(sheet.astype(int) - plain).max() <= 3
        fused = predict(saliency.build(f"fused:maps:{tmp_path}+uniform"), IMAGE, "one.jpg")
        assert fused.map.max() == fused.levels["bottom_up"].max() == fused.top == 1


def test_maps_that_predict_wrote_are_found(tmp_path: Path) -> None:
    low, high = np.full((48, 64), 50, np.uint8), np.full((48, 64), 90, np.uint8)
    media.write_image(tmp_path / "one.saliency.png", low)
    media.write_image(tmp_path / "one.overlay.png", high)
    model = saliency.build(f"maps:{tmp_path}")
    for name in ("one", "one.jpg"):
        assert (predict(model, IMAGE, name).map == 50).all()
    media.write_image(tmp_path / "one.png", high)
    assert (predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.jpg").map == 90).all()


def test_options_may_stand_behind_a_path(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", size=("height", "width"))
    model: Any = saliency.build(f"onnx:{path}(range=byte, size=(24, 32), mean=(1, 2, 3), std=2)")
    small = cv2.resize(IMAGE, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float64)
    np.testing.assert_allclose(model._input(IMAGE)[0].transpose(1, 2, 0), (small - [1, 2, 3]) / 2, atol=1e-4)
    assert accepts(f"onnx:{path}(range=byte)", "size")
    folder = tmp_path / "maps"
    folder.mkdir()
    np.save(folder / "one.npy", np.ones((4, 5)))
    assert predict(saliency.build(f"maps:{folder}(resize=True)"), IMAGE, "one").map.shape == (48, 64)
    with pytest.raises(SparsightError, match=r"option of the saliency model .* called 'rezise'"):
        saliency.build(f"maps:{folder}(rezise=True)")
    with pytest.raises(SparsightError, match="options without names"):
        saliency.build(f"maps:{folder}(True)")
    with pytest.raises(SparsightError, match="is not a name"):
        saliency.build(f"maps:{folder}(resize=1+)")


def test_brackets_of_a_path_are_no_options(tmp_path: Path) -> None:
    folder = tmp_path / "maps(resize=True)"
    folder.mkdir()
    (tmp_path / "maps").mkdir()
    np.save(folder / "one.npy", np.ones((48, 64)))
    assert predict(saliency.build(f"maps:{folder}"), IMAGE, "one").map.max() == 1
    assert saliency.build(f"maps:{folder}(resize=True)").resize  # type: ignore[attr-defined]
    for name in (tmp_path / "copy (2)", tmp_path / "copy(resize=1"):
        with pytest.raises(SparsightError, match=r"there is no folder .*copy"):
            saliency.build(f"maps:{name}")


def test_the_exact_map_goes_before_the_picture_of_it(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.eye(48, 64))
    media.write_image(tmp_path / "one.png", np.zeros((48, 64), np.uint8))
    assert predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.png").map.max() == 1


def test_folders_and_files_that_hold_no_maps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="no folder"):
        saliency.build(f"maps:{tmp_path / 'none'}")
    with pytest.raises(SparsightError, match="holds no saliency maps"):
        saliency.build(f"maps:{tmp_path}")
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "colour.npy", np.zeros((4, 4, 3)))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    np.save(tmp_path / "nan.npy", np.full((4, 4), np.nan))
    np.save(tmp_path / "none.npy", np.zeros((0, 4)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:-20])
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "broken.png").write_text("no picture")
    model = saliency.build(f"maps:{tmp_path}")
    for name in ("pickled", "colour", "words", "nan", "none", "cut", "text", "broken"):
        with pytest.raises(SparsightError, match=name):
            predict(model, IMAGE, f"{name}.jpg")
