"""YOLOX against the official implementation, whose files it loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from filling import PEERS, fill, layout, matches, sample

from sparsight import SparsightError
from sparsight.nets import build

# Names and shapes in the official yolox_nano.pth and yolox_s.pth.
NANO_KEYS = {
    "backbone.backbone.stem.conv.conv.weight": (16, 12, 3, 3),
    "backbone.backbone.dark2.0.dconv.conv.weight": (16, 1, 3, 3),
    "backbone.backbone.dark2.0.pconv.conv.weight": (32, 16, 1, 1),
    "backbone.backbone.dark3.1.m.2.conv2.pconv.bn.running_mean": (32,),
    "backbone.backbone.dark5.1.conv2.conv.weight": (256, 512, 1, 1),
    "backbone.lateral_conv0.conv.weight": (128, 256, 1, 1),
    "backbone.C3_p4.conv3.bn.weight": (128,),
    "backbone.bu_conv1.dconv.conv.weight": (128, 1, 3, 3),
    "head.stems.2.conv.weight": (64, 256, 1, 1),
    "head.cls_convs.0.1.pconv.conv.weight": (64, 64, 1, 1),
    "head.cls_preds.0.weight": (80, 64, 1, 1),
    "head.reg_preds.1.bias": (4,),
    "head.obj_preds.2.weight": (1, 64, 1, 1),
}
S_KEYS = {
    "backbone.backbone.stem.conv.conv.weight": (32, 12, 3, 3),
    "backbone.backbone.dark2.0.conv.weight": (64, 32, 3, 3),
    "backbone.backbone.dark4.1.m.2.conv2.conv.weight": (128, 128, 3, 3),
    "backbone.bu_conv2.conv.weight": (128, 128, 3, 3),
    "backbone.C3_n4.conv1.conv.weight": (256, 512, 1, 1),
    "head.reg_convs.2.1.conv.weight": (128, 128, 3, 3),
}


@pytest.mark.parametrize("name", ["yolox_nano", "yolox_tiny", "yolox_s"])
def test_names_shapes_and_outputs_are_the_official_ones(name: str, tmp_path: Path) -> None:
    trained = build(name)
    assert layout(trained) == PEERS[name]["layout"]
    assert sum(parameter.numel() for parameter in trained.parameters()) == PEERS[name]["parameters"]
    fill(trained)
    # The official checkpoints hold the state under "model", beside the optimiser's.
    torch.save({"model": trained.state_dict(), "optimizer": {}, "start_epoch": 300}, tmp_path / "yolox.pth")

    network = build(name, tmp_path / "yolox.pth")
    with torch.no_grad():
        matches(network(sample(network.input_shape)), PEERS[name]["output"])


@pytest.mark.parametrize(("name", "keys"), [("yolox_nano", NANO_KEYS), ("yolox_s", S_KEYS)])
def test_distinctive_keys(name: str, keys: dict[str, tuple[int, ...]]) -> None:
    state = build(name).state_dict()
    assert {key: tuple(state[key].shape) for key in keys} == keys


def test_cells_lie_stride_by_stride_and_row_by_row() -> None:
    """A cell's box moves with the picture, by the place that the documented order gives it."""
    network = build("yolox_nano", num_classes=3, input_size=256)
    fill(network)
    spot = torch.full((1, 3, 256, 256), 114.0)
    spot[:, :, 96:112, 160:176] = 255.0  # row 6, column 10 at stride 16
    with torch.no_grad():
        change = (network(spot) - network(torch.full_like(spot, 114.0))).abs().sum(dim=2)[0]
    fine, middle, coarse = 32 * 32, 16 * 16, 8 * 8
    assert len(change) == fine + middle + coarse
    row, column = np.unravel_index(int(change[fine : fine + middle].argmax()), (16, 16))
    assert abs(int(row) - 6) <= 1
    assert abs(int(column) - 10) <= 1


def test_input_size_sets_the_shape_and_any_multiple_of_32_runs() -> None:
    network = build("yolox_nano", num_classes=1, input_size=64)
    assert network.input_shape == (3, 64, 64)
    with torch.no_grad():
        scores = network(torch.zeros(2, 3, 96, 160))[..., 4:]
    assert scores.shape == (2, 12 * 20 + 6 * 10 + 3 * 5, 2)
    assert 0 <= scores.min() <= scores.max() <= 1


@pytest.mark.parametrize("options", [{"input_size": 400}, {"input_size": 0}, {"num_classes": 0}])
def test_options_that_make_no_detector(options: dict[str, int]) -> None:
    with pytest.raises(SparsightError, match=r"^(input_size|num_classes) is "):
        build("yolox_nano", **options)
