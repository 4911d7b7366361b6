"""The published person detector gives what TensorFlow gives."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsight import SparsightError
from sparsight import assets as catalogue
from sparsight.nets import Session, build
from sparsight.track.detect.nms import nms

pytestmark = [pytest.mark.real, pytest.mark.network]

ORACLE = json.loads((Path(__file__).parent / "ssdlite_person_tf.json").read_text())["frames"]
SIDE = 300
GRAPH_IOU = 0.6  # the published graph's own suppression


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    try:
        catalogue.path("ssdlite_person")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")
    return build("ssdlite_mobilenet_v2", weights="ssdlite_person")


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("frame", sorted(ORACLE))
def test_detections_are_tensorflows(assets: Path, network: torch.nn.Module, frame: str, runtime: str) -> None:
    if not (assets / frame).is_file():
        pytest.skip(f"{frame} is not among the assets")
    expected = ORACLE[frame]
    with Image.open(assets / frame) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == expected["input_sha256"]
    x = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 127.5 - 1
    if runtime == "onnx":
        out = Session(network, "cpu").run(x)
    else:
        with torch.no_grad():
            out = {name: value.numpy() for name, value in network(torch.from_numpy(x)).items()}
    xyxy, score = out["boxes"][0] * SIDE, out["scores"][0, :, 0]
    found = np.flatnonzero(score > 0.2)
    found = found[nms(xyxy[found], score[found], threshold=GRAPH_IOU)]
    yxyx = np.array(expected["boxes_yxyx_normalised"]).reshape(-1, 4)
    assert len(found) == len(yxyx)
    np.testing.assert_allclose(score[found], expected["scores"], atol=1e-3)
    np.testing.assert_allclose(xyxy[found].clip(0, SIDE), yxyx[:, [1, 0, 3, 2]] * SIDE, atol=0.05)
