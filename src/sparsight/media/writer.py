"""Moving pictures out: H.264 in MP4, as every browser plays it."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import av.error
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.media.images import Image

if TYPE_CHECKING:
    from typing_extensions import Self

# Measured on a surveillance video: x264 at veryfast takes two to three times as long as at ultrafast, in its
# own thread, and writes a third of the bytes. No B-frames: they would shift the first frame's time and tear
# the end of a film whose writer was killed. One thread, because the others have networks to run.
_ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "24", "bf": "0"},
    "libopenh264": {},
    "h264_videotoolbox": {},
    "h264_mf": {},
}
_TICKS = 90_000  # per second
_QUEUE = 4  # frames; enough to smooth over a key frame, little enough to hold in memory at 4K
_BT601 = 6  # AVCOL_SPC_SMPTE170M and AVCOL_PRI_SMPTE170M: what OpenCV's conversion to YUV makes
_LIMITED_RANGE = 1


class VideoWriter:
    """Writes an MP4 file that plays in a browser, encoding in a thread of its own.

    While it is written, the film lies in ``NAME.partial.mp4`` in pieces of one second, each playable as soon
    as it is there, so that a killed process loses little. ``close`` puts it in order without encoding it
    again and gives it its name. As a context manager it closes at the end and on Ctrl-C, and aborts on other
    errors.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int]) -> None:
        """Begin a film; nothing is written to ``path`` before ``close``.

        Args:
            path: ends in ``.mp4``; its folder is made if it does not exist.
            fps: frames per second, used for frames written without a time.
            size: (width, height); an odd side grows by one pixel, because H.264 halves the colour.

        Raises:
            SparsightError: another ending, an impossible rate or size, or a folder that cannot be written.
        """
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise SparsightError(f"cannot write a film as {self.path.name}: end its name in .mp4.")
        if not (math.isfinite(fps) and 0 < fps <= 1000):
            raise SparsightError(f"a film cannot have {fps} frames per second: give a number up to 1000.")
        if min(size) < 1:
            raise SparsightError(f"a film cannot have frames of {size[0]}x{size[1]}: both must be 1 or more.")
        self.fps = fps
        self.size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self.partial = self.path.with_name(f"{self.path.stem}.partial.mp4")
        self._count = 0
        self._origin = 0.0
        self._tick = -1
        self._error: Exception | None = None
        self._closed = False
        self._queue: queue.Queue[tuple[NDArray[np.uint8], int] | None] = queue.Queue(_QUEUE)
        self._open()
        self._thread = threading.Thread(target=self._encode, name=f"write {self.path.name}", daemon=True)
        self._thread.start()

    def write(self, image: Image, time: float | None = None) -> None:
        """Add a frame; waits only while the encoder is behind by several frames.

        Args:
            image: H×W×3 uint8 RGB; it may be changed afterwards. One of another size is fitted into the
                film's with black bars.
            time: when it is shown, in seconds; the first frame's counts as the start. By default frames
                follow one another at ``fps``. A frame that is not later than the one before comes right
                behind it.

        Raises:
            SparsightError: the film cannot be written (a full disk, say), or is closed.
        """
        if self._closed:
            raise SparsightError(f"the film {self.path} is closed: begin a new one.")
        if self._error is not None:
            raise self._trouble(self._error) from self._error
        if time is None:
            time = self._count / self.fps
        elif self._count == 0:
            self._origin = time
        self._tick = max(self._tick + 1, round((time - self._origin) * _TICKS))
        self._count += 1
        # Converted here and not in the thread: it costs no more than the copy that would be due, and the
        # queue then holds half the bytes.
        planes = cv2.cvtColor(self._fit(image), cv2.COLOR_RGB2YUV_I420)
        self._queue.put((np.asarray(planes, np.uint8), self._tick))

    def close(self) -> None:
        """Finish the film and give it its name; a film without frames leaves no file.

        Raises:
            SparsightError: it cannot be written; what was written stays in ``partial``.
        """
        if self._closed:
            return
        self._finish()
        if self._error is not None:
            raise self._trouble(self._error, kept=self.partial.exists()) from self._error
        if self._count:
            try:
                self._remux()
            except (OSError, av.error.FFmpegError) as error:
                raise self._trouble(error, kept=True) from error
        self.partial.unlink(missing_ok=True)

    def abort(self) -> None:
        """Give the film up and leave no file behind."""
        if not self._closed:
            self._error = self._error or InterruptedError("aborted")
            self._finish()
        self.partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.abort()

    def _open(self) -> None:
        options: dict[str, str] = {
            "movflags": "empty_moov+default_base_moof",
            "frag_duration": "1000000",  # microseconds
            "flush_packets": "1",
        }
        encoder = next((name for name in _ENCODERS if name in av.codecs_available), None)
        if encoder is None:
            raise SparsightError("this FFmpeg has no H.264 encoder: install the package av from PyPI.")
        try:
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self.partial), "w", format="mp4", options=options)
            rate = Fraction(self.fps).limit_denominator(1001)
            stream = self._container.add_stream(encoder, rate=rate, options=_ENCODERS[encoder])
            self._stream = cast(VideoStream, stream)
            self._stream.width, self._stream.height = self.size
            self._stream.pix_fmt = "yuv420p"
            self._stream.thread_count = 1
            context = self._stream.codec_context
            context.time_base = Fraction(1, _TICKS)
            context.colorspace = context.color_primaries = context.color_trc = _BT601
            context.color_range = _LIMITED_RANGE
            self._container.start_encoding()
        except (OSError, av.error.FFmpegError) as error:
            with contextlib.suppress(OSError):
                self.partial.unlink(missing_ok=True)
            raise self._trouble(error) from error

    def _encode(self) -> None:
        """The thread: encode what comes; after an error only empty the queue, so that nobody waits."""
        while (item := self._queue.get()) is not None:
            if self._error is None:
                self._try(self._encode_one, *item)
        if self._error is None:
            self._try(self._mux, None)
        self._try(self._container.close)

    def _try(self, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:  # shown by the next write or close
            self._error = self._error or error

    def _encode_one(self, planes: NDArray[np.uint8], tick: int) -> None:
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = tick
        frame.time_base = Fraction(1, _TICKS)
        self._mux(frame)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        self._container.mux(self._stream.encode(frame))

    def _finish(self) -> None:
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _remux(self) -> None:
        with (
            replacing(self.path) as temporary,
            av.open(str(self.partial)) as source,
            av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:  # the last one only says that there are no more
                    packet.stream = stream
                    target.mux(packet)

    def _fit(self, image: Image) -> NDArray[Any]:
        """``image`` in the film's size: an odd side repeats its last line, another size gets black bars."""
        height, width = image.shape[:2]
        right, bottom = self.size[0] - width, self.size[1] - height
        if right == bottom == 0:
            return image
        if right in (0, 1) and bottom in (0, 1):
            return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        scale = min(self.size[0] / width, self.size[1] / height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (self.size[0] - inner[0]) // 2, (self.size[1] - inner[1]) // 2
        scaled = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        canvas = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        canvas[top : top + inner[1], left : left + inner[0]] = scaled
        return canvas

    def _trouble(self, error: Exception, kept: bool = False) -> SparsightError:
        reason = getattr(error, "strerror", None) or str(error)
        where = f", what was written is in {self.partial.name}" if kept else ""
        return SparsightError(f"the film {self.path} cannot be written: {reason.lower()}{where}.")
