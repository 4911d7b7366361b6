"""MLFN against torchreid, whose files it loads."""

from __future__ import annotations

from pathlib import Path

import torch
from filling import PEERS, fill, layout, logits, matches, sample, save_like_torchreid

from sparsight.nets import build

# Names and shapes in torchreid's published file.
KEYS = {
    "conv1.weight": (64, 3, 7, 7),
    "conv1.bias": (64,),
    "bn1.running_var": (64,),
    "feature.0.fm_conv2.weight": (128, 4, 3, 3),
    "feature.0.fsm.1.weight": (128, 64, 1, 1),
    "feature.0.fsm.7.bias": (32,),
    "feature.3.downsample.0.weight": (512, 256, 1, 1),
    "feature.15.fm_bn3.weight": (2048,),
    "fc_x.0.weight": (1024, 2048, 1, 1),
    "fc_s.0.weight": (1024, 512, 1, 1),
    "classifier.weight": (1000, 1024),
}


def test_names_shapes_and_outputs_are_torchreids(tmp_path: Path) -> None:
    trained = build("mlfn")
    assert layout(trained) == PEERS["mlfn"]["layout"]
    assert {key: tuple(trained.state_dict()[key].shape) for key in KEYS} == KEYS
    assert sum(parameter.numel() for parameter in trained.parameters()) == PEERS["mlfn"]["parameters"]
    fill(trained)
    save_like_torchreid(trained, tmp_path / "mlfn.pth.tar")

    network = build("mlfn", tmp_path / "mlfn.pth.tar")
    x = sample(network.input_shape)
    with torch.no_grad():
        matches(network(x), PEERS["mlfn"]["output"])
    matches(logits(network, x), PEERS["mlfn"]["logits"])


def test_without_a_classifier() -> None:
    network = build("mlfn", num_classes=0, feature_dim=64)
    assert network.input_shape == (3, 256, 128)
    assert not any(name.startswith("classifier") for name in network.state_dict())
    with torch.no_grad():
        assert network(torch.zeros(1, *network.input_shape)).shape == (1, 64)
