"""Published networks, half of their filters zeroed by magnitude, shrink to what they were when masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsight import nets
from sparsight.prune import shrink
from sparsight.prune.layer import prunable_layers

pytestmark = pytest.mark.real

CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "yolo-fastest": (
        "darknet",
        {"cfg": "yolo-fastest-1.1-xl.cfg"},
        "yolo-fastest-1.1-xl/yolo-fastest-1.1-xl.weights",
    ),
    "yolox_nano": ("yolox_nano", {}, "yolox_nano.onnx"),
    "osnet_x0_25": ("osnet_x0_25", {"num_classes": 0}, "osnet_x0_25_msmt17.onnx"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_published_network_gives_what_it_gave(assets: Path, case: str) -> None:
    name, options, file = CASES[case]
    folder = assets / "weights"
    if "cfg" in options:
        options = {"cfg": (folder / file).with_name(options["cfg"])}
    model = nets.build(name, folder / file, **options)
    for layer in prunable_layers(model).values():
        weight = layer.get_parameter("weight").data
        worth = weight.flatten(1).abs().sum(1)
        weight[worth.argsort()[: len(worth) // 2]] = 0
    x = np.random.default_rng(0).random((2, *model.input_shape), np.float32)
    result = shrink(model, torch.from_numpy(x[:1]))
    assert result.parameters[1] < 0.75 * result.parameters[0]
    with torch.no_grad():
        masked, shrunk = model(torch.from_numpy(x)), result.model(torch.from_numpy(x))
    scale = float(masked.abs().max())
    assert float((masked - shrunk).abs().max()) < 1e-5 * scale
    exported = nets.Session(result.model, "cpu")(x)
    assert np.abs(exported - masked.numpy()).max() < 1e-4 * scale
