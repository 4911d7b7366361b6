"""What every source of moving pictures offers to the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sparsight.media.images import Image


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a source that has not been converted yet: most are skipped, so that should be cheap.

    Attributes:
        index: its place in the source, from 0.
        time: seconds since the first one.
        load: gives the picture, or raises SparsightError when this one is damaged.
    """

    index: int
    time: float
    load: Callable[[], Image]


class Source(Protocol):
    """A video file, a folder of pictures, a camera or a network stream, opened."""

    name: str
    fps: float | None
    frame_count: int | None
    size: tuple[int, int]
    live: bool
    warning: str | None

    def shots(self) -> Iterator[Shot]:
        """The pictures in order, once; sets ``warning`` at the end if something was lost."""
        ...

    def close(self) -> None:
        """Let go of the file, device or connection."""
        ...
