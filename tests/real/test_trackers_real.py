from __future__ import annotations

from pathlib import Path

import pytest

from sparsight.track import build_embedder, build_tracker, sequences

pytestmark = pytest.mark.real

MOT15 = ("PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte", "ETH-Sunnyday", "KITTI-13")


@pytest.mark.parametrize(
    ("name", "hota", "idf1"),
    [
        ("sort", 0.4204, 0.542),
        ("bytetrack", 0.4329, 0.588),
        ("ocsort", 0.4196, 0.566),
        ("botsort", 0.4444, 0.592),
    ],
)
def test_better_than_the_peer_of_the_same_name(assets: Path, name: str, hota: float, idf1: float) -> None:
    """What roboflow trackers 2.6.1 reach at their defaults on the same detections."""
    results = []
    for sequence in sequences.find(assets / "mot", MOT15):
        found, _ = sequences.detected(sequence, "det_frcnn")
        results.append((sequence, sequences.followed(sequence, found, build_tracker(name))[0]))
    values = sequences.scored(results, ["hota", "identity"], benchmark="mot15")
    assert values["hota"]["HOTA"].mean() > hota
    assert values["identity"]["IDF1"] > idf1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepsort", "botsort"])
def test_looks_beat_motion_alone(assets: Path, name: str) -> None:
    embedder = build_embedder("osnet_x0_25", device="cpu")
    plain, looked = [], []
    for sequence in sequences.find(assets / "mot", ["TUD-Campus", "TUD-Stadtmitte"]):
        found, _ = sequences.detected(sequence, "det_frcnn")
        seen, _ = sequences.looked_at(sequence, found, embedder)
        plain.append((sequence, sequences.followed(sequence, found, build_tracker(name))[0]))
        looked.append((sequence, sequences.followed(sequence, seen, build_tracker(name))[0]))
    idf1 = [sequences.scored(results, ["identity"])["identity"]["IDF1"] for results in (plain, looked)]
    assert idf1[1] > idf1[0]
