"""Detections and tracks: what is accepted, what is refused, and the way to supervision and back."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import supervision

from sparsight import SparsightError
from sparsight.track import Detections, Tracks

XYXY = [[0, 0, 10, 20], [5, 5, 6, 6], [1, 2, 3, 4]]


def detections() -> Detections:
    return Detections(
        XYXY,
        [0.9, 0.5, 0.1],
        class_id=[0, 1, 2],
        keypoints=np.arange(36).reshape(3, 4, 3),
        embedding=np.eye(3),
    )


def test_fields_become_arrays_of_their_types() -> None:
    d = detections()
    assert len(d) == 3
    assert d.keypoints is not None
    assert d.embedding is not None
    assert d.class_id is not None
    types = [d.xyxy.dtype, d.score.dtype, d.class_id.dtype, d.keypoints.dtype, d.embedding.dtype]
    assert types == [np.float32, np.float32, np.int64, np.float32, np.float32]
    t = Tracks(XYXY, [1, 2, 3], [0.9, 0.5, 0.1], detection=[2, 0, 1])
    assert (t.id.dtype, t.score.dtype, t.class_id) == (np.int64, np.float32, None)


@pytest.mark.parametrize("index", [slice(1, None), np.array([False, True, True]), np.array([1, 2])])
def test_indexing_one_indexes_all(index: Any) -> None:
    d = detections()[index]
    assert len(d) == 2
    np.testing.assert_array_equal(d.xyxy, XYXY[1:])
    np.testing.assert_array_equal(d.class_id, [1, 2])
    np.testing.assert_array_equal(d.embedding, np.eye(3)[1:])
    assert d.keypoints is not None
    assert d.keypoints.shape == (2, 4, 3)
    t = Tracks(XYXY, [1, 2, 3], [0.9, 0.5, 0.1])[index]
    np.testing.assert_array_equal(t.id, [2, 3])
    assert t.detection is None


def test_empty() -> None:
    assert len(Detections.empty()) == len(Tracks.empty()) == 0
    assert Detections.empty().xyxy.shape == Tracks.empty().xyxy.shape == (0, 4)
    assert len(Detections([], [])) == 0
    assert len(detections()[:0]) == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"xyxy": [[1, 2, 3]], "score": [1]}, r"Detections.xyxy has shape \(1, 3\), but \(N, 4\)"),
        ({"xyxy": XYXY, "score": [1]}, r"Detections.score has shape \(1,\), but \(3\)"),
        ({"xyxy": XYXY, "score": [[1], [2], [3]]}, "Detections.score"),
        ({"xyxy": XYXY, "score": [1, 1, 1], "class_id": [1, 2]}, "Detections.class_id"),
        ({"xyxy": XYXY, "score": [1, 1, 1], "keypoints": np.zeros((3, 4))}, "Detections.keypoints"),
        ({"xyxy": XYXY, "score": [1, 1, 1], "embedding": np.zeros((2, 8))}, "Detections.embedding"),
    ],
)
def test_what_does_not_line_up(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SparsightError, match=says):
        Detections(**fields)


def test_supervision_both_ways() -> None:
    d = detections()
    sv = d.to_supervision()
    assert isinstance(sv, supervision.Detections)
    assert len(sv) == 3
    np.testing.assert_array_equal(sv.xyxy, d.xyxy)
    np.testing.assert_array_equal(sv.confidence, d.score)
    np.testing.assert_array_equal(sv.class_id, d.class_id)
    back = Detections.from_supervision(sv)
    np.testing.assert_array_equal(back.xyxy, d.xyxy)
    np.testing.assert_array_equal(back.score, d.score)
    np.testing.assert_array_equal(back.class_id, d.class_id)


def test_supervision_gets_a_copy() -> None:
    d = detections()
    d.to_supervision().xyxy[:] = 0
    np.testing.assert_array_equal(d.xyxy, XYXY)


def test_supervision_without_confidence_or_class() -> None:
    d = Detections.from_supervision(supervision.Detections(xyxy=np.array(XYXY, np.float64)))
    np.testing.assert_array_equal(d.score, [1, 1, 1])
    assert d.class_id is None
    assert d.to_supervision().class_id is None
    assert len(Detections.from_supervision(supervision.Detections.empty())) == 0
    assert len(Detections.empty().to_supervision()) == 0


def test_without_the_package_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "supervision":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SparsightError, match="needs the package supervision"):
        detections().to_supervision()
