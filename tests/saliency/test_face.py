from __future__ import annotations

import numpy as np
import pytest

from sparsight.saliency.face import face_map


def test_a_face_is_a_gaussian_as_wide_as_it_is() -> None:
    xyxy = np.array([[10, 20, 31, 61], [60, 0, 71, 11]], np.float32)
    values = face_map(xyxy, np.array([0.9, 0.45], np.float32), (80, 100), 0.4)
    assert values.dtype == np.float32
    assert values[40, 20] == pytest.approx(1)
    assert values[5, 65] == pytest.approx(0.5, abs=1e-3)
    assert values[40, 20 + 9] == pytest.approx(np.exp(-0.5 * (9 / (0.4 * 21)) ** 2), rel=1e-4)
    assert values[40 + 9, 20] == pytest.approx(np.exp(-0.5 * (9 / (0.4 * 41)) ** 2), rel=1e-4)


def test_no_face_is_nothing() -> None:
    assert not face_map(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (8, 9), 0.4).any()
