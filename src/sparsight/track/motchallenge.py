"""MOTChallenge text: one box per line, ``frame,id,x,y,w,h,score,...``, frames from 1.

Ground truth, detections and results share the layout (https://motchallenge.net, arXiv 1504.01942): ten
columns in MOT15 (the last three are world coordinates, or -1), nine from MOT16 on (class and visibility).
"""

from __future__ import annotations

import configparser
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.types import Detections, Tracks

if TYPE_CHECKING:
    from typing_extensions import Self

_LAYOUT = "frame,id,x,y,w,h[,score[,...]]"
_LAST_FRAME = 10**9
_PAGE = 4096
_LONGEST = 128
"""Bytes that no line exceeds: ten digits each for frame and id, thirteen characters per coordinate."""
_LARGEST = 1e9


@dataclass(frozen=True, eq=False)
class MotRows:
    """The lines of a MOTChallenge file, ordered by frame (lines of one frame stay in the file's order).

    Attributes:
        frame: (N,) int64, from 1.
        id: (N,) int64; -1 in files of detections.
        xywh: (N, 4) float64, left, top, width and height in pixels, as written.
        score: (N,) float64; 1 in files that have no such column. Ground truth marks boxes to be ignored by 0.
        class_id: (N,) int64 in files of nine columns (MOT16 and later), otherwise None.
        visibility: (N,) float64 in [0, 1] in files of nine columns, otherwise None.
    """

    frame: NDArray[np.int64]
    id: NDArray[np.int64]
    xywh: NDArray[np.float64]
    score: NDArray[np.float64]
    class_id: NDArray[np.int64] | None = None
    visibility: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def xyxy(self) -> NDArray[np.float64]:
        """(N, 4) boxes as left, top, right, bottom."""
        return np.concatenate((self.xywh[:, :2], self.xywh[:, :2] + self.xywh[:, 2:]), axis=1)

    def by_frame(self, count: int | None = None) -> Iterator[slice]:
        """The rows of frame 1, of frame 2, and so on up to ``count`` (by default the last one named)."""
        names, first = np.unique(self.frame, return_index=True)
        bounds = [*first.tolist(), len(self)]
        rows = dict(zip(names.tolist(), map(slice, bounds, bounds[1:]), strict=True))
        if count is None:
            count = max(rows, default=0)
        return (rows.get(frame, slice(0, 0)) for frame in range(1, count + 1))

    def detections(self, count: int | None = None) -> Iterator[Detections]:
        """What each of the frames 1 to ``count`` holds (by default the last one named), in order."""
        everything = Detections(self.xyxy.astype(np.float32), self.score.astype(np.float32), self.class_id)
        return (everything[rows] for rows in self.by_frame(count))


def read(path: str | Path) -> MotRows:
    """Read ground truth, detections or results.

    Fields are separated by commas; blank lines and spaces around numbers are skipped over.

    Raises:
        SparsightError: the file cannot be read, or a line is malformed: names it and what was expected.
    """
    table, _ = read_columns(path)
    table = table[np.argsort(table[:, 0], kind="stable")]
    columns = table.shape[1]
    return MotRows(
        frame=table[:, 0].astype(np.int64),
        id=table[:, 1].astype(np.int64),
        xywh=table[:, 2:6].copy(),
        score=table[:, 6].copy() if columns > 6 else np.ones(len(table)),
        class_id=table[:, 7].astype(np.int64) if columns == 9 else None,
        visibility=table[:, 8].copy() if columns == 9 else None,
    )


def read_columns(path: str | Path) -> tuple[NDArray[np.float64], list[int]]:
    """The numbers of a file as they stand, (N, columns) float64, and the line of each row, from 1.

    Raises:
        SparsightError: as :func:`read`.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SparsightError(f"{path} cannot be read as MOTChallenge text: {error}.") from None
    lines_used = [number for number, line in enumerate(lines, 1) if line.strip()]
    if not lines_used:
        return np.zeros((0, 6)), []
    try:
        table = np.loadtxt(lines, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        raise SparsightError(_malformed(path, lines)) from None
    if table.shape[1] < 6:
        raise SparsightError(_malformed(path, lines))
    for good, expected in (
        (np.isfinite(table).all(axis=1), "finite numbers"),
        (_whole(table[:, 0], 1, _LAST_FRAME), f"a frame number, from 1 to {_LAST_FRAME}, in column 1"),
        (_whole(table[:, 1], -1, 2**53), "a whole number (-1 for none) as id in column 2"),
        ((table[:, 4:6] >= 0).all(axis=1), "a width and a height that are not negative in columns 5 and 6"),
    ):
        if not good.all():
            number = lines_used[int(np.argmin(good))]
            raise SparsightError(
                f"{path}, line {number}: expected {expected}, found {_shown(lines[number - 1])}."
            )
    return table, lines_used


def _whole(values: NDArray[np.float64], least: int, most: int) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = (values >= least) & (values <= most) & (values == np.floor(values))
    return flags


def _malformed(path: str | Path, lines: Sequence[str]) -> str:
    """The sentence for the first line that is not a row of numbers, or has not as many as the first one."""
    columns = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = line.split(",")
        try:
            for field in fields:
                float(field)
        except ValueError:
            return f"{path}, line {number}: expected numbers, {_LAYOUT}, found {_shown(line)}."
        if len(fields) < 6:
            return f"{path}, line {number}: expected at least 6 columns, {_LAYOUT}, found {len(fields)}."
        columns = columns or len(fields)
        if len(fields) != columns:
            return f"{path}, line {number}: expected {columns} columns as before, found {len(fields)}."
    return f"{path} is not MOTChallenge text, {_LAYOUT}."


def _shown(line: str) -> str:
    line = line.strip()
    return repr(line if len(line) <= 80 else line[:77] + "...")


@dataclass(frozen=True)
class SequenceInfo:
    """What a sequence's ``seqinfo.ini`` says.

    Attributes:
        name: the sequence's name.
        length: number of frames.
        frame_rate: frames per second.
        width: of the images, in pixels.
        height: of the images, in pixels.
    """

    name: str
    length: int
    frame_rate: float
    width: int
    height: int


def read_info(path: str | Path) -> SequenceInfo:
    """Read a ``seqinfo.ini``, given as the file or as the folder it lies in.

    Raises:
        SparsightError: the file cannot be read, or an entry is missing or not a number.
    """
    path = Path(path)
    if path.is_dir():
        path /= "seqinfo.ini"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        entries = parser["Sequence"]
        return SequenceInfo(
            name=entries["name"],
            length=int(entries["seqLength"]),
            frame_rate=float(entries["frameRate"]),
            width=int(entries["imWidth"]),
            height=int(entries["imHeight"]),
        )
    except KeyError as error:
        raise SparsightError(f"{path} has no entry {error}, which a seqinfo.ini needs.") from None
    except (OSError, ValueError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise SparsightError(f"{path} cannot be read as a sequence's seqinfo.ini: {reason}.") from None


def format_rows(frame: int, tracks: Tracks) -> str:
    """The lines ``frame,id,x,y,w,h,score,-1,-1,-1`` of one frame's tracks, each with its newline.

    Args:
        frame: number of the frame, from 1.
        tracks: its tracks.

    Raises:
        SparsightError: a frame number below 1, or a coordinate that no image has.
    """
    if not 1 <= frame <= _LAST_FRAME:
        raise SparsightError(f"frame {frame} cannot be written: MOTChallenge counts frames from 1.")
    count = len(tracks)
    if count == 0:
        return ""
    if not (np.abs(tracks.xyxy) < _LARGEST).all():
        raise SparsightError(
            f"frame {frame} holds a box with a coordinate that is not a finite number of pixels."
        )
    table = np.empty((count, 7))
    table[:, 0] = frame
    table[:, 1] = tracks.id
    table[:, 2:4] = tracks.xyxy[:, :2]
    table[:, 4:6] = tracks.xyxy[:, 2:] - table[:, 2:4]
    table[:, 6] = tracks.score
    return ("%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,-1,-1,-1\n" * count) % tuple(table.ravel().tolist())


class TrackWriter:
    """Appends the tracks of one frame after another to a MOTChallenge text file.

    Whatever moment the process is killed at, the file ends with a whole line, and so does every 4096-byte
    prefix of it. Use it as a context manager, or call :meth:`close`.
    """

    def __init__(self, path: str | Path) -> None:
        """Start the file anew.

        Raises:
            SparsightError: it cannot be written.
        """
        self._path = Path(path)
        self._offset = 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a line that waits in a buffer is lost when the process is killed.
            self._file = self._path.open("wb", buffering=0)
        except OSError as error:
            raise SparsightError(f"{path} cannot be written: {error.strerror}.") from None

    def write(self, frame: int, tracks: Tracks) -> None:
        """Append the tracks of frame number ``frame``, counted from 1.

        Raises:
            SparsightError: the file cannot be written to (a full disk, say): what it holds are whole lines.
        """
        self.append(format_rows(frame, tracks).encode("ascii"))

    def append(self, lines: bytes) -> None:
        """Append whole lines of any text format whose readers pass over blank lines and spaces at the end.

        Raises:
            SparsightError: as :meth:`write`.
        """
        for chunk in self._pages(lines):
            try:
                written = self._file.write(chunk)
                if written != len(chunk):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                os.ftruncate(self._file.fileno(), self._offset)
                raise SparsightError(
                    f"{self._path} cannot be written to ({error.strerror or error}): free some space, or "
                    "choose another folder."
                ) from None
            self._offset += len(chunk)

    def _pages(self, lines: bytes) -> Iterator[bytes]:
        """Cut ``lines`` at the pages of the file, where each page ends with a newline.

        The kernel copies a write page by page, and a fatal signal can stop it between two pages, never inside
        one. So no line may cross a page boundary: a line after which another might not fit into the page is
        padded with spaces up to the boundary, which readers of numbers skip over. Where a line is longer than
        was reckoned with, the rest of the page before it stays blank.
        """
        room = _PAGE - self._offset % _PAGE
        chunk = bytearray()
        for line in lines.splitlines(keepends=True):
            if room < len(line):
                chunk += b"\n".rjust(room)
                yield bytes(chunk)
                chunk.clear()
                room = _PAGE
            if room - len(line) < _LONGEST:
                chunk += line[:-1].ljust(room - 1) + b"\n"
                yield bytes(chunk)
                chunk.clear()
                room = _PAGE
            else:
                chunk += line
                room -= len(line)
        if chunk:
            yield bytes(chunk)

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
