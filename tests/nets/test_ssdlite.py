"""SSDLite: anchors, box codes and padding against plain loops; loading from a generated frozen graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from filling import fill
from frozen_graphs import GraphWriter
from numpy.typing import NDArray
from torch import nn

from sparsight import SparsightError
from sparsight.nets import Session, build
from sparsight.nets.ssdlite import SSDLite, decode_boxes, make_anchors


def test_anchors_are_those_of_the_object_detection_api() -> None:
    # Scales and ratios as they stand, computed, in the published graph's own constants.
    first = [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]
    scales = [0.35, 0.5, 0.65, 0.8, 0.95]
    squares = [0.41833, 0.57008773, 0.7211102, 0.8717798, 0.9746794]
    ratios = [1.0, 2.0, 0.5, 3.0, 0.3333]
    layers = [first, *([*((s, r) for r in ratios), (q, 1.0)] for s, q in zip(scales, squares, strict=True))]
    expected = []
    for size, shapes in zip([19, 10, 5, 3, 2, 1], layers, strict=True):
        for row in range(size):
            for column in range(size):
                for scale, ratio in shapes:
                    height, width = scale / math.sqrt(ratio), scale * math.sqrt(ratio)
                    expected.append(((row + 0.5) / size, (column + 0.5) / size, height, width))
    anchors = make_anchors([19, 10, 5, 3, 2, 1])
    assert anchors.shape == (1917, 4)
    np.testing.assert_allclose(anchors, expected, atol=1e-6)
    np.testing.assert_array_equal(SSDLite().get_buffer("anchors"), anchors)


def test_box_codes() -> None:
    anchor = torch.tensor([[0.5, 0.4, 0.2, 0.1]])  # centre y, centre x, height, width
    codes = torch.tensor([[[1.0, -2.0, 5 * math.log(2), 5 * math.log(3)]]])
    # centre y 0.5 + 0.1 * 0.2, x 0.4 - 0.2 * 0.1; height doubled, width trebled
    np.testing.assert_allclose(
        decode_boxes(codes, anchor), [[[0.38 - 0.15, 0.52 - 0.2, 0.38 + 0.15, 0.52 + 0.2]]], atol=1e-6
    )


def _tensorflow_same(x: NDArray[np.float64], kernel: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """One channel, 3x3, by TensorFlow's documented rule: output ceil(n / s), the odd padding at the end."""
    n = len(x)
    out = math.ceil(n / stride)
    total = max((out - 1) * stride + 3 - n, 0)
    padded = np.pad(x, (total // 2, total - total // 2))
    return np.array(
        [
            [
                (padded[i * stride : i * stride + 3, j * stride : j * stride + 3] * kernel).sum()
                for j in range(out)
            ]
            for i in range(out)
        ]
    )


def _strided(model: SSDLite) -> list[tuple[nn.Sequential, int]]:
    """Units of stride 2 with the size of the map they read."""
    sizes: dict[nn.Module, int] = {}
    hooks = [
        unit.register_forward_hook(lambda m, x, _: sizes.__setitem__(m, x[0].shape[-1]))
        for unit in model.modules()
        if isinstance(getattr(unit, "conv", None), nn.Conv2d) and unit.conv.stride == (2, 2)
    ]
    with torch.no_grad():
        model(torch.zeros(1, *model.input_shape))
    for hook in hooks:
        hook.remove()
    return [(unit, size) for unit, size in sizes.items() if isinstance(unit, nn.Sequential)]


@pytest.mark.parametrize("input_size", [300, 97])
def test_padding_is_tensorflows(input_size: int) -> None:
    model = SSDLite(input_size=input_size).eval()
    strided = _strided(model)
    assert len(strided) == 9
    assert {size % 2 for _, size in strided} == {0, 1}
    random = np.random.default_rng(0)
    for unit, size in strided:
        x, kernel = random.standard_normal((size, size)), random.standard_normal((3, 3))
        padded = (
            unit.pad(torch.from_numpy(x)[None, None])
            if hasattr(unit, "pad")
            else torch.from_numpy(x)[None, None]
        )
        weight = torch.from_numpy(kernel)[None, None]
        got = nn.functional.conv2d(padded, weight, stride=2, padding=unit.conv.padding)  # type: ignore[union-attr]
        np.testing.assert_allclose(got[0, 0], _tensorflow_same(x, kernel, 2), atol=1e-9)


@pytest.mark.parametrize(("num_classes", "input_size"), [(1, 300), (3, 160)])
def test_outputs(num_classes: int, input_size: int) -> None:
    model = build("ssdlite_mobilenet_v2", num_classes=num_classes, input_size=input_size)
    assert model.input_shape == (3, input_size, input_size)
    with torch.no_grad():
        out = model(torch.rand(2, 3, input_size, input_size) * 2 - 1)
    anchors = len(model.get_buffer("anchors"))
    assert out["boxes"].shape == (2, anchors, 4)
    assert out["scores"].shape == (2, anchors, num_classes)
    assert 0 <= float(out["scores"].min()) <= float(out["scores"].max()) <= 1


def test_exported_network_equals_torch() -> None:
    model = build("ssdlite_mobilenet_v2", input_size=96)
    fill(model)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 96, 96)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x))
    got = Session(model, "cpu").run(x)
    assert list(got) == ["boxes", "scores"]
    for name, array in got.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-4)


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"input_size": 8}, {"input_size": 10**6}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(SparsightError, match="ssdlite_mobilenet_v2 cannot be built"):
        build("ssdlite_mobilenet_v2", **options)


# --- From a frozen graph ---------------------------------------------------------------------------------


def _scope(key: str) -> str:
    """The published graph's name for one of our units, written down here a second time on purpose."""
    part, index, *rest = key.split(".")
    net = "FeatureExtractor/MobilenetV2"
    i = int(index)
    if part == "features":
        if i == 0:
            return f"{net}/Conv"
        if i == 18:
            return f"{net}/Conv_1"
        return f"{net}/expanded_conv{'' if i == 1 else f'_{i - 1}'}/{rest[0]}"
    if part == "extras":
        between, out = [(256, 512), (128, 256), (128, 256), (64, 128)][i]
        return (
            f"{net}/"
            + [
                f"layer_19_1_Conv2d_{i + 2}_1x1_{between}",
                f"layer_19_2_Conv2d_{i + 2}_3x3_s2_{out}_depthwise",
                f"layer_19_2_Conv2d_{i + 2}_3x3_s2_{out}",
            ][int(rest[0])]
        )
    kind = {"box_heads": "BoxEncodingPredictor", "class_heads": "ClassPredictor"}[part]
    return f"BoxPredictor_{i}/{kind}" + ("_depthwise" if rest[0] == "depthwise" else "")


def _frozen(model: SSDLite, epsilon: float = 0.001) -> GraphWriter:
    writer = GraphWriter()
    for key, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            scope = _scope(key)
            weight = module.weight.detach().numpy()
            if module.groups > 1:
                writer.constant(f"{scope}/depthwise_weights", weight.transpose(2, 3, 0, 1))
            else:
                writer.constant(f"{scope}/weights", weight.transpose(2, 3, 1, 0))
            if module.bias is not None:
                writer.constant(f"{scope}/biases", module.bias.detach().numpy())
        elif isinstance(module, nn.BatchNorm2d):
            scope = f"{_scope(key)}/BatchNorm"
            writer.constant(f"{scope}/gamma", module.weight.detach().numpy())
            writer.constant(f"{scope}/beta", module.bias.detach().numpy())
            writer.constant(f"{scope}/moving_mean", module.running_mean.numpy())
            writer.constant(f"{scope}/moving_variance", module.running_var.numpy())
            writer.node(f"{scope}/FusedBatchNorm", "FusedBatchNorm", epsilon={"f": epsilon})
    return writer


def test_weights_come_from_a_frozen_graph(tmp_path: Path) -> None:
    source = SSDLite()
    fill(source)
    (tmp_path / "graph.pb").write_bytes(bytes(_frozen(source, epsilon=0.25)))
    loaded = build("ssdlite_mobilenet_v2", weights=tmp_path / "graph.pb")
    for key, value in source.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=0, atol=0, msg=key)
    assert {m.eps for m in loaded.modules() if isinstance(m, nn.BatchNorm2d)} == {0.25}


def test_graphs_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(bytes(_frozen(SSDLite(num_classes=2))))
    model = SSDLite()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(
        SparsightError, match=r"num_classes=1: class_heads.0.predict.weight is \(9, 576, 1, 1\)"
    ):
        model.load_file(path)
    writer = GraphWriter()
    writer.constant("w", np.ones(3, np.float32))
    path.write_bytes(bytes(writer))
    with pytest.raises(SparsightError, match="no node called"):
        model.load_file(path)
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value)
