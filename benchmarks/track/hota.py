"""Tracking quality on the MOTChallenge 2015 sequences at hand: HOTA, MOTA and IDF1 by ``trackeval``.

    SPARSIGHT_ASSETS=... python benchmarks/track/hota.py --detector det_frcnn yolox_nano --tracker sort
    SPARSIGHT_ASSETS=... python benchmarks/track/hota.py --set max_age=10 min_hits=3
    SPARSIGHT_ASSETS=... python benchmarks/track/hota.py --peer "$PEER"

A detector is the name of one of ours, run on the sequences that have frames, or of a text file of
detections (``det``, ``det_frcnn``), for the sequences that have one. What a network detects is kept in a
temporary folder, so that trackers can be tuned quickly. ``--peer`` adds roboflow's trackers of the same names
at their defaults, see ``peer.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import trackeval
from peer import PEERS, Peer
from rich.console import Console
from rich.table import Table

from sparsight import media
from sparsight.track import Detections, Tracks, boxes, build_detector, build_tracker
from sparsight.track.detect import DETECTORS
from sparsight.track.motchallenge import MotRows, read, read_info

MOT = Path(os.environ["SPARSIGHT_ASSETS"]) / "mot"
SEQUENCES = ("PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte", "ETH-Sunnyday", "KITTI-13")
CACHE = Path(tempfile.gettempdir()) / "sparsight-detections"


def frames_of(sequence: str) -> Path | None:
    """The folder of images or the video of a sequence, if it is at hand."""
    path = MOT / "vtest.avi" if sequence == "PETS09-S2L1" else MOT / sequence / "img1"
    return path if path.exists() else None


def detections_of(detector: str, options: dict[str, Any], sequence: str) -> list[Detections] | None:
    """What a detector finds in every frame of a sequence; None if it cannot be run there."""
    length = read_info(MOT / sequence).length
    kind = detector.partition(":")[0]
    if kind not in DETECTORS:
        path = MOT / sequence / detector / "det.txt"
        return list(read(path).detections(length)) if path.exists() else None
    source = frames_of(sequence)
    if source is None:
        return None
    key = "-".join([detector.replace("/", "_"), *(f"{k}={v}" for k, v in sorted(options.items())), sequence])
    cached = CACHE / f"{key}.npz"
    if not cached.exists():
        detect = build_detector(detector, **options)
        found = [detect(frame.image) for frame in media.open_video(str(source))]
        CACHE.mkdir(exist_ok=True)
        np.savez(
            cached,
            frame=np.repeat(np.arange(len(found)), [len(one) for one in found]),
            xyxy=np.concatenate([one.xyxy for one in found]),
            score=np.concatenate([one.score for one in found]),
        )
    with np.load(cached) as stored:
        everything = Detections(stored["xyxy"], stored["score"])
        bounds = np.searchsorted(stored["frame"], np.arange(length + 1))
    return [everything[first:last] for first, last in itertools.pairwise(bounds)]


def compare(truth: MotRows, result: list[Tracks]) -> dict[str, Any]:
    """The arrays that trackeval's metrics take. Ground truth marked 0 is left out, as in MOT15."""
    truth_id = np.unique(truth.id[truth.score != 0], return_inverse=True)
    track_id = np.unique(np.concatenate([tracks.id for tracks in result]), return_inverse=True)
    rows = [np.arange(part.start, part.stop) for part in truth.by_frame(len(result))]
    rows = [part[truth.score[part] != 0] for part in rows]
    return {
        "num_timesteps": len(result),
        "num_gt_ids": len(truth_id[0]),
        "num_tracker_ids": len(track_id[0]),
        "num_gt_dets": len(truth_id[1]),
        "num_tracker_dets": len(track_id[1]),
        "gt_ids": [np.searchsorted(truth_id[0], truth.id[part]) for part in rows],
        "tracker_ids": [np.searchsorted(track_id[0], tracks.id) for tracks in result],
        "similarity_scores": [
            boxes.iou(truth.xyxy[part][:, None], tracks.xyxy.astype(np.float64))
            for part, tracks in zip(rows, result, strict=True)
        ],
    }


def quiet_metrics() -> list[Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        return [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(), trackeval.metrics.Identity()]


def report(title: str, per_sequence: dict[str, dict[str, Any]]) -> None:
    """One line per sequence and one for all of them, as trackeval combines them."""
    metrics = quiet_metrics()
    scores = {name: [metric.eval_sequence(data) for metric in metrics] for name, data in per_sequence.items()}
    scores["all"] = [
        metric.combine_sequences({name: scores[name][place] for name in per_sequence})
        for place, metric in enumerate(metrics)
    ]
    table = Table("sequence", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "switches", "ids / true", title=title)
    for name, (hota, clear, identity) in scores.items():
        shown = per_sequence.values() if name == "all" else [per_sequence[name]]
        table.add_row(
            name,
            *(f"{100 * hota[key].mean():.1f}" for key in ("HOTA", "DetA", "AssA")),
            f"{100 * clear['MOTA']:.1f}",
            f"{100 * identity['IDF1']:.1f}",
            f"{clear['IDSW']:.0f}",
            f"{sum(d['num_tracker_ids'] for d in shown)} / {sum(d['num_gt_ids'] for d in shown)}",
        )
    Console().print(table)


def options(pairs: list[str]) -> dict[str, Any]:
    return {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detector", nargs="+", default=["det_frcnn"])
    parser.add_argument("--detector-set", nargs="*", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--tracker", nargs="+", default=list(PEERS))
    parser.add_argument("--set", nargs="*", default=[], metavar="PARAMETER=VALUE")
    parser.add_argument("--sequences", nargs="+", default=SEQUENCES, choices=SEQUENCES)
    parser.add_argument("--peer", type=Path, help="site-packages that hold roboflow's trackers")
    arguments = parser.parse_args()

    for detector in arguments.detector:
        found = {
            name: detections
            for name in arguments.sequences
            if (detections := detections_of(detector, options(arguments.detector_set), name)) is not None
        }
        truth = {name: read(MOT / name / "gt" / "gt.txt") for name in found}
        starts = {
            tracker: functools.partial(build_tracker, tracker, **options(arguments.set))
            for tracker in arguments.tracker
        }
        if arguments.peer:
            starts |= {
                f"roboflow {tracker}": functools.partial(Peer, arguments.peer, tracker)
                for tracker in arguments.tracker
                if tracker in PEERS
            }
        for tracker, start in starts.items():
            data = {}
            for name, detections in found.items():
                running = start()
                data[name] = compare(truth[name], [running.update(one) for one in detections])
            report(f"{detector}, {tracker}", data)


if __name__ == "__main__":
    main()
