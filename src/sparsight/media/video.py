"""Moving pictures in, from whatever gives them."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsight.errors import SparsightError
from sparsight.media.images import Image
from sparsight.media.newest import Newest
from sparsight.media.source import Shot, Source

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        image: H×W×3 uint8 RGB.
        index: its place in the source, from 0; with ``every=N`` a multiple of N.
        time: seconds since the first picture of the source; always grows.
    """

    image: Image
    index: int
    time: float


class VideoReader:
    """The frames of a source, once, in order: ``for frame in reader``.

    A live source (camera, network stream) is read in a thread of its own that keeps only the newest picture,
    so that a slow consumer falls behind by one frame at most; indices then have gaps.

    Attributes:
        name: short, fit to name a camera by; never holds a password.
        fps: frames per second that iterating gives by the source's own account (``every`` counted in), or
            None when the source does not say.
        frame_count: how many frames iterating will give, an estimate, or None when nobody can know.
        size: (width, height) of the first frame. Folders and streams may change size on the way.
        live: whether frames come as time passes, and are gone when nobody looks.
    """

    def __init__(self, source: Source, every: int = 1, max_frames: int | None = None) -> None:
        self.name = source.name
        self.fps = None if source.fps is None else source.fps / every
        self.size = source.size
        self.live = source.live
        count = None if source.frame_count is None else -(-source.frame_count // every)
        known = [number for number in (count, max_frames) if number is not None]
        self.frame_count = min(known) if known else None
        self._source = source
        self._every = every
        self._max_frames = max_frames
        self._newest = Newest(source, every) if source.live else None
        self._finished = False
        self._frames = self._read()

    @property
    def warning(self) -> str | None:
        """What was lost, as one sentence, once all frames were read: damage, or a live stream that ended."""
        return self._source.warning if self._finished else None

    @property
    def complete(self) -> bool:
        """Whether reading came to its end (of the source, or ``max_frames``) and nothing was lost."""
        return self._finished and self._source.warning is None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that have not been read yet."""
        return self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Let a live source end in a moment, even while it is silent; a signal handler may call this."""
        if self._newest is not None:
            self._newest.stop()

    def close(self) -> None:
        """Let go of the file, camera or connection; may be called more than once."""
        self._frames.close()
        if self._newest is not None:
            self._newest.close()
        else:
            self._source.close()

    def _read(self) -> Generator[Frame, None, None]:
        given = 0
        for shot in self._shots():
            try:
                image = shot.load()
            except SparsightError:
                continue  # the source counts what is damaged and says so at the end
            yield Frame(image, shot.index, shot.time)
            given += 1
            if given == self._max_frames:
                break
        self._finished = True

    def _shots(self) -> Iterator[Shot]:
        if self._newest is not None:
            return self._newest.shots()
        return (shot for shot in self._source.shots() if shot.index % self._every == 0)


def open_video(source: str | Path, *, every: int = 1, max_frames: int | None = None) -> VideoReader:
    """Open a video for reading.

    Args:
        source: a video file, a folder of pictures (in natural order), the number of a camera (``"0"``), or an
            ``rtsp://``, ``http://`` or ``https://`` address.
        every: give each Nth frame only.
        max_frames: give this many frames at most.

    Raises:
        SparsightError: there is no such source, or it is not a video.
    """
    if every < 1 or (max_frames is not None and max_frames < 1):
        raise SparsightError(f"cannot take every {every}th frame up to {max_frames}: both must be 1 or more.")
    return VideoReader(_open(source), every, max_frames)


def _open(source: str | Path) -> Source:
    text = str(source)
    if re.fullmatch(r"[0-9]+", text):
        from sparsight.media.camera import CameraSource

        return CameraSource(int(text))
    from sparsight.media import ffmpeg

    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)
    if scheme is not None:
        if scheme[1].lower() not in ffmpeg.SCHEMES:
            known = ", ".join(f"{name}://" for name in ffmpeg.SCHEMES)
            raise SparsightError(
                f"addresses that begin with {scheme[1]}:// are not read: use {known} or a file."
            )
        return ffmpeg.open_url(text)
    path = Path(text).expanduser()
    if path.is_dir():
        from sparsight.media.folder import FolderSource

        return FolderSource(path)
    return ffmpeg.open_file(path)
