"""Classic models and faces on photographs: scores beside an independent run's, and faces where they are."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight import SparsightError, media, saliency
from sparsight import assets as catalogue
from sparsight.saliency import metrics
from sparsight.saliency.datasets import Dataset, load

pytestmark = pytest.mark.real


@functools.cache
def osie() -> Dataset:
    return load("osie", Path(os.environ["SPARSIGHT_ASSETS"].split(os.pathsep)[0]) / "saliency" / "osie")


@functools.cache
def scores(name: str, step: int, *, density: bool = False) -> dict[str, float]:
    """Means over every ``step``-th picture."""
    data = osie()
    assert data.fixations is not None
    model = saliency.build(name)
    rows = []
    for index in range(0, len(data), step):
        image = data.image(index)
        shape = image.shape[:2]
        values = saliency.predict(model, image, data.names[index]).map
        xy, _ = metrics.inside(data.fixations.xy(index), shape)
        others = [data.fixations.xy((index + apart) % len(data)) for apart in range(73, 700, 70)]
        elsewhere, _ = metrics.inside(np.concatenate(others), shape)
        row = {
            "auc": metrics.auc(values, xy),
            "sauc": metrics.shuffled_auc(values, xy, elsewhere),
            "nss": metrics.nss(values, xy),
        }
        if density:
            truth = metrics.density_map(xy, shape, 24)
            row |= {
                "cc": metrics.cc(values, truth),
                "sim": metrics.sim(values, truth),
                "kl": metrics.kl(values, truth),
            }
        rows.append(row)
    return {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}


def test_spectral_residual_scores_as_in_an_independent_run() -> None:
    ours = scores("spectral_residual", 5, density=True)
    independent = {"auc": 0.751, "sauc": 0.717, "nss": 1.06, "cc": 0.315, "sim": 0.384, "kl": 1.307}
    for metric, value in independent.items():
        assert ours[metric] == pytest.approx(value, rel=0.07), metric


@pytest.mark.parametrize(
    ("name", "nss"),
    [("aim", 0.9), ("gbvs", 0.9), ("itti", 0.5), ("rare2007", 0.8), ("rare2012", 1.1), ("signature", 1.0)],
)
def test_models_tell_what_is_looked_at_from_what_is_not(name: str, nss: float) -> None:
    ours = scores(name, 35)
    assert ours["nss"] > nss
    assert ours["sauc"] > scores("center_bias", 35)["sauc"] + 0.05


# Around the faces of three pictures, checked by eye.
FACES = {
    "1004.jpg": [(244, 65, 310, 148)],
    "1051.jpg": [(84, 205, 170, 318), (612, 208, 702, 324)],
    "1251.jpg": [],
}


def test_faces_are_where_they_are_seen(assets: Path) -> None:
    from sparsight.nets.mtcnn import FaceDetector

    try:
        catalogue.path("mtcnn_onet")
        detect = FaceDetector(device="cpu")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")
    for name, seen in FACES.items():
        faces = detect(media.read_image(assets / "saliency" / "osie" / "stimuli" / name))
        found = sorted(faces.xyxy.tolist())
        assert len(found) == len(seen), name
        for box, wanted in zip(found, seen, strict=True):
            assert overlap(np.array(box), np.array(wanted)) > 0.6
        for box, points in zip(faces.xyxy, faces.landmarks, strict=True):
            slack = (box[2:] - box[:2]) * 0.1  # in profile, the nose stands out
            assert (points > box[:2] - slack).all()
            assert (points < box[2:] + slack).all()
            assert points[:2, 1].max() < points[2, 1] < points[3:, 1].min()  # eyes, nose, mouth


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.maximum(sides, 0).prod())
    return shared / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def test_the_map_of_faces_peaks_on_a_face(assets: Path) -> None:
    try:
        model = saliency.build("face", device="cpu")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")
    values = model(media.read_image(assets / "saliency" / "osie" / "stimuli" / "1004.jpg")).map
    row, column = np.unravel_index(values.argmax(), values.shape)
    left, top, right, bottom = FACES["1004.jpg"][0]
    assert left < column < right
    assert top < row < bottom
    nothing = model(media.read_image(assets / "saliency" / "osie" / "stimuli" / "1251.jpg")).map
    assert not nothing.any()
