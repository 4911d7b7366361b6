"""Detections to tracks to a text file, and nothing else: what ``sparsight track run`` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sparsight.app import outputs
from sparsight.app.track_options import built, looks
from sparsight.app.watch import stopping_on_signals
from sparsight.errors import SparsightError
from sparsight.media import Image, open_video
from sparsight.track import Detections, build_detector, build_embedder
from sparsight.track.detect import detect
from sparsight.track.motchallenge import TrackWriter, read
from sparsight.track.sequences import look

DETECTOR, REID = "ssdlite", "auto"
"""What finds people, and what says how they look, unless something else is named."""
_TEXT = ".txt"
_NONE = "none"


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
    detector: str | None = None,
    tracker: str = "sort",
    reid: str | None = None,
    every: int = 1,
    max_frames: int | None = None,
    device: str = "auto",
) -> Tracked:
    """Track ``source`` and write ``out/tracks.txt``; every frame that is done is in it, whenever it ends.

    Args:
        source: what :func:`sparsight.media.open_video` opens, or detections as MOTChallenge ``.txt``.
        out: folder of the result.
        detector: finds people in frames; by default ``DETECTOR``. Text holds what was found already.
        tracker: follows them; parameters may stand behind its name, as in ``sort(max_age=60)``.
        reid: makes the vectors for trackers that look at appearance, or ``none``: they go by motion alone. By
            default ``REID``, where there are pictures.
        every: process each Nth frame only.
        max_frames: stop after so many.
        device: where the networks run.

    Raises:
        SparsightError: the source, the detector, the tracker or the folder cannot be used, or a detector or
            an embedder is named that would have nothing to do.
    """
    outputs.check(out, [out], [Path(source)])
    following = built(tracker)
    text = Path(source).suffix == _TEXT and Path(source).is_file()
    _refuse_idle(source, text, detector, tracker, reid)
    with ExitStack() as stack:
        readers = []
        frames: Iterator[tuple[int, float | None, Image | None, Detections]]
        if text:
            found = list(read(source).detections())[::every][:max_frames]
            frames = ((number * every, None, None, one) for number, one in enumerate(found))
        else:
            reader = stack.enter_context(open_video(source, every=every, max_frames=max_frames))
            readers.append(reader)
            finder = build_detector(detector or DETECTOR, device=device)
            embedder = None
            if looks(tracker) and reid != _NONE:
                embedder = build_embedder(reid or REID, device=device)

            def see(image: Image, index: int) -> Detections:
                seen = detect(finder, image, index)
                return seen if embedder is None else look(image, seen, embedder)

            frames = (
                (frame.index, frame.time, frame.image, see(frame.image, frame.index)) for frame in reader
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


def _refuse_idle(source: str, text: bool, detector: str | None, tracker: str, reid: str | None) -> None:
    """Refuse what is named and would never be asked."""
    if text and detector is not None:
        raise SparsightError(f"{source} holds detections already: leave out --detector {detector}.")
    if reid in (None, _NONE):
        return
    if text:
        raise SparsightError(f"{source} has no pictures to look at: leave out --reid {reid}.")
    if not looks(tracker):
        raise SparsightError(
            f"the tracker {tracker} does not look at appearance: leave out --reid {reid}, or choose "
            "deepsort or botsort."
        )
