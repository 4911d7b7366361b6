"""Labelled sequences, and what trackers make of them: for tuning and comparing.

A folder of sequences is laid out as MOTChallenge's: ``SEQUENCE/gt/gt.txt``, ``SEQUENCE/det/det.txt`` (or any
other folder of detections), and the frames in ``SEQUENCE/img1`` or as the only film in ``SEQUENCE``. Or as
PoseTReID's: a ``gt_map.txt`` with a line ``video:file`` for each video, and the videos beside it; what else
there is of ``hall.mp4`` lies in ``hall``, as above. The ground truth may be in any of
``sparsight.track.formats.FORMATS``.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve
from sparsight.track import boxes, formats
from sparsight.track.formats.pyppbox import GT_MAP, read_map
from sparsight.track.formats.table import UNKNOWN, Table
from sparsight.track.metrics.evaluation import METRICS, compare_sources
from sparsight.track.motchallenge import read, read_info
from sparsight.track.types import Detections, Image, Tracks

if TYPE_CHECKING:
    from sparsight.media.video import Frame
    from sparsight.track.embed import Embedder
    from sparsight.track.trackers import Tracker

TRUTH = "groundtruth"
"""The detector that finds what each sequence's own ground truth says."""
_FILMS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


@dataclass(frozen=True)
class LabelledSequence:
    """One sequence of a folder.

    Attributes:
        name: that of its folder, or of its video in a ``gt_map.txt``.
        folder: where detections and frames lie.
        truth: file of the ground truth.
        film: folder of pictures or video that holds its frames, or None.
        length: number of frames.
        names: whether its people have names, not numbers alone.
    """

    name: str
    folder: Path
    truth: Path
    film: Path | None
    length: int
    names: bool = False

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
    found: dict[str, tuple[Path, Path, Path | None]]
    if (folder / GT_MAP).is_file():
        found = {
            video: (folder / Path(video).stem, truth, folder / video)
            for video, truth in read_map(folder / GT_MAP).items()
        }
    else:
        found = {
            truth.parents[1].name: (truth.parents[1], truth, None)
            for truth in sorted(folder.glob("*/gt/gt.txt"))
        }
    if not found:
        raise SparsightError(
            f"{folder} holds no labelled sequences: expected SEQUENCE/gt/gt.txt or a {GT_MAP} in it."
        )
    chosen = names or list(found)
    return [_sequence(name, *lookup("sequence", name, found)) for name in chosen]


def detected(
    sequence: LabelledSequence, detector: str, device: str = "auto"
) -> tuple[list[Detections], float]:
    """What a detector finds in each frame of a sequence, and the seconds that this took.

    Args:
        sequence: where to look.
        detector: a folder of the sequence that holds ``det.txt``; the name of one of our detectors; or
            ``groundtruth`` for the boxes of its own ground truth, to judge all else apart from any detector.
        device: where the network runs.

    Raises:
        SparsightError: there is neither, or the sequence has no frames for a network to see.
    """
    from sparsight.track.detect import build_detector, detect
    from sparsight.track.detect.recorded import groundtruth

    text = sequence.folder / detector / "det.txt"
    if text.is_file():
        return list(read(text).detections(sequence.length)), 0.0
    if detector == TRUTH:
        known = groundtruth(sequence.truth)
        bounds = np.searchsorted(known.frame, np.arange(sequence.length + 1)).tolist()
        return [known.rows[low:high] for low, high in itertools.pairwise(bounds)], 0.0
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


def one_by_one(truth: Table) -> Table:
    """The table with nobody twice in a frame: of a name that is, each further row is somebody else.

    Published ground truth of PoseTReID has such rows, and its scores count them. Numbers stay as they are.
    """
    if "name" not in truth.columns:
        return truth
    names = truth.columns["name"].astype(str)
    _, who = np.unique(names, return_inverse=True)
    key = truth.frame * (len(names) + 1) + who.reshape(-1)
    again = np.ones(len(key), bool)
    again[np.unique(key, return_index=True)[1]] = False
    again &= names != UNKNOWN
    if not again.any():
        return truth
    other = names.astype(object)
    other[again] = [f"{names[row]}, {truth.where(row)}" for row in again.nonzero()[0].tolist()]
    columns = {name: values for name, values in truth.columns.items() if name != "second_name"}
    return replace(truth, columns={**columns, "name": other})


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
        truth = one_by_one(formats.read(sequence.truth))
        pairs = compare_sources(truth, rows_of(tracks), benchmark=benchmark, length=sequence.length)
        sequences[sequence.name] = {name: module.score(pairs) for name, module in modules.items()}
    together: dict[str, Any] = {
        name: module.combine([scores[name] for scores in sequences.values()])
        for name, module in modules.items()
    }
    return together | {"sequences": sequences}


def _sequence(name: str, folder: Path, truth: Path, video: Path | None) -> LabelledSequence:
    pictures = folder / "img1"
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    films = [path for path in there if path.suffix.lower() in _FILMS]
    film = pictures if pictures.is_dir() else films[0] if len(films) == 1 else None
    if video is not None and video.exists():
        film = video
    table = formats.read(truth)
    if (folder / "seqinfo.ini").is_file():
        length = read_info(folder).length
    else:
        length = int(table.frame.max(initial=-1)) + 1
    names = {str(one) for one in table.columns.get("name", ())} - {UNKNOWN}
    twice = int((one_by_one(table).columns["name"] != table.columns["name"]).sum()) if names else 0
    if twice:
        logging.getLogger(__name__).warning(
            "%s has %d rows of somebody who stands in the frame already: each is taken for somebody else.",
            truth,
            twice,
        )
    return LabelledSequence(
        name, folder, truth, film, length, names=any(not one.isdecimal() for one in names)
    )


def _filled(found: list[Detections], length: int) -> list[Detections]:
    """One entry for each frame, where a film ends before its ground truth does."""
    return found + [Detections.empty()] * (length - len(found))
