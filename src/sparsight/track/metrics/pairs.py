"""Which true and which reported boxes overlap, in all frames of a sequence at once.

Most pairs of boxes in a frame do not touch, so everything that follows works on the short list of those that
do: time and memory grow with the number of overlaps, not with the square of the crowd or with the number of
identities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.track import boxes

_BLOCK = 1 << 18
"""Pairs that are compared at once: the flags of a block stay in the processor's cache."""
_CHUNK = 1 << 13
"""Pairs whose overlap is computed at once: what is in between stays in the cache, too."""
_SPARSEST = 8
"""A table of all numbers up to the largest is faster than sorting unless so many of them do not occur."""
_DENSE = 1 << 24
"""Up to so many pairs of identities, a table of all of them is faster than sorting."""


@dataclass(frozen=True, eq=False)
class Side:
    """The boxes of one side, true or reported, ordered by frame.

    Attributes:
        frame: (N,) index of the frame, ascending.
        id: (N,) identities, numbered from 0 without gaps.
        xyxy: (N, 4) float64 boxes.
    """

    frame: NDArray[np.intp]
    id: NDArray[np.intp]
    xyxy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def id_count(self) -> int:
        """How many identities there are."""
        return int(self.id.max(initial=-1)) + 1

    def kept(self, flags: NDArray[np.bool_]) -> Side:
        """The rows that ``flags`` marks, their identities numbered anew."""
        if flags.all():
            return self
        return Side(self.frame[flags], numbered(self.id[flags]), self.xyxy[flags])


def by_id(id: NDArray[np.intp]) -> NDArray[np.intp]:
    """The rows of the first identity, of the second, and so on, each in their order."""
    # Small numbers are sorted by radix.
    small = len(id) > 0 and int(id.max()) < 1 << 16
    return np.argsort(id.astype(np.uint16) if small else id, kind="stable")


def numbered(values: NDArray[Any]) -> NDArray[np.intp]:
    """Each value's place among those that occur, in rising order: numbers from 0 without gaps."""
    if not len(values):
        return np.zeros(0, np.intp)
    if values.dtype.kind == "i":
        low = int(values.min())
        span = int(values.max()) - low + 1
        if span <= _SPARSEST * len(values):
            occurs = np.zeros(span, np.int32)
            occurs[values - low] = 1
            place = occurs.cumsum(dtype=np.int32) - 1
            number: NDArray[np.intp] = place.take(values - low).astype(np.intp)
            return number
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.intp)


@dataclass(frozen=True, eq=False)
class Meetings:
    """Which true and which reported identities ever overlap.

    Attributes:
        key: (P,) the meeting that each overlapping pair belongs to.
        truth: (M,) true identity of each meeting.
        result: (M,) reported identity of each meeting.
    """

    key: NDArray[np.intp]
    truth: NDArray[np.intp]
    result: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two sides of a sequence and the pairs of boxes that overlap.

    Attributes:
        frames: number of frames, of which any may be empty.
        truth: the true boxes.
        result: the reported boxes.
        row: (P,) true box of each overlapping pair, ascending.
        column: (P,) reported box of each pair, ascending among the pairs of one true box.
        similarity: (P,) their intersection over union, > 0.
    """

    frames: int
    truth: Side
    result: Side
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    similarity: NDArray[np.float64]

    @cached_property
    def meetings(self) -> Meetings:
        """The identities that ever overlap."""
        width = max(self.result.id_count, 1)
        number = self.truth.id.take(self.row)
        number *= width
        number += self.result.id.take(self.column)
        size = self.truth.id_count * width
        if size <= _DENSE:
            met = np.zeros(size, bool)
            met[number] = True
            together = met.nonzero()[0]
            place = np.zeros(size, np.int32)
            place[together] = np.arange(len(together), dtype=np.int32)
            key = place.take(number).astype(np.intp)
        else:
            together, key = np.unique(number, return_inverse=True)
        return Meetings(key.reshape(-1), *np.divmod(together, width))

    def kept(self, truth: NDArray[np.bool_], result: NDArray[np.bool_]) -> Pairs:
        """What is left when only the marked boxes of either side stay."""
        if truth.all() and result.all():
            return self
        stays = truth[self.row] & result[self.column]
        return Pairs(
            self.frames,
            self.truth.kept(truth),
            self.result.kept(result),
            (np.cumsum(truth) - 1)[self.row[stays]],
            (np.cumsum(result) - 1)[self.column[stays]],
            self.similarity[stays],
        )


def compare(frames: int, truth: Side, result: Side) -> Pairs:
    """Find the overlapping pairs of all frames, with the intersection over union of each."""
    row, column = touching(frames, truth, result)
    similarity = np.empty(len(row))
    # Coordinate by coordinate in memory, which is how the arithmetic goes through them.
    true_boxes, result_boxes = (np.ascontiguousarray(part.xyxy.T) for part in (truth, result))
    for first in range(0, len(row), _CHUNK):
        part = slice(first, first + _CHUNK)
        similarity[part] = boxes.iou(
            true_boxes.take(row[part], axis=1).T, result_boxes.take(column[part], axis=1).T
        )
    real = similarity > 0
    if not real.all():  # degenerate boxes
        row, column, similarity = row[real], column[real], similarity[real]
    return Pairs(frames, truth, result, row, column, similarity)


def touching(frames: int, truth: Side, result: Side) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Candidate pairs of boxes of one frame, as rows of either side, in rising order.

    All that share any area are among them, and hardly any others: coordinates are compared after rounding
    them outwards to 16 bits, which is four times as fast. Frames that hold about as many boxes are compared
    together, padded with boxes that touch nothing.
    """
    starts = [np.searchsorted(part.frame, np.arange(frames + 1)) for part in (truth, result)]
    counts = [np.diff(start) for start in starts]
    both = ((counts[0] > 0) & (counts[1] > 0)).nonzero()[0]
    if not len(both):
        none = np.zeros(0, np.intp)
        return none, none
    padded = _outwards(truth.xyxy, result.xyxy)
    # Bit lengths of the two counts: frames in one bin differ by less than a factor of two.
    sizes = np.stack([np.frexp(count[both])[1] for count in counts], axis=1)
    found_rows, found_columns = [], []
    kinds = np.unique(sizes, axis=0)
    for size in kinds:
        group = both[(sizes == size).all(axis=1)]
        height, width = (int(count[group].max()) for count in counts)
        step = max(1, _BLOCK // (height * width))
        # Written over block after block: fresh memory takes as long as the comparing.
        spaces = np.empty((2, min(step, len(group)) * height * width), bool)
        for first in range(0, len(group), step):
            part = group[first : first + step]
            rows = _padded_rows(starts[0], counts[0], part, height, len(truth))
            columns = _padded_rows(starts[1], counts[1], part, width, len(result))
            left, top, right, bottom = padded[0].take(rows, axis=1)[..., None]
            other_left, other_top, other_right, other_bottom = padded[1].take(columns[:, None], axis=1)
            flags, other = (space[: rows.size * width].reshape(*rows.shape, width) for space in spaces)
            np.less(left, other_right, out=flags)
            for bound, reach in ((right, other_left), (bottom, other_top), (other_bottom, top)):
                np.greater(bound, reach, out=other)
                flags &= other
            # In three dimensions, nonzero takes ten times as long, as divmod does.
            place = flags.ravel().nonzero()[0]
            line = place // width
            found_rows.append(rows.ravel().take(line))
            found_columns.append(columns.ravel().take(place - (line - line // height) * width))
    row, column = np.concatenate(found_rows), np.concatenate(found_columns)
    if len(kinds) > 1:
        order = np.argsort(row, kind="stable")
        row, column = row[order], column[order]
    return row, column


def _outwards(*sides: NDArray[np.float64]) -> list[NDArray[np.int16]]:
    """(4, N + 1) coordinates rounded outwards to 16 bits, behind the last a box that touches nothing."""
    low = min(float(xyxy.min()) for xyxy in sides)
    high = max(float(xyxy.max()) for xyxy in sides)
    scale = 65000 / max(high - low, 1e-9)
    rounded = []
    for xyxy in sides:
        scaled = xyxy.T.copy()
        scaled -= low
        scaled *= scale
        scaled -= 32500
        corners = np.empty((4, len(xyxy) + 1), np.int16)
        # A step further than needed: rounding errors of the scale cannot make up for it.
        corners[:2, :-1] = np.floor(scaled[:2]) - 1
        corners[2:, :-1] = np.ceil(scaled[2:]) + 1
        corners[:2, -1], corners[2:, -1] = 32767, -32768
        rounded.append(corners)
    return rounded


def _padded_rows(
    starts: NDArray[np.intp], counts: NDArray[np.intp], part: NDArray[np.intp], width: int, missing: int
) -> NDArray[np.intp]:
    """(F, width) rows of each frame of ``part``; behind its last one stands ``missing``."""
    along = np.arange(width)
    rows: NDArray[np.intp] = np.where(
        along < counts[part, None], starts[part, None] + along, np.intp(missing)
    )
    return rows
