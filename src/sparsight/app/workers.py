"""Several sources at once: each is read, searched for people and tracked in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.media import Frame, VideoReader
from sparsight.track import Detector, Embedder, Tracker, Tracks
from sparsight.track.detect import detect
from sparsight.track.sequences import look

_AHEAD = 2  # frames that a source may be ahead of what is done with them
_POLL = 0.2  # seconds in which a stop is noticed
_JOIN = 10.0  # seconds; longer than any network takes for a frame


@dataclass(frozen=True, eq=False)
class Seen:
    """What one source shows at one moment.

    Attributes:
        frame: the picture.
        tracks: who is in it.
        spent: milliseconds per stage.
        vectors: (N, D) float32 appearance of the detection of each track, where the tracker looks at it.
    """

    frame: Frame
    tracks: Tracks
    spent: dict[str, float]
    vectors: NDArray[np.float32] | None = None


class Workers:
    """Takes each source through detector and tracker in a thread of its own.

    Frames of files are given in the order of their times (and of the sources, where those are equal), so that
    a run gives the same result every time. Frames of live sources are given as they come: one that is silent
    holds up nobody.

    Args:
        sources: a reader and a tracker each; nobody else may use them before :meth:`stop`.
        detector: finds people; used by all threads.
        embedder: makes the vectors of all detections, for trackers that look at them; used by all threads.
    """

    def __init__(
        self,
        sources: Sequence[tuple[VideoReader, Tracker]],
        detector: Detector,
        embedder: Embedder | None = None,
    ) -> None:
        self._changed = threading.Condition()
        self._detector, self._embedder = detector, embedder
        self._stopped = False
        self._count = 0
        self._workers = [_Worker(self, reader, tracker) for reader, tracker in sources]
        for worker in self._workers:
            worker.thread.start()

    def seen(self) -> Iterator[tuple[int, Seen]]:
        """Number of a source, and what it shows, until all have ended or :meth:`stop` was called.

        Raises:
            Exception: whatever went wrong with a source, once its frames before have been given.
        """
        while True:
            with self._changed:
                number = self._next()
                while number is None:
                    if self._stopped or not any(worker.active for worker in self._workers):
                        return
                    self._changed.wait(_POLL)  # not for ever: signals are handled in between
                    number = self._next()
                worker = self._workers[number]
                if not worker.waiting:
                    assert worker.error is not None
                    raise worker.error
                _, seen = worker.waiting.popleft()
                self._changed.notify_all()
            yield number, seen

    def stop(self) -> None:
        """End the threads; may be called more than once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.reader.stop()
        for worker in self._workers:
            worker.thread.join(_JOIN)

    def _next(self) -> int | None:
        """The source whose turn it is, if it is ready."""
        if self._stopped:
            return None
        turns = []
        files = [n for n, worker in enumerate(self._workers) if not worker.reader.live and worker.active]
        if files and all(self._workers[n].ready for n in files):
            turns.append(min(files, key=lambda n: (self._workers[n].time, n)))
        turns += [n for n, worker in enumerate(self._workers) if worker.reader.live and worker.ready]
        return min(turns, key=lambda n: self._workers[n].arrived, default=None)

    def _run(self, worker: _Worker) -> None:
        try:
            frames = iter(worker.reader)
            while True:
                begin = time.perf_counter()
                frame = next(frames, None)
                if frame is None or self._stopped:
                    return
                read = time.perf_counter()
                detections = detect(self._detector, frame.image, frame.index)
                detected = time.perf_counter()
                spent = {"read": read - begin, "detect": detected - read}
                if self._embedder is not None:
                    detections = look(frame.image, detections, self._embedder)
                    spent["embed"] = time.perf_counter() - detected
                looked = time.perf_counter()
                tracks = worker.tracker.update(detections, frame=frame.image, timestamp=frame.time)
                spent["track"] = time.perf_counter() - looked
                vectors = None
                if detections.embedding is not None and tracks.detection is not None:
                    vectors = detections.embedding[tracks.detection]
                milliseconds = {stage: 1000 * seconds for stage, seconds in spent.items()}
                seen = Seen(frame, tracks, milliseconds, vectors)
                with self._changed:
                    while len(worker.waiting) >= _AHEAD and not self._stopped:
                        self._changed.wait()
                    self._count += 1
                    worker.waiting.append((self._count, seen))
                    self._changed.notify_all()
        except BaseException as error:  # handed to whoever takes the frames
            worker.error = error
        finally:
            with self._changed:
                worker.ended = True
                self._changed.notify_all()


class _Worker:
    """One source: its thread, and the frames that wait."""

    def __init__(self, workers: Workers, reader: VideoReader, tracker: Tracker) -> None:
        self.reader, self.tracker = reader, tracker
        self.waiting: deque[tuple[int, Seen]] = deque()
        self.ended = False
        self.error: BaseException | None = None
        self.thread = threading.Thread(
            target=workers._run, args=(self,), name=f"watch {reader.name}", daemon=True
        )

    @property
    def ready(self) -> bool:
        """Whether there is a frame to give, or an error."""
        return bool(self.waiting) or (self.ended and self.error is not None)

    @property
    def active(self) -> bool:
        """Whether there is, or may be, something to give."""
        return not self.ended or self.ready

    @property
    def arrived(self) -> int:
        """When what comes next arrived, as a number that grows; an error counts as the first."""
        return self.waiting[0][0] if self.waiting else 0

    @property
    def time(self) -> float:
        """Seconds at which the next frame was taken; an error is not waited with."""
        return self.waiting[0][1].frame.time if self.waiting else float("-inf")
