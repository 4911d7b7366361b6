"""Labelled sequences, and what trackers make of them: for tuning and comparing.

A folder of sequences is laid out as MOTChallenge's: ``SEQUENCE/gt/gt.txt``, ``SEQUENCE/det/det.txt`` (or any
other folder of detections), and the frames in ``SEQUENCE/img1`` or as the only film in ``SEQUENCE``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve
from sparsight.track import boxes
from sparsight.track.metrics.evaluation import METRICS, compare_sources
from sparsight.track.motchallenge import read, read_info
from sparsight.track.types import Detections, Image, Tracks

if TYPE_CHECKING:
    from sparsight.media.video import Frame
    from sparsight.track.embed import Embedder
    from sparsight.track.trackers import Tracker

_FILMS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


@dataclass(frozen=True)
class LabelledSequence:
    """One sequence of a folder.

    Attributes:
        name: that of its folder.
        folder: where it lies.
        truth: file of the ground truth.
        film: folder of pictures or video that holds its frames, or None.
        length: number of frames.
    """

    name: str
    folder: Path
    truth: Path
    film: Path | None
    length: int

    def frames(self) -> Iterator[Frame]:
        """Its frames, in order.

        Raises:
            SparsightError: it has none, or they cannot be read.
        """
        from sparsight.media import open_video

        if self.film is None:
            raise SparsightError(
                f"the sequence {self.name} has no frames: put pictures into {self.folder / 'img1'}, or one "
                f"film into {self.folder}."
            )
        with open_video(self.film, max_frames=self.length) as reader:
            yield from reader


def find(folder: Path, names: Sequence[str] = ()) -> list[LabelledSequence]:
    """The sequences of a folder, by name in order.

    Args:
        folder: what holds them.
        names: those wanted; by default all.

    Raises:
        SparsightError: there are none, or one that is wanted is not there.
    """
    found = {}
    for truth in sorted(folder.glob("*/gt/gt.txt")):
        place = truth.parents[1]
        found[place.name] = truth
    if not found:
        raise SparsightError(f"{folder} holds no labelled sequences: expected SEQUENCE/gt/gt.txt in it.")
    chosen = names or list(found)
    return [_sequence(name, lookup("sequence", name, found)) for name in chosen]


def detected(
    sequence: LabelledSequence, detector: str, device: str = "auto"
) -> tuple[list[Detections], float]:
    """What a detector finds in each frame of a sequence, and the seconds that this took.

    Args:
        sequence: where to look.
        detector: a folder of the sequence that holds ``det.txt``, or the name of one of our detectors.
        device: where the network runs.

    Raises:
        SparsightError: there is neither, or the sequence has no frames for a network to see.
    """
    from sparsight.track.detect import build_detector, detect

    text = sequence.folder / detector / "det.txt"
    if text.is_file():
        return list(read(text).detections(sequence.length)), 0.0
    look = build_detector(detector, device=device)
    found, spent = [], 0.0
    for frame in sequence.frames():
        begin = time.perf_counter()
        found.append(detect(look, frame.image, frame.index))
        spent += time.perf_counter() - begin
    return _filled(found, sequence.length), spent


def looked_at(
    sequence: LabelledSequence, detections: Sequence[Detections], embedder: Embedder
) -> tuple[list[Detections], float]:
    """The same detections with appearance vectors, and the seconds that this took.

    Where frames end before the detections do, the rest stays without.
    """
    result, spent = [], 0.0
    for frame, found in zip(sequence.frames(), detections, strict=False):
        begin = time.perf_counter()
        result.append(look(frame.image, found, embedder))
        spent += time.perf_counter() - begin
    return [*result, *detections[len(result) :]], spent


def look(image: Image, found: Detections, embedder: Embedder) -> Detections:
    """The detections of one image (H×W×3 uint8 RGB) with appearance vectors.

    Boxes that lie outside the image, or have no pixel, get a vector of zeros: nobody knows how they look.
    """
    height, width = image.shape[:2]
    pixels = np.round(boxes.clip(found.xyxy, width, height))
    seen = (boxes.area(pixels) > 0).nonzero()[0]
    vectors = np.zeros((len(found), embedder.dimension), np.float32)
    if len(seen):
        vectors[seen] = embedder(image, found.xyxy[seen])
    return replace(found, embedding=vectors)


def followed(
    sequence: LabelledSequence, detections: Sequence[Detections], tracker: Tracker, *, look: bool = False
) -> tuple[list[Tracks], float]:
    """The tracks of each frame, and the seconds that this took.

    Args:
        sequence: what is followed.
        detections: those of each frame.
        tracker: a new one.
        look: show it the frames too, if the sequence has any.
    """
    frames = (frame.image for frame in sequence.frames()) if look and sequence.film is not None else None
    result, spent = [], 0.0
    for found in detections:
        image = None if frames is None else next(frames, None)
        begin = time.perf_counter()
        result.append(tracker.update(found, image))
        spent += time.perf_counter() - begin
    return result, spent


def rows_of(tracks: Sequence[Tracks]) -> NDArray[np.float64]:
    """Tracks frame by frame as MOTChallenge writes them: (N, 7) frame from 1, id, x, y, w, h, score."""
    if not any(map(len, tracks)):
        return np.zeros((0, 7))
    frame = np.repeat(np.arange(1, len(tracks) + 1), [len(one) for one in tracks])
    xyxy = np.concatenate([one.xyxy for one in tracks]).astype(np.float64)
    number = np.concatenate([one.id for one in tracks])
    score = np.concatenate([one.score for one in tracks])
    return np.column_stack((frame, number, xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], score))


def scored(
    results: Sequence[tuple[LabelledSequence, Sequence[Tracks]]],
    metrics: Sequence[str],
    *,
    benchmark: str = "auto",
) -> dict[str, Any]:
    """As :func:`sparsight.track.metrics.evaluate` of two folders, without writing any.

    Args:
        results: each sequence with the tracks of its frames.
        metrics: which of ``METRICS``.
        benchmark: what counts, see there.
    """
    modules = {name: resolve(lookup("metric", name, METRICS)) for name in metrics}
    sequences: dict[str, Any] = {}
    for sequence, tracks in results:
        pairs = compare_sources(sequence.truth, rows_of(tracks), benchmark=benchmark, length=sequence.length)
        sequences[sequence.name] = {name: module.score(pairs) for name, module in modules.items()}
    together: dict[str, Any] = {
        name: module.combine([scores[name] for scores in sequences.values()])
        for name, module in modules.items()
    }
    return together | {"sequences": sequences}


def _sequence(name: str, truth: Path) -> LabelledSequence:
    folder = truth.parents[1]
    pictures = folder / "img1"
    films = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _FILMS]
    film = pictures if pictures.is_dir() else films[0] if len(films) == 1 else None
    if (folder / "seqinfo.ini").is_file():
        length = read_info(folder).length
    else:
        length = int(read(truth).frame.max(initial=0))
    return LabelledSequence(name, folder, truth, film, length)


def _filled(found: list[Detections], length: int) -> list[Detections]:
    """One entry for each frame, where a film ends before its ground truth does."""
    return found + [Detections.empty()] * (length - len(found))
