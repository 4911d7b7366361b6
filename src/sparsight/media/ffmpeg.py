"""Video files and network streams, through FFmpeg."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sparsight.errors import SparsightError
from sparsight.media.images import Image
from sparsight.media.paths import check_file
from sparsight.media.source import Shot

SCHEMES = ("rtsp", "rtsps", "http", "https")

MAX_FRAME_PIXELS = 64_000_000
"""Videos with larger frames are refused: no camera films them, and a few of them fill the memory."""

OPEN_TIMEOUT = 5.0
READ_TIMEOUT = 10.0
"""Seconds that a network stream may stay silent while it is opened, and while it is read."""

# Containers of moving pictures only. FFmpeg would also "play" a text file, follow a list of other files and
# URLs, or run its own filter language.
_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,gif,apng,mjpeg,h264,hevc,m4v,mpegvideo,ivf,obu,nut,mxf,rm,wtv,dv,"
    "yuv4mpegpipe"
)
_NETWORK_FORMATS = f"{_FORMATS},rtsp,hls,mpjpeg,aac,mp3,ac3,webvtt"
_NETWORK_PROTOCOLS = "rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto"

_MAX_FAILED_READS = 1000
"""Reads in a row that may fail before a damaged file is given up."""

_FALLBACK_FPS = 25.0
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of a piece of music
_NO_ANSWER = "there is no answer, check the address and the network"


def open_file(path: Path) -> FFmpegSource:
    """Open a video file; no other file and no network address is touched, whatever it says.

    Raises:
        SparsightError: missing, empty, not a video, without pictures, or with frames that are too large.
    """
    check_file(path, "video")
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _FORMATS,
        "max_pixels": str(MAX_FRAME_PIXELS),
    }
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError):
        raise SparsightError(
            f"{path} is not a video that can be read: use a video file such as MP4, MKV, AVI or WebM."
        ) from None
    return FFmpegSource(container, label=str(path), name=path.stem, network=False)


def open_url(url: str) -> FFmpegSource:
    """Open an RTSP or HTTP(S) stream, or a video file at such an address.

    Names, passwords and query strings in the address never appear in a message.

    Raises:
        SparsightError: it cannot be reached in a few seconds, asks for a password, or is not a video.
    """
    parts = _split(url)
    label = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    options = {
        "protocol_whitelist": _NETWORK_PROTOCOLS,
        "format_whitelist": _NETWORK_FORMATS,
        "max_pixels": str(MAX_FRAME_PIXELS),
        "rtsp_flags": "prefer_tcp",  # over UDP a busy network tears pictures apart
    }
    start = time.monotonic()
    try:
        container = av.open(
            url, options=options, timeout=(OPEN_TIMEOUT, READ_TIMEOUT), metadata_errors="ignore"
        )
    except (av.error.FFmpegError, ValueError) as error:
        silent = time.monotonic() - start >= OPEN_TIMEOUT  # RTSP reports its own timeout as bad data
        reason = _NO_ANSWER if silent else _reason(error)
        raise SparsightError(f"{label} cannot be opened: {reason}.") from None
    name = re.sub(r"[^\w.-]+", "-", f"{parts.hostname}{parts.path}").strip("-")
    return FFmpegSource(container, label=label, name=name, network=True)


class FFmpegSource:
    """One video stream of an open container."""

    def __init__(self, container: InputContainer, *, label: str, name: str, network: bool) -> None:
        self.name = name
        self.warning: str | None = None
        self._label = label
        self._container = container
        self._damaged = False
        try:
            self._stream = self._choose_stream()
            self.live = network and container.duration is None
            self._stream.thread_type = "SLICE" if self.live else "AUTO"  # frame threads delay a live picture
            self._stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
            self.fps = _rate(self._stream)
            self._frames = self._decode()
            first = next(self._frames, None)
            if first is None:
                raise SparsightError(f"no frame of {label} can be decoded: export or record it again.")
            image = _to_rgb(first)
        except BaseException:
            container.close()
            raise
        self._first: VideoFrame | None = first
        self.size = (image.shape[1], image.shape[0])
        self._duration = self._seconds()
        frames = self._stream.frames or round((self._duration or 0) * (self.fps or 0))
        self.frame_count = frames or None

    def shots(self) -> Iterator[Shot]:
        """The frames by presentation time, which always grows, whatever the file says."""
        step = 1 / (self.fps or _FALLBACK_FPS)
        origin: float | None = None
        last = -step
        count = 0
        for frame in self._all_frames():
            stamp: float | None = frame.time
            if stamp is not None and origin is None:
                origin = stamp - last - step
            shown = last + step if stamp is None or origin is None else stamp - origin
            last = shown if shown > last else last + step
            yield Shot(count, last, partial(self._load, frame))
            count += 1
        self.warning = self._verdict(count, last)

    def close(self) -> None:
        """Close the file or connection."""
        self._frames.close()
        self._container.close()

    def _load(self, frame: VideoFrame) -> Image:
        try:
            return _to_rgb(frame)
        except SparsightError:
            self._damaged = True
            raise

    def _choose_stream(self) -> VideoStream:
        streams = [
            stream
            for stream in self._container.streams.video
            if stream.codec_context is not None and not stream.disposition.value & _ATTACHED_PICTURE
        ]
        if not streams:
            raise SparsightError(f"{self._label} holds no moving pictures: choose a file with a video track.")
        stream = streams[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_FRAME_PIXELS:
            raise SparsightError(
                f"the frames of {self._label} are {width}x{height}, "
                f"more than {MAX_FRAME_PIXELS // 1_000_000} megapixels: scale it down first."
            )
        return stream

    def _all_frames(self) -> Iterator[VideoFrame]:
        first, self._first = self._first, None
        if first is not None:
            yield first
            del first
        yield from self._frames

    def _decode(self) -> Generator[VideoFrame, None, None]:
        """Decode what can be decoded, stepping over damage."""
        failed = 0
        held: Packet[VideoStream] | None = None
        while failed < _MAX_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    failed = 0
                    # A corrupt packet at the very end is half a frame, and decoding it would cost the whole
                    # ones that wait in the decoder's threads: it is tried only if more follows.
                    if held is not None and packet.size:
                        yield from self._decode_packet(held)
                    held = packet if packet.is_corrupt else None
                    if held is None:
                        yield from self._decode_packet(packet)
                    else:
                        self._damaged = True
                return
            except (av.error.FFmpegError, ValueError) as error:
                # Reading failed, not decoding: go on behind the damage, if there is anything behind it.
                self._damaged = True
                failed += 1
                if not isinstance(error, av.error.InvalidDataError):
                    break
        yield from self._decode_packet(None)

    def _decode_packet(self, packet: Packet[VideoStream] | None) -> Iterator[VideoFrame]:
        try:
            frames = self._stream.decode(packet)
        except (av.error.FFmpegError, ValueError):
            self._damaged = True
            return
        for frame in frames:
            self._damaged |= frame.is_corrupt
            yield frame

    def _seconds(self) -> float | None:
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        alone = len(self._container.streams) == 1  # otherwise sound may make the container longer
        if alone and self._container.duration is not None:
            return self._container.duration / av.time_base
        return None

    def _verdict(self, count: int, last: float) -> str | None:
        """What was lost, given the number of frames and the time of the last one."""
        if self.live:
            return f"the stream {self._label} ended after {count} frames."
        duration = self._duration or 0.0
        interval = last / (count - 1) if count > 1 else duration
        if not self._damaged and duration - last <= max(5 * interval, 0.02 * duration):
            return None
        if self.frame_count is not None and count < self.frame_count:
            read = f"{count} of about {self.frame_count} frames were read"
            return f"{self._label} is damaged or cut short: {read}."
        return f"{self._label} is damaged: {count} frames were read."


def _to_rgb(frame: VideoFrame) -> Image:
    if frame.width * frame.height > MAX_FRAME_PIXELS:
        raise SparsightError(
            f"a frame of {frame.width}x{frame.height} is too large: scale the video down first."
        )
    try:
        image = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except (av.error.FFmpegError, ValueError) as error:
        raise SparsightError(f"a frame cannot be converted to RGB: {error}.") from None
    quarter_turns = round(frame.rotation / 90) % 4  # telephones film lying down and say so
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def _rate(stream: VideoStream) -> float | None:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.hostname and (parts.port is None or parts.port >= 0):
            return parts
    except ValueError:
        pass
    raise SparsightError("that network address cannot be understood: write it as rtsp://host:port/path.")


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return "it asks for a name and a password, put them before the host as name:password@host"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "the server knows no such path, check it"
    if isinstance(error, (av.error.TimeoutError, av.error.ExitError)):
        return _NO_ANSWER
    if isinstance(error, av.error.ConnectionRefusedError):
        return "the connection was refused, check the port and that the stream is running"
    if isinstance(error, av.error.InvalidDataError):
        return "what is sent there is not a video"
    text = getattr(error, "strerror", None) or "unknown trouble"
    return f"{text[0].lower()}{text[1:]}, check the address and the network"
