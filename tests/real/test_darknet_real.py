"""Published Darknet networks find people in a street."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from people import frames, hits, truth

from sparsight import SparsightError
from sparsight import assets as catalogue
from sparsight.nets import Session, build
from sparsight.track import build_detector

pytestmark = pytest.mark.real


def test_yolo_fastest_finds_the_people_of_tud_campus(assets: Path) -> None:
    folder = assets / "weights" / "yolo-fastest-1.1-xl"
    cfg = folder / "yolo-fastest-1.1-xl.cfg"
    network = build("darknet", cfg=cfg, weights=cfg.with_suffix(".weights"))
    assert network.input_shape == (3, 320, 320)
    detector = build_detector(f"darknet:{cfg}", device="cpu", score=0.4)
    people = truth(assets / "mot" / "TUD-Campus")
    found = correct = present = 0
    for number, image in frames(assets / "mot" / "TUD-Campus", every=5):
        detections = detector(image)
        found += len(detections)
        correct += hits(detections, people[number])
        present += len(people[number])
    assert correct / present > 0.7
    assert correct / found > 0.6


def test_exported_yolo_fastest_equals_torch(assets: Path) -> None:
    cfg = assets / "weights" / "yolo-fastest-1.1-xl" / "yolo-fastest-1.1-xl.cfg"
    network = build("darknet", cfg=cfg, weights=cfg.with_suffix(".weights"))
    x = np.random.default_rng(0).random((2, 3, 320, 320), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    got = Session(network, "cpu")(x)
    np.testing.assert_allclose(got[..., 4:], expected[..., 4:], atol=1e-4)
    np.testing.assert_allclose(got[..., :4], expected[..., :4], atol=1e-2)  # pixels


@pytest.mark.network
def test_yolov3_tiny_finds_people(assets: Path) -> None:
    try:
        cfg, weights = catalogue.path("yolov3_tiny.cfg"), catalogue.path("yolov3_tiny.weights")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")
    # The official cfg names the wrong anchors for its second head: the weights were trained with 1, 2, 3, and
    # with 0, 1, 2 every smaller person gets a box of half the size.
    text = cfg.read_text().replace("mask = 0,1,2", "mask = 1,2,3")
    network = build("darknet", cfg=text, weights=weights)
    detector = build_detector("darknet", device="cpu", network=network, score=0.3)
    people = truth(assets / "mot" / "TUD-Stadtmitte")
    found = correct = present = 0
    for number, image in frames(assets / "mot" / "TUD-Stadtmitte", every=30):
        detections = detector(image)
        found += len(detections)
        correct += hits(detections, people[number])
        present += len(people[number])
    assert correct / present > 0.65
    assert correct / found > 0.8
