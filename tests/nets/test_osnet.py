"""OSNet and OSNet-AIN against torchreid, whose files they load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filling import PEERS, fill, layout, logits, matches, sample, save_like_torchreid

from sparsight import SparsightError
from sparsight.nets import build

NAMES = ("osnet_x0_25", "osnet_x1_0", "osnet_ain_x1_0")

# Names and shapes in torchreid's published files, full width.
OSNET_KEYS = {
    "conv1.conv.weight": (64, 3, 7, 7),
    "conv1.bn.running_var": (64,),
    "conv2.0.conv1.conv.weight": (64, 64, 1, 1),
    "conv2.0.conv2a.conv1.weight": (64, 64, 1, 1),
    "conv2.0.conv2d.3.conv2.weight": (64, 1, 3, 3),
    "conv2.0.gate.fc1.weight": (4, 64, 1, 1),
    "conv2.0.gate.fc2.bias": (64,),
    "conv2.0.downsample.conv.weight": (256, 64, 1, 1),
    "conv2.2.0.conv.weight": (256, 256, 1, 1),
    "conv3.1.conv3.bn.weight": (384,),
    "conv5.conv.weight": (512, 512, 1, 1),
    "fc.0.weight": (512, 512),
    "fc.1.running_mean": (512,),
    "classifier.weight": (1000, 512),
}
AIN_KEYS = {
    "conv1.bn.weight": (64,),
    "conv2.0.conv2.3.layers.3.conv2.weight": (64, 1, 3, 3),
    "conv2.0.IN.weight": (256,),
    "conv3.1.IN.bias": (384,),
    "conv4.1.conv3.bn.running_mean": (512,),
    "pool2.0.conv.weight": (256, 256, 1, 1),
    "pool3.0.bn.bias": (384,),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_outputs_are_torchreids(name: str) -> None:
    network = build(name)
    assert layout(network) == PEERS[name]["layout"]
    assert sum(parameter.numel() for parameter in network.parameters()) == PEERS[name]["parameters"]
    fill(network)
    x = sample(network.input_shape)
    with torch.no_grad():
        matches(network(x), PEERS[name]["output"])
    matches(logits(network, x), PEERS[name]["logits"])


@pytest.mark.parametrize(("name", "keys"), [("osnet_x1_0", OSNET_KEYS), ("osnet_ain_x1_0", AIN_KEYS)])
def test_distinctive_keys(name: str, keys: dict[str, tuple[int, ...]]) -> None:
    state = build(name).state_dict()
    assert {key: tuple(state[key].shape) for key in keys} == keys


def test_instance_norms_only_where_the_search_put_them() -> None:
    state = build("osnet_ain_x1_0").state_dict()
    assert "conv1.bn.running_mean" not in state  # an instance norm under a batch norm's name
    placed = sorted({key.removesuffix(".IN.weight") for key in state if key.endswith(".IN.weight")})
    assert placed == ["conv2.0", "conv2.1", "conv3.1", "conv4.0"]


def test_training_checkpoint_with_its_own_number_of_classes(tmp_path: Path) -> None:
    trained = build("osnet_x0_25", num_classes=4101)
    fill(trained)
    save_like_torchreid(trained, tmp_path / "model.pth.tar")
    network = build("osnet_x0_25", tmp_path / "model.pth.tar", num_classes=4101)
    with torch.no_grad():
        matches(network(sample(network.input_shape)), PEERS["osnet_x0_25"]["output"])


@pytest.mark.parametrize(
    ("saved", "built", "sentence"),
    [
        (4101, 1000, "the weights know 4101 classes and the OSNet 1000: build it with num_classes=4101."),
        (0, 1000, "the weights know no classes and the OSNet 1000: build it with num_classes=0."),
        (751, 0, "the weights know 751 classes and the OSNet none: build it with num_classes=751."),
    ],
)
def test_another_number_of_classes_is_said(tmp_path: Path, saved: int, built: int, sentence: str) -> None:
    path = tmp_path / "osnet.pth"
    torch.save(build("osnet_x0_25", num_classes=saved).state_dict(), path)
    with pytest.raises(SparsightError) as refusal:
        build("osnet_x0_25", path, num_classes=built)
    assert str(refusal.value) == sentence


def test_another_networks_weights_are_not_blamed_on_the_classes(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 3).state_dict(), path)
    with pytest.raises(SparsightError, match="does not fit OSNet"):
        build("osnet_x0_25", path)


def test_feature_dim_and_no_classifier() -> None:
    network = build("osnet_x0_25", num_classes=0, feature_dim=96)
    x = torch.zeros(2, *network.input_shape)
    assert network.input_shape == (3, 256, 128)
    assert network(x).shape == (2, 96)
    assert network.train()(x).shape == (2, 96)  # nothing to classify with: still the embedding


def test_negative_classes() -> None:
    with pytest.raises(SparsightError, match="num_classes is -1"):
        build("osnet_x0_25", num_classes=-1)
