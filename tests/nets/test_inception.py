"""Inception-ResNet-v1 against facenet-pytorch, whose files it loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filling import PEERS, fill, layout, logits, matches, sample

from sparsight import SparsightError
from sparsight.nets import build

# Names and shapes in facenet-pytorch's published VGGFace2 file.
KEYS = {
    "conv2d_1a.conv.weight": (32, 3, 3, 3),
    "conv2d_4b.bn.running_mean": (256,),
    "repeat_1.0.branch0.conv.weight": (32, 256, 1, 1),
    "repeat_1.4.branch2.2.conv.weight": (32, 32, 3, 3),
    "repeat_1.0.conv2d.bias": (256,),
    "mixed_6a.branch1.2.conv.weight": (256, 192, 3, 3),
    "repeat_2.9.branch1.1.conv.weight": (128, 128, 1, 7),
    "repeat_2.9.branch1.2.conv.weight": (128, 128, 7, 1),
    "mixed_7a.branch2.2.bn.weight": (256,),
    "repeat_3.0.branch1.1.conv.weight": (192, 192, 1, 3),
    "block8.conv2d.weight": (1792, 384, 1, 1),
    "last_linear.weight": (512, 1792),
    "last_bn.running_var": (512,),
    "logits.weight": (8631, 512),
}


def test_names_shapes_and_outputs_are_facenet_pytorchs(tmp_path: Path) -> None:
    trained = build("inception_resnet_v1")
    recorded = PEERS["inception_resnet_v1"]
    assert layout(trained) == recorded["layout"]
    assert {key: tuple(trained.state_dict()[key].shape) for key in KEYS} == KEYS
    assert sum(parameter.numel() for parameter in trained.parameters()) == recorded["parameters"]
    fill(trained)
    torch.save(trained.state_dict(), tmp_path / "vggface2.pt")

    network = build("inception_resnet_v1", tmp_path / "vggface2.pt")
    x = sample(network.input_shape)
    with torch.no_grad():
        embedding = network(x)
    matches(embedding, recorded["output"])
    assert embedding.norm(dim=1).item() == pytest.approx(1, abs=1e-5)
    matches(logits(network, x), recorded["logits"])


def test_without_a_classifier_it_has_the_published_size() -> None:
    network = build("inception_resnet_v1", num_classes=0)
    assert network.input_shape == (3, 160, 160)
    assert sum(parameter.numel() for parameter in network.parameters()) == 27_910_327 - 8631 * 513


def test_the_casia_file_asks_for_its_classes(tmp_path: Path) -> None:
    network = build("inception_resnet_v1", num_classes=12)
    torch.save(network.state_dict(), tmp_path / "casia.pt")
    with pytest.raises(SparsightError, match=r"know 12 classes .* build it with num_classes=12\.$"):
        build("inception_resnet_v1", tmp_path / "casia.pt", num_classes=8)
