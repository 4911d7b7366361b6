"""OpenPose with its published weights: the network against its frozen graph; people in video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from people import frames, hits, truth
from torch import Tensor

from sparsight import SparsightError, assets
from sparsight.nets import build
from sparsight.nets.graphdef import Graph, read_graph
from sparsight.track import build_detector

pytestmark = [pytest.mark.real, pytest.mark.network]


@pytest.fixture
def weights() -> Path:
    try:
        return assets.path("openpose_thin")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")


def run_graph(graph: Graph, image: Tensor) -> Tensor:
    """Go through the graph's operations one after the other, as TensorFlow defines them."""
    values: dict[str, Tensor] = {"image": image}

    def same(x: Tensor, size: int, stride: int, fill: float) -> Tensor:
        total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
        return F.pad(x, (total[1] // 2, -(-total[1] // 2), total[0] // 2, -(-total[0] // 2)), value=fill)

    def constant(name: str) -> Tensor:
        return torch.from_numpy(np.array(graph.constant(name)))

    for node in graph.nodes.values():
        attributes: dict[str, Any] = dict(node.attributes)
        if node.op in ("Const", "Placeholder"):
            continue
        if node.op == "ConcatV2":
            values[node.name] = torch.cat([values[name] for name in node.inputs[:-1]], dim=1)
            continue
        x = values[node.inputs[0]]
        if node.op == "Relu":
            y = x.clamp(min=0)
        elif node.op == "BiasAdd":
            y = x + constant(node.inputs[1])[:, None, None]
        elif node.op == "MaxPool":
            y = F.max_pool2d(same(x, 2, 2, -torch.inf), 2, 2)
        else:
            kernel, stride = constant(node.inputs[1]), attributes["strides"][1]
            depthwise = node.op == "DepthwiseConv2dNative"
            kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
            groups = x.shape[1] if depthwise else 1
            y = F.conv2d(same(x, kernel.shape[2], stride, 0), kernel, stride=stride, groups=groups)
        values[node.name] = y
    return values["Openpose/concat_stage7"]


def test_the_network_is_the_graph(weights: Path) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 104) * 255
    with torch.no_grad():
        expected = run_graph(read_graph(weights), image)
        out = build("openpose_thin", weights=weights)(image)
    assert expected.std() > 0.05
    torch.testing.assert_close(
        torch.cat([out["parts"], out["fields"]], dim=1), expected, atol=1e-4, rtol=1e-4
    )


def test_people_are_found(assets: Path, weights: Path) -> None:
    """Least precision and recall at an IoU of 0.5, a little under what was measured when they were set."""
    detector = build_detector("openpose", device="cpu")
    people = truth(assets / "mot" / "TUD-Campus")
    found = correct = present = 0
    for number, image in frames(assets / "mot" / "TUD-Campus", every=10):
        detections = detector(image)
        here = people[number]
        found += len(detections)
        correct += hits(detections, here)
        present += len(here)
        assert detections.keypoints is not None
        seen = detections.keypoints[:, :, 2] > 0
        assert (seen.sum(axis=1) >= 4).all()
        heads, feet = detections.keypoints[:, 1, 1], detections.keypoints[:, [10, 13], 1].max(axis=1)
        both = seen[:, 1] & seen[:, [10, 13]].any(axis=1)
        assert (feet > heads)[both].all()
    print(f"precision {correct / found:.3f}, recall {correct / present:.3f}")
    assert correct / found > 0.8
    assert correct / present > 0.6


def test_a_batch_of_frames_is_its_frames(assets: Path, weights: Path) -> None:
    detector = build_detector("openpose", device="cpu", side=184)
    images = [image for _, image in frames(assets / "mot" / "TUD-Campus", every=40)]
    images.append(images[0][:, 100:400])
    for image, together in zip(images, detector.batch(images), strict=True):
        alone = detector(image)
        np.testing.assert_allclose(alone.xyxy, together.xyxy, atol=0.05)
        np.testing.assert_allclose(alone.score, together.score, atol=1e-3)


def test_weights_of_something_else(assets: Path, weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pb"
    other.write_bytes(weights.read_bytes()[: 1 << 20])
    with pytest.raises(SparsightError, match=r"other\.pb"):
        build_detector(f"openpose:{other}", device="cpu")
