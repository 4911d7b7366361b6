"""Detections to tracks to a text file, and nothing else: what ``sparsight track run`` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sparsight.app import outputs
from sparsight.app.watch import stopping_on_signals
from sparsight.media import Image, open_video
from sparsight.track import Detections, build_detector, build_tracker
from sparsight.track.detect import detect
from sparsight.track.motchallenge import TrackWriter, read

_TEXT = ".txt"


@dataclass(frozen=True)
class Tracked:
    """What came of a run.

    Attributes:
        path: the file of tracks.
        frames: frames processed.
        tracks: how many tracks there are.
        seconds: wall-clock time, set-up left out.
        interrupted: number of the signal that ended the run early, or None.
    """

    path: Path
    frames: int
    tracks: int
    seconds: float
    interrupted: int | None


def track_source(
    source: str,
    out: Path,
    *,
    detector: str = "ssdlite",
    tracker: str = "sort",
    every: int = 1,
    max_frames: int | None = None,
    device: str = "auto",
) -> Tracked:
    """Track ``source`` and write ``out/tracks.txt``; every frame that is done is in it, whenever it ends.

    Args:
        source: what :func:`sparsight.media.open_video` opens, or detections as MOTChallenge ``.txt``.
        out: folder of the result.
        detector: finds people in frames.
        tracker: follows them.
        every: process each Nth frame only.
        max_frames: stop after so many.
        device: where the network runs.

    Raises:
        SparsightError: the source, the detector, the tracker or the folder cannot be used.
    """
    outputs.check(out, [out], [Path(source)])
    following = build_tracker(tracker)
    with ExitStack() as stack:
        readers = []
        frames: Iterator[tuple[int, float | None, Image | None, Detections]]
        if Path(source).suffix == _TEXT and Path(source).is_file():
            found = list(read(source).detections())[::every][:max_frames]
            frames = ((number * every, None, None, one) for number, one in enumerate(found))
        else:
            reader = stack.enter_context(open_video(source, every=every, max_frames=max_frames))
            readers.append(reader)
            finder = build_detector(detector, device=device)
            frames = (
                (frame.index, frame.time, frame.image, detect(finder, frame.image, frame.index))
                for frame in reader
            )
        stack.enter_context(outputs.claimed(out, [out]))
        path = out / outputs.TRACKS
        writer = stack.enter_context(TrackWriter(path))
        stopped = stack.enter_context(stopping_on_signals(readers))
        ids: set[int] = set()
        done = 0
        begin = time.perf_counter()
        for index, moment, image, detections in frames:
            tracks = following.update(detections, frame=image, timestamp=moment)
            writer.write(index + 1, tracks)
            ids.update(tracks.id.tolist())
            done += 1
            if stopped:
                break
        seconds = time.perf_counter() - begin
    return Tracked(path, done, len(ids), seconds, stopped[0] if stopped else None)
