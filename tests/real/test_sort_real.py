from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from sparsight.track import build_tracker
from sparsight.track.motchallenge import TrackWriter, read, read_info

pytestmark = pytest.mark.real

SEQUENCES = ("PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte", "ETH-Sunnyday", "KITTI-13")


@pytest.fixture
def hota(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, for the one definition of how results are compared."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "track"))
    import hota

    return hota


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_reads_every_line_of_the_benchmark(assets: Path, sequence: str) -> None:
    folder = assets / "mot" / sequence
    info = read_info(folder)
    assert info.name == sequence
    for path in folder.glob("*/*.txt"):
        rows = read(path)
        assert len(rows) == len(path.read_text().splitlines())
        assert rows.frame[-1] <= info.length
        assert sum(map(len, rows.detections(info.length))) == len(rows)


def test_quality_on_real_detections(assets: Path, hota: ModuleType, tmp_path: Path) -> None:
    """With the public detections, HOTA by trackeval; roboflow's SORT reaches 42.0 and 54.2 IDF1 on these."""
    metrics = hota.quiet_metrics()
    scores = {}
    for sequence in SEQUENCES:
        tracker = build_tracker("sort")
        result = [tracker.update(found) for found in hota.detections_of("det_frcnn", {}, sequence)]
        with TrackWriter(tmp_path / f"{sequence}.txt") as writer:
            for number, tracks in enumerate(result, 1):
                writer.write(number, tracks)
        truth = read(assets / "mot" / sequence / "gt" / "gt.txt")
        data = hota.compare(truth, result)
        scores[sequence] = [metric.eval_sequence(data) for metric in metrics]
        assert len(read(tmp_path / f"{sequence}.txt")) == data["num_tracker_dets"]
    combined = [
        metric.combine_sequences({name: score[place] for name, score in scores.items()})
        for place, metric in enumerate(metrics)
    ]
    assert combined[0]["HOTA"].mean() > 0.43
    assert combined[2]["IDF1"] > 0.57
