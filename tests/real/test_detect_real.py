"""Detectors by name find people in real video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from people import frames, hits, truth

from sparsight import SparsightError
from sparsight.nets import build
from sparsight.track import Detections, build_detector
from sparsight.track.detect import Detector

pytestmark = pytest.mark.real


def _build(name: str) -> Detector:
    try:
        return build_detector(name, device="cpu")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")


# Least precision and recall at an IoU of 0.5, a little under what was measured when they were set.
@pytest.mark.parametrize(
    ("name", "sequence", "every", "precision", "recall"),
    [
        pytest.param("ssdlite", "TUD-Campus", 6, 0.9, 0.7, marks=pytest.mark.network),
        pytest.param("ssdlite", "TUD-Stadtmitte", 20, 0.85, 0.7, marks=pytest.mark.network),
        pytest.param("ssdlite", "PETS09-S2L1", 50, 0.7, 0.55, marks=pytest.mark.network),
        ("yolox_nano", "TUD-Campus", 6, 0.75, 0.7),
        ("yolox_nano", "TUD-Stadtmitte", 20, 0.85, 0.75),
        ("yolox_nano", "PETS09-S2L1", 50, 0.75, 0.8),
        ("darknet", "TUD-Campus", 6, 0.7, 0.7),
        ("darknet", "TUD-Stadtmitte", 20, 0.85, 0.7),
        ("darknet", "PETS09-S2L1", 50, 0.75, 0.7),
    ],
)
def test_people_are_found(
    assets: Path, name: str, sequence: str, every: int, precision: float, recall: float
) -> None:
    detector = _build(name)
    people = truth(assets / "mot" / sequence)
    found = correct = present = 0
    for number, image in frames(assets / "mot" / sequence, every):
        detections = detector(image)
        here = people.get(number, np.zeros((0, 4), np.float32))
        found += len(detections)
        correct += hits(detections, here)
        present += len(here)
    print(f"{name} on {sequence}: precision {correct / found:.3f}, recall {correct / present:.3f}")
    assert correct / found > precision
    assert correct / present > recall


def _same(a: Detections, b: Detections) -> None:
    assert len(a) == len(b)
    np.testing.assert_allclose(a.xyxy, b.xyxy, atol=0.05)
    np.testing.assert_allclose(a.score, b.score, atol=1e-3)


@pytest.mark.parametrize(
    "name", [pytest.param("ssdlite", marks=pytest.mark.network), "yolox_nano", "darknet"]
)
def test_a_batch_of_frames_is_its_frames(assets: Path, name: str) -> None:
    detector = _build(name)
    images = [image for _, image in frames(assets / "mot" / "TUD-Campus", every=25)]
    images.append(images[0][:200, :130])
    for image, together in zip(images, detector.batch(images), strict=True):
        _same(detector(image), together)


def test_yolox_by_path_is_yolox_by_name(assets: Path) -> None:
    _, image = next(frames(assets / "mot" / "TUD-Campus", every=1))
    by_path = build_detector(f"yolox:{assets / 'weights' / 'yolox_nano.onnx'}", device="cpu")
    _same(by_path(image), build_detector("yolox", device="cpu")(image))


def test_yolox_as_any_onnx_file(assets: Path) -> None:
    """Told from its outputs alone."""
    file = assets / "weights" / "yolox_nano.onnx"
    for _, image in frames(assets / "mot" / "TUD-Campus", every=30):
        found = build_detector(f"onnx:{file}", device="cpu", score=0.5)(image)
        expected = build_detector("yolox", device="cpu", score=0.5)(image)
        np.testing.assert_array_equal(found.xyxy, expected.xyxy)
        np.testing.assert_array_equal(found.score, expected.score)
        np.testing.assert_array_equal(found.class_id, expected.class_id)


def test_yolox_in_pytorch_is_the_onnx_file(assets: Path) -> None:
    """What runs on a GPU, here on the CPU."""
    _, image = next(frames(assets / "mot" / "TUD-Campus", every=1))
    network = build("yolox_nano", weights=assets / "weights" / "yolox_nano.onnx")
    _same(build_detector("yolox", "cpu", network=network)(image), build_detector("yolox", "cpu")(image))


def test_yolox_finds_other_things_when_asked(assets: Path) -> None:
    """The parked car beside the lawn of PETS09-S2L1 (COCO's class 2)."""
    _, image = next(frames(assets / "mot" / "PETS09-S2L1", every=100))
    found = build_detector("yolox", device="cpu", classes=[2])(image)
    assert len(found) > 0
    np.testing.assert_array_equal(found.class_id, 2)
