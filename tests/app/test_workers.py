from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.app.workers import Workers
from sparsight.media import Frame
from sparsight.track import Detections, Tracks


class Source:
    """Frames at given times; a gate holds it up, an error ends it."""

    def __init__(self, times: list[float], live: bool = False, fails: bool = False) -> None:
        self.name, self.live = "source", live
        self.times, self.fails = times, fails
        self.gate = threading.Event()
        self.gate.set()
        self.given = 0

    def __iter__(self) -> Iterator[Frame]:
        for index, time in enumerate(self.times):
            self.gate.wait()
            self.given += 1
            yield Frame(np.zeros((4, 4, 3), np.uint8), index, time)
        if self.fails:
            raise SparsightError("the camera is gone.")

    def stop(self) -> None:
        self.gate.set()


class NoTracker:
    def update(self, detections: Detections, **_: Any) -> Tracks:
        return Tracks.empty()


def detect(image: Any) -> Detections:
    return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def working(*sources: Source) -> Workers:
    return Workers([(source, NoTracker()) for source in sources], detect)  # type: ignore[misc, arg-type]


def order(workers: Workers) -> list[tuple[int, int]]:
    found = [(number, seen.frame.index) for number, seen in workers.seen()]
    workers.stop()
    return found


def test_films_come_in_the_order_of_their_times() -> None:
    times = [[0.0, 0.5, 1.0, 1.5], [0.0, 0.25, 0.5, 0.75, 1.0, 2.0], []]
    expected = sorted((time, n, i) for n, each in enumerate(times) for i, time in enumerate(each))
    for _ in range(5):
        assert order(working(*map(Source, times))) == [(n, i) for _, n, i in expected]


def test_a_silent_camera_holds_up_nobody_and_nobody_runs_far_ahead() -> None:
    silent, film, other = Source([0.0], live=True), Source([0.0, 1.0]), Source([0.0, 1.0, 2.0], live=True)
    endless = Source(list(np.arange(1000.0)))
    silent.gate.clear()
    workers = working(silent, film, other, endless)
    found = []
    for number, _ in workers.seen():
        found.append(number)
        if found.count(1) == 2 and found.count(2) == 3 and found.count(3) > 5:
            break
    assert 0 not in found
    workers.stop()
    assert endless.given <= found.count(3) + 2 + 2
    assert list(workers.seen()) == []


def test_an_error_comes_after_the_frames_before_it() -> None:
    workers = working(Source([0.0, 1.0, 2.0], fails=True))
    found = []
    with pytest.raises(SparsightError, match="gone"):
        for _, seen in workers.seen():
            found.append(seen.frame.index)
    workers.stop()
    assert found == [0, 1, 2]


def test_stopping_twice_and_before_anything_was_taken() -> None:
    workers = working(Source([0.0] * 50), Source([]))
    workers.stop()
    workers.stop()
    assert list(workers.seen()) == []
