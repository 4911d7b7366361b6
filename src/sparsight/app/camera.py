"""One source of a run: its memory of who passed, and the files it writes."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.app.outputs import PEOPLE, TRACKS, VIDEO
from sparsight.app.sights import UNIDENTIFIED_FROM, Sights
from sparsight.app.stages import StageTimes
from sparsight.app.watch_names import PeopleWriter, names_of, whole_pixels
from sparsight.files import replacing
from sparsight.media import (
    Frame,
    Image,
    Trails,
    VideoReader,
    VideoWriter,
    beside,
    colours,
    draw_boxes,
    overlay,
)
from sparsight.track import Identifier, Tracks
from sparsight.track.formats.table import UNKNOWN
from sparsight.track.gallery_records import Correction
from sparsight.track.motchallenge import TrackWriter

if TYPE_CHECKING:
    from sparsight.app.groundtruth import RunningScore
    from sparsight.app.watch_looks import Once
    from sparsight.app.workers import Seen
    from sparsight.saliency import SaliencyModel, SaliencyResult
    from sparsight.track.classify_tracks import TrackNamer

SALIENCY_PER_SECOND = 4.0
"""Where the eye goes changes slowly: this many maps are computed per second of video, and eased between."""
_EASE = 0.5
_MEAN_SIDE = 320
_NOMINAL_FPS = 25.0
_ROW = np.dtype(np.int32)
_CHUNK = 1 << 16  # rows settled at once
_FILM_SIZE = 4096, 2304
"""Larger films (beyond level 5.2 of H.264) are scaled down: many a graphics chip does not play them."""


class Camera:
    """Takes the tracks of one source through the identifier to the result files.

    Attributes:
        name: what the results call it.
        reader: the source.
        identifier: who knows people again, or None.
        sights: who was seen when.
        names: people's names in the gallery, for results and the labels in the video.
        namer: gives tracks the names that a classifier knows, or None.
        people: those names.
        looks: the embedder of the identifier (and of the namer, where it is the same), or None.
        score: compares with ground truth, or None.
        started: unix seconds that the first frame stands for.
        frames: frames processed.
        in_view: people in the newest frame.
        last_time: seconds from the first frame to the newest.
        background: the first frame, H×W×3 uint8.
        walked: where people walked, drawn on the background.
        saliency_mean: (h, w) float64 mean of all maps at a reduced size, or None.
        saliency_last: the newest map with its levels, or None.
    """

    def __init__(
        self,
        name: str,
        reader: VideoReader,
        identifier: Identifier | None,
        out: Path,
        started: float,
    ) -> None:
        """Open the result files under ``out``; ``started``: unix seconds that the first frame stands for."""
        self.name = name
        self.reader = reader
        self.identifier = identifier
        self.sights = Sights()
        self.names: dict[int, str] = {}
        self.namer: TrackNamer | None = None
        self.people: tuple[str, ...] = ()
        self.looks: Once | None = None
        self.score: RunningScore | None = None
        self.frames = 0
        self.in_view = 0
        self.last_time = 0.0
        self.background: Image | None = None
        self.walked: Image | None = None
        self.saliency_mean: NDArray[np.float64] | None = None
        self.saliency_last: SaliencyResult | None = None
        self.started = started
        self._trails = Trails()
        self._feet = np.zeros((0, 2), np.float32)
        self._eased: NDArray[np.float32] | None = None
        self._saliency_count = 0
        self._saliency_due = 0.0
        self._out = out
        self._video: VideoWriter | None = None
        self._tracks = TrackWriter(out / TRACKS)
        self._people = PeopleWriter(out / PEOPLE)
        # The sight behind each row of the tracks file. It has no name, so a kill leaves nothing of it.
        self._written = tempfile.TemporaryFile(dir=out)  # noqa: SIM115

    def take(self, seen: Seen, model: SaliencyModel | None, times: StageTimes) -> None:
        """Process what the source shows next."""
        frame, tracks = seen.frame, seen.tracks
        if self.reader.live and not self.frames:
            self.started = time.time() - frame.time  # it may have taken a while to show something
        for stage, spent in seen.spent.items():
            times.add(stage, spent)
        person, since = tracks.id, None
        if self.looks is not None:
            self.looks.begin(tracks.xyxy, seen.vectors)
        if self.identifier is not None:
            with times("re-identify"):
                known = self.identifier.update(frame.image, tracks, self.started + frame.time)
                person, since = known.person, known.since - self.started
                if corrections := self.identifier.corrected():
                    self._follow(self.identifier, corrections)
        sight = self.sights.see(tracks.id, person, frame.time, since)
        number = self.sights.label(sight)
        called = None
        if self.namer is not None:
            with times("name"):
                # By sights, not tracks: where a track changes hands, it is looked at afresh.
                called = self.namer.update(frame.image, replace(tracks, id=sight)).person
                self.sights.call(sight, called)
        names = names_of(number, called, self.people, self.names)
        if model is not None and frame.time >= self._saliency_due:
            with times("saliency"):
                self._look(model(frame.image), frame.time)
        with times("draw"):
            picture = self._draw(frame.image, tracks, number, names)
        with times("write"):
            self._write(picture, replace(tracks, id=number), frame)
            self._say(tracks, number, names, frame.index)
            self._written.write(sight.astype(_ROW).tobytes())
        self.last_time = frame.time
        self.frames += 1
        self.in_view = len(tracks)

    def conclude(self) -> None:
        """Decide who the open tracks were."""
        if self.identifier is not None:
            for track, person in self.identifier.finish().items():
                self.sights.decide(track, person)

    def finish(self) -> list[Path]:
        """Put the files in order, once all cameras have come to a conclusion, and name those written."""
        if self.identifier is not None:
            self._follow(self.identifier, self.identifier.corrected())
        written = []
        if self._video is not None:
            video, self._video = self._video, None  # not to be given up any more, even if closing it fails
            video.close()
            written.append(video.path)
        written.append(self._settle_tracks())
        written.append(self._people.finish())
        self.reader.close()
        return written

    def abandon(self) -> None:
        """Let go of everything after an error; whole rows of the tracks file stay."""
        with contextlib.suppress(Exception):
            self._tracks.close()
        with contextlib.suppress(Exception):
            self._people.close()
        with contextlib.suppress(Exception):
            self._written.close()
        if self._video is not None:
            self._video.abort()
        self.reader.close()

    def _follow(self, identifier: Identifier, corrections: Sequence[Correction]) -> None:
        """Let every sight be of whom the gallery says it is now."""
        self.sights.correct(corrections)
        for tracklet in identifier.tracklets():
            self.sights.settle(tracklet.track, tracklet.first_seen - self.started, tracklet.person)

    def _look(self, result: SaliencyResult, moment: float) -> None:
        """Take a new saliency map: ease it into the one that is shown, and into the mean of all."""
        self._saliency_due = moment + 1 / SALIENCY_PER_SECOND
        self.saliency_last = result
        if self._eased is None or self._eased.shape != result.map.shape:
            self._eased = result.map
        else:
            self._eased = (1 - _EASE) * self._eased + np.float32(_EASE) * result.map
        if self.saliency_mean is None:
            height, width = result.map.shape
            scale = min(1.0, _MEAN_SIDE / max(height, width))
            self.saliency_mean = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))))
        small = cv2.resize(result.map, self.saliency_mean.shape[::-1], interpolation=cv2.INTER_AREA)
        self._saliency_count += 1
        self.saliency_mean += (small - self.saliency_mean) / self._saliency_count

    def _draw(
        self, image: Image, tracks: Tracks, number: NDArray[np.int64], names: Sequence[str | None]
    ) -> Image:
        if self.background is None:
            self.background = image.copy()
            self.walked = image // 2 + 64  # paler, so that the paths stand out
        self._walk(tracks, number)
        self._trails.update(number, tracks.xyxy)
        labels = [_label(who, name) for who, name in zip(number.tolist(), names, strict=True)]
        picture = draw_boxes(self._trails.draw(image.copy()), tracks.xyxy, number, labels)
        return picture if self._eased is None else beside(picture, overlay(image, self._eased))

    def _walk(self, tracks: Tracks, number: NDArray[np.int64]) -> None:
        """Lengthen the paths of the people known by now."""
        assert self.walked is not None
        missing = int(tracks.id.max(initial=0)) + 1 - len(self._feet)
        if missing > 0:
            more = np.full((missing + len(self._feet), 2), np.nan, np.float32)
            self._feet = np.concatenate([self._feet, more])
        feet = np.stack([(tracks.xyxy[:, 0] + tracks.xyxy[:, 2]) / 2, tracks.xyxy[:, 3]], axis=1)
        before = self._feet[tracks.id]
        self._feet[tracks.id] = feet
        drawn = (number < UNIDENTIFIED_FROM) & ~np.isnan(before[:, 0])
        ends = np.stack([before[drawn], feet[drawn]], axis=1).round().astype(np.int32)
        width = max(1, round(min(self.walked.shape[:2]) / 300))
        for line, colour in zip(ends, colours(number[drawn]).tolist(), strict=True):
            cv2.line(self.walked, line[0].tolist(), line[1].tolist(), colour, width, cv2.LINE_AA)

    def _write(self, picture: Image, tracks: Tracks, frame: Frame) -> None:
        if self._video is None:
            height, width = picture.shape[:2]
            scale = min(1.0, _FILM_SIZE[0] / width, _FILM_SIZE[1] / height)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            self._video = VideoWriter(self._out / VIDEO, self.reader.fps or _NOMINAL_FPS, size)
        self._video.write(picture, frame.time)
        self._tracks.write(frame.index + 1, tracks)

    def _say(
        self, tracks: Tracks, number: NDArray[np.int64], names: Sequence[str | None], index: int
    ) -> None:
        """Write who is there by name, and score exactly what is written."""
        boxes = whole_pixels(tracks)
        if self.score is None:
            said = [name or str(who) for name, who in zip(names, number.tolist(), strict=True)]
        else:
            said = self.score.update(index, boxes, number, names, (*self.people, *self.names.values()))
        self._people.write(index, boxes, said)

    def _settle_tracks(self) -> Path:
        """Give each row the number of the person that its sight has turned out to be."""
        self._tracks.close()
        path = self._out / TRACKS
        self._written.seek(0)
        with self._written, path.open() as rows, replacing(path) as temporary, temporary.open("w") as settled:
            while chunk := list(itertools.islice(rows, _CHUNK)):
                sight = np.frombuffer(self._written.read(len(chunk) * _ROW.itemsize), _ROW)
                numbers = self.sights.label(sight.astype(np.int64)).tolist()
                for row, number in zip(chunk, numbers, strict=True):
                    frame, _, rest = row.split(",", 2)
                    settled.write(f"{frame},{number},{rest.rstrip()}\n")
        return path


def _label(number: int, name: str | None) -> str:
    if name is not None and name != UNKNOWN:
        return name
    return "?" if number >= UNIDENTIFIED_FROM else str(number)
