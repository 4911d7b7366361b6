from __future__ import annotations

import contextlib
import http.server
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream
from films import make_film, number, numbered

from sparsight import SparsightError
from sparsight.media import VideoReader, ffmpeg, open_video, write_image
from sparsight.media.source import Shot


def sentence(source: str | Path, **options: Any) -> str:
    """The one sentence with which ``source`` is refused."""
    with pytest.raises(SparsightError) as caught:
        open_video(source, **options)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


# ---------------------------------------------------------------- files


def test_reads_every_frame_in_order(tmp_path: Path) -> None:
    film = make_film(tmp_path / "street.mp4", numbered(30))
    with open_video(film) as reader:
        assert (reader.name, reader.fps, reader.frame_count, reader.size, reader.live) == (
            "street",
            10.0,
            30,
            (64, 48),
            False,
        )
        assert not reader.complete and reader.warning is None
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(30))
    assert [number(frame.image) for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 10, atol=1e-6)
    assert all(frame.image.flags.c_contiguous and frame.image.dtype == np.uint8 for frame in frames)
    assert reader.complete and reader.warning is None


def test_a_reader_is_read_once_and_can_be_left_and_taken_up(tmp_path: Path) -> None:
    reader = open_video(make_film(tmp_path / "a.mp4", numbered(10)))
    assert [frame.index for frame in itertools.islice(reader, 4)] == [0, 1, 2, 3]
    assert [frame.index for frame in reader] == [4, 5, 6, 7, 8, 9]
    assert list(reader) == []
    reader.close()
    reader.close()


def test_every_and_max_frames(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", numbered(30))
    reader = open_video(film, every=4)
    assert reader.frame_count == 8 and reader.fps == 2.5
    frames = list(reader)
    assert (
        [number(frame.image) for frame in frames]
        == [frame.index for frame in frames]
        == list(range(0, 30, 4))
    )
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(0, 30, 4) / 10, atol=1e-6)
    reader = open_video(film, every=4, max_frames=3)
    assert reader.frame_count == 3
    assert [frame.index for frame in reader] == [0, 4, 8]
    assert reader.complete and reader.warning is None
    assert open_video(film, max_frames=500).frame_count == 30


@pytest.mark.parametrize("options", [{"every": 0}, {"max_frames": 0}, {"every": -1}])
def test_impossible_options(tmp_path: Path, options: dict[str, int]) -> None:
    assert "1 or more" in sentence(tmp_path, **options)


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.9, 1.0, 3.5]
    film = make_film(tmp_path / "a.mp4", numbered(6), times=times)
    np.testing.assert_allclose([frame.time for frame in open_video(film)], times, atol=1e-3)


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.ts", numbered(12), times=[5 + index / 10 for index in range(12)])
    np.testing.assert_allclose([frame.time for frame in open_video(film)], np.arange(12) / 10, atol=1e-3)


def test_times_grow_even_without_time_stamps(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.h264", numbered(12), format="h264")
    times = [frame.time for frame in open_video(film)]
    assert len(times) == 12 and times[0] == 0 and (np.diff(times) > 0).all()


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.mov", "mjpeg", "yuvj420p"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.mkv", "ffv1", "gray"),
        ("a.mp4", "libx264", "yuv444p"),
    ],
)
def test_containers_and_pixel_formats(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    film = make_film(tmp_path / name, numbered(12), codec=codec, pixels=pixels)
    reader = open_video(film)
    assert [number(frame.image) for frame in reader] == list(range(12))
    assert reader.complete, reader.warning


def test_colours_are_rgb(tmp_path: Path) -> None:
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, :32], image[:, 32:64], image[:, 64:] = (220, 30, 20), (20, 200, 40), (30, 40, 210)
    film = make_film(tmp_path / "a.mp4", [image] * 3)
    seen = next(iter(open_video(film))).image.astype(int)
    for column in (16, 48, 80):
        np.testing.assert_allclose(seen[24, column], image[24, column].astype(int), atol=6)


@pytest.mark.skipif(
    not hasattr(VideoStream, "set_display_rotation"), reason="this PyAV cannot write rotation"
)
@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_telephone_rotation(tmp_path: Path, rotation: int) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = 255  # a mark in the upper left corner of the stored picture
    film = make_film(tmp_path / "a.mp4", [image] * 3, rotation=rotation)
    reader = open_video(film)
    seen = next(iter(reader)).image
    # The display matrix turns counterclockwise (FFmpeg, libavutil/display.h).
    wanted = {90: (slice(-16, None), slice(0, 16)), -90: (slice(0, 16), slice(-16, None))}.get(
        rotation, (slice(-16, None), slice(-16, None))
    )
    assert seen.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    assert reader.size == (seen.shape[1], seen.shape[0])
    assert seen[wanted].mean() > 200 and seen.mean() < 60
    assert seen.flags.c_contiguous


def test_a_cut_film_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    for name, codec, options in [
        ("a.mp4", "libx264", {"options": {"movflags": "faststart"}}),
        ("a.avi", "mpeg4", {}),
        ("a.mkv", "libx264", {}),
    ]:
        film = make_film(tmp_path / name, noise, codec=codec, **options)
        content = film.read_bytes()
        film.write_bytes(content[: len(content) * 6 // 10])
        reader = open_video(film)
        frames = list(reader)
        with av.open(str(film)) as container:
            packets = 0
            with contextlib.suppress(av.error.InvalidDataError):
                for packet in container.demux(video=0):
                    packets += packet.size > 0 and not packet.is_corrupt
        assert 20 < len(frames) < 50 and abs(len(frames) - packets) <= 1
        assert not reader.complete
        assert reader.warning is not None and reader.warning.startswith(f"{film} is damaged or cut short: ")
        assert f"{len(frames)} of about 60 frames were read" in reader.warning


def test_damage_in_the_middle_is_stepped_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    for name, codec in [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.mp4", "libx264")]:
        film = make_film(tmp_path / name, noise, codec=codec)
        content = bytearray(film.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 4000] = bytes(rng.integers(0, 256, 4000, dtype=np.uint8))
        film.write_bytes(content)
        reader = open_video(film)
        frames = list(reader)
        assert frames[-1].time > 4.5, name  # it went on behind the damage
        assert (np.diff([frame.time for frame in frames]) > 0).all()
        if codec == "mpeg4" or name == "a.mp4":  # elsewhere FFmpeg mends the hole without a word
            assert not reader.complete and "damaged" in str(reader.warning), name


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello, this is a text and not a film\n" * 50)
    (tmp_path / "ansi.mp4").write_text("\x1b[2J\x1b[31mred" * 200)  # FFmpeg has a "demuxer" for terminals
    (tmp_path / "noise.mp4").write_bytes(os.urandom(50_000))
    os.mkfifo(tmp_path / "pipe.mp4")
    write_image(tmp_path / "picture.png", np.zeros((8, 8, 3), np.uint8))
    assert "empty file, not a video" in sentence(tmp_path / "empty.mp4")
    for name in ("text.mp4", "ansi.mp4", "noise.mp4", "picture.png"):
        text = sentence(tmp_path / name)
        assert name in text and "is not a video that can be read" in text
    assert "there is no file" in sentence(tmp_path / "missing.mp4")
    assert "not a regular file" in sentence(tmp_path / "pipe.mp4")
    assert "not a regular file" in sentence("/dev/zero")


def test_moov_missing(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", numbered(30))
    content = film.read_bytes()
    film.write_bytes(content[: content.index(b"moov")])
    assert "a.mp4 is not a video that can be read" in sentence(film)


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "holds no moving pictures" in sentence(tmp_path / "a.mp4")


def test_too_large_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(tmp_path / "a.mp4", numbered(3))
    monkeypatch.setattr(ffmpeg, "MAX_FRAME_PIXELS", 64 * 48 - 1)
    assert "scale it down" in sentence(film) or "not a video" in sentence(film)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.mp4", "ffconcat version 1.0\nfile 'secret.mp4'\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://127.0.0.1:{port}/x.ts\n"),
        (
            "list.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        ),
        ("list.mpd", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'),
    ],
)
def test_a_playlist_cannot_open_other_files_or_addresses(tmp_path: Path, name: str, content: str) -> None:
    make_film(tmp_path / "secret.mp4", numbered(10))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        (tmp_path / name).write_text(content.replace("{port}", str(server.getsockname()[1])))
        assert "is not a video that can be read" in sentence(tmp_path / name)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("name", ["concat:a.mp4", "pipe:0", "data:text", "lavfi:testsrc", "file:a.mp4"])
def test_names_are_never_taken_for_ffmpeg_protocols(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "a.mp4", numbered(3))
    assert "there is no file" in sentence(name)
    (tmp_path / "a.mp4").rename(tmp_path / name)
    assert len(list(open_video(name))) == 3


def test_memory_is_flat_over_ten_thousand_frames(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", numbered(500))

    def read_all(times: int) -> int:
        count = 0
        for _ in range(times):
            with open_video(film) as reader:
                count += sum(1 for _ in reader)
        return count

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    read_all(2)
    before = resident()
    assert read_all(20) == 10_000
    assert resident() - before < 15_000_000  # a sixth of what the frames would take


# ---------------------------------------------------------------- folders


def save_numbered(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, numbered(len(names)), strict=True):
        write_image(folder / name, image)


def test_folder_in_natural_order(tmp_path: Path) -> None:
    save_numbered(tmp_path / "walk", [f"frame{index}.png" for index in range(12)])
    (tmp_path / "walk" / "notes.txt").write_text("x")
    (tmp_path / "walk" / "._frame0.png").write_bytes(b"x")
    (tmp_path / "walk" / "deeper.png").mkdir()
    reader = open_video(tmp_path / "walk")
    assert (reader.name, reader.fps, reader.frame_count, reader.size) == ("walk", 25.0, 12, (64, 48))
    frames = list(reader)
    assert [number(frame.image) for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 25)
    assert reader.complete


def test_motchallenge_sequence(tmp_path: Path) -> None:
    save_numbered(tmp_path / "TUD" / "img1", [f"{index:06}.jpg" for index in range(1, 6)])
    (tmp_path / "TUD" / "seqinfo.ini").write_text("[Sequence]\nname=TUD\nframeRate=7\n")
    for folder in (tmp_path / "TUD", tmp_path / "TUD" / "img1"):
        reader = open_video(str(folder), every=2)
        assert (reader.name, reader.fps, reader.frame_count) == ("TUD", 3.5, 3)
        assert [(frame.index, round(frame.time * 7)) for frame in reader] == [(0, 0), (2, 2), (4, 4)]


@pytest.mark.parametrize(
    "text", ["[Sequence]\nframeRate=fast\n", "frameRate=3", "[Sequence]\nframeRate=0\n", "\0"]
)
def test_bad_seqinfo_is_ignored(tmp_path: Path, text: str) -> None:
    save_numbered(tmp_path, ["1.png"])
    (tmp_path / "seqinfo.ini").write_text(text)
    assert open_video(tmp_path).fps == 25.0


def test_pictures_keep_their_size(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", np.zeros((10, 20, 3), np.uint8))
    write_image(tmp_path / "2.png", np.zeros((30, 5, 3), np.uint8))
    reader = open_video(tmp_path)
    assert reader.size == (20, 10)
    assert [frame.image.shape for frame in reader] == [(10, 20, 3), (30, 5, 3)]


def test_a_bad_picture_is_left_out(tmp_path: Path) -> None:
    save_numbered(tmp_path, [f"{index}.png" for index in range(5)])
    (tmp_path / "0.png").write_text("x")
    (tmp_path / "3.png").write_text("x")
    reader = open_video(tmp_path)
    assert [frame.index for frame in reader] == [1, 2, 4]
    assert not reader.complete
    assert "2 of the 5 pictures" in str(reader.warning) and "the first is 0.png" in str(reader.warning)


def test_folders_without_pictures(tmp_path: Path) -> None:
    assert "there are no pictures" in sentence(tmp_path)
    (tmp_path / "1.png").write_text("x")
    assert "none of the pictures" in sentence(tmp_path)


# ---------------------------------------------------------------- cameras


class FakeCamera:
    """Stands in for OpenCV's: gives ``count`` pictures, then fails like an unplugged camera."""

    opened = True
    count = 5
    pause = 0.02

    def __init__(self, index: int) -> None:
        self.index = index
        self.given = -1  # the first picture only tells the size
        self.released = False
        FakeCamera.last = self

    def isOpened(self) -> bool:
        return self.opened

    def read(self) -> tuple[bool, Any]:
        if self.given >= self.count:
            return False, None
        time.sleep(self.pause)
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, :, 0] = 8 * max(self.given, 0) % 256  # blue, in OpenCV's order
        self.given += 1
        return True, picture

    def get(self, _: int) -> float:
        return 30.0

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    return FakeCamera


def test_camera(camera: type[FakeCamera]) -> None:
    with open_video("3") as reader:
        assert (reader.name, reader.fps, reader.size, reader.live) == ("camera3", 30.0, (64, 48), True)
        assert reader.frame_count is None
        frames = list(reader)
    assert camera.last.index == 3 and camera.last.released
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    for frame in frames:
        assert frame.image[0, 0].tolist() == [0, 0, 8 * frame.index]
    assert (np.diff([frame.time for frame in frames]) > 0).all()
    assert not reader.complete
    assert reader.warning == "camera 3 stopped after 5 frames: check its cable."


def test_a_slow_consumer_sees_the_newest_picture(
    camera: type[FakeCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "count", 10_000)
    monkeypatch.setattr(camera, "pause", 0.001)
    with open_video("0", every=2, max_frames=6) as reader:
        assert reader.frame_count == 6
        lag = []
        for frame in reader:
            assert frame.index % 2 == 0
            time.sleep(0.05)
            lag.append(frame.index)
    assert len(lag) == 6
    assert (np.diff(lag) > 4).all()  # pictures were skipped instead of queued
    assert camera.last.released
    assert camera.last.given < 9_000  # closing stopped the thread


def test_camera_that_does_not_open(monkeypatch: pytest.MonkeyPatch, camera: type[FakeCamera]) -> None:
    monkeypatch.setattr(camera, "opened", False)
    text = sentence("7")
    assert "camera 7 does not open" in text and "no other program uses it" in text
    monkeypatch.setattr(camera, "opened", True)
    monkeypatch.setattr(camera, "count", -1)
    assert "camera 0 does not open" in sentence("0")


@pytest.mark.skipif(bool(list(Path("/dev").glob("video*"))), reason="this machine has a camera")
def test_a_missing_camera_says_nothing_on_stderr() -> None:
    program = (
        "from sparsight import SparsightError, media\n"
        "for index in ('0', '41', '99999999999999999999'):\n"
        "    try: media.open_video(index)\n"
        "    except SparsightError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.count("does not open") == 3
    assert done.stderr == ""


def test_an_error_in_the_thread_reaches_the_consumer() -> None:
    class Broken:
        name, fps, frame_count, size, live, warning = "broken", None, None, (1, 1), True, None

        def shots(self) -> Iterator[Shot]:
            raise RuntimeError("a bug")

        def close(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="a bug"):
        list(VideoReader(Broken()))


def test_a_silent_camera_can_be_stopped() -> None:
    silence = threading.Event()

    class Silent:
        name, fps, frame_count, size, live, warning = "silent", None, None, (1, 1), True, None

        def shots(self) -> Iterator[Shot]:
            yield Shot(0, 0.0, lambda: np.zeros((1, 1, 3), np.uint8))
            silence.wait(60)

        def close(self) -> None:
            pass

    reader = VideoReader(Silent())
    before = signal.signal(signal.SIGALRM, lambda *_: reader.stop())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        assert len(list(reader)) == 1
        assert not silence.is_set()
    finally:
        signal.signal(signal.SIGALRM, before)
        silence.set()
        reader.close()


# ---------------------------------------------------------------- network


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.startswith("/locked"):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
            elif self.path.startswith("/live"):
                self.live()
            else:
                super().do_GET()

        def live(self) -> None:
            """A motion JPEG camera of twenty pictures."""
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
            self.end_headers()
            from sparsight.media import encode_jpeg

            for image in numbered(20):
                data = encode_jpeg(image)
                head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.01)

    handler = partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as instance:
        threading.Thread(target=instance.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{instance.server_address[1]}"
        instance.shutdown()


def test_a_film_on_a_server_is_read_whole(tmp_path: Path, server: str) -> None:
    make_film(tmp_path / "a.mp4", numbered(30))
    reader = open_video(f"http://user:secret@{server}/a.mp4?token=secret")
    assert not reader.live and reader.frame_count == 30
    assert "secret" not in reader.name and reader.name.endswith("a.mp4")
    assert [number(frame.image) for frame in reader] == list(range(30))
    assert reader.complete


def test_a_live_stream_ends_with_a_warning(server: str) -> None:
    with open_video(f"http://user:secret@{server}/live") as reader:
        assert reader.live and reader.size == (64, 48)
        frames = list(reader)
    assert frames and [number(frame.image) for frame in frames] == [frame.index for frame in frames]
    assert not reader.complete
    assert reader.warning == f"the stream http://{server}/live ended after 20 frames."


def test_addresses_that_fail(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.mp4").write_text("no film" * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ffmpeg, "OPEN_TIMEOUT", 0.3)
        silent = [
            sentence(f"{scheme}://u:secret@127.0.0.1:{port}/x?key=secret") for scheme in ("rtsp", "http")
        ]
    for text in silent:
        assert "no answer" in text
    texts = [
        *silent,
        sentence(f"rtsp://u:secret@127.0.0.1:{port}/x"),
        sentence(f"http://u:secret@{server}/none.mp4"),
        sentence(f"http://u:secret@{server}/locked"),
        sentence(f"http://u:secret@{server}/text.mp4"),
        sentence("rtsp://u:secret@nowhere.invalid/x"),
        sentence("rtsp://u:secret@host:port/x"),
        sentence("http://"),
        sentence("ftp://u:secret@host/x"),
    ]
    assert not any("secret" in text for text in texts)
    assert "refused" in texts[2]
    assert "no such path" in texts[3]
    assert "a name and a password" in texts[4]
    assert "not a video" in texts[5]
    assert "cannot be understood" in texts[7] and "cannot be understood" in texts[8]
    assert "rtsp://" in texts[9]


def test_a_playlist_on_a_server_cannot_read_local_files(tmp_path: Path, server: str) -> None:
    secret = make_film(tmp_path / "secret.ts", numbered(10))
    for address in (f"file://{secret}", str(secret)):
        (tmp_path / "list.m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{address}\n#EXT-X-ENDLIST\n"
        )
        assert "cannot be opened" in sentence(f"http://{server}/list.m3u8")
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.ts\n#EXT-X-ENDLIST\n"
    )
    assert len(list(open_video(f"http://{server}/list.m3u8"))) == 10  # what it may do works


class RtspCamera:
    """A network camera: an RTSP server (RFC 2326) of one H.264 stream, interleaved in the TCP connection.

    FFmpeg's RTP muxer cuts the film into packets and sends them to a local UDP port, from where they are
    passed on. After ``count`` frames the camera hangs up.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.requests: list[str] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        connection, _ = self.server.accept()
        sdp = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
            "a=framerate:10\r\na=control:track1\r\n"
        )
        answers = {
            "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY", ""),
            "DESCRIBE": ("Content-Type: application/sdp", sdp),
            "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1", ""),
            "PLAY": ("Session: 1", ""),
        }
        with connection, connection.makefile("rb") as stream:
            for line in stream:
                method = line.split(b" ")[0].decode()
                headers = [header.decode().strip() for header in iter(stream.readline, b"\r\n")]
                self.requests.append(method)
                number = next(text for text in headers if text.lower().startswith("cseq"))
                extra, body = answers.get(method, ("Session: 1", ""))
                head = ["RTSP/1.0 200 OK", number, extra, f"Content-Length: {len(body)}", "", body]
                connection.sendall("\r\n".join(head).encode())
                if method == "PLAY":
                    self.play(connection)
                    break

    def play(self, connection: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
            relay.bind(("127.0.0.1", 0))
            relay.setblocking(False)
            target = f"rtp://127.0.0.1:{relay.getsockname()[1]}?pkt_size=1200"
            with av.open(target, "w", format="rtp") as output:
                stream: Any = output.add_stream("libx264", rate=10, options={"tune": "zerolatency", "g": "5"})
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for index, image in enumerate(numbered(self.count)):
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                    frame.pts, frame.time_base = index, Fraction(1, 10)
                    output.mux(stream.encode(frame))
                    time.sleep(0.02)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            packet = relay.recv(2000)
                            connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)


def test_rtsp_camera() -> None:
    camera = RtspCamera(60)
    with open_video(f"rtsp://user:secret@{camera.address}/ch1") as reader:
        assert reader.live and reader.size == (64, 48) and reader.frame_count is None
        assert reader.name.endswith("-ch1") and "secret" not in reader.name
        frames = list(reader)
    assert camera.requests[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert len(frames) > 10
    shown = np.array([number(frame.image) for frame in frames])
    np.testing.assert_array_equal(np.diff(shown) % 32, np.diff([frame.index for frame in frames]))
    np.testing.assert_allclose(
        np.diff([frame.time for frame in frames]), np.diff([frame.index for frame in frames]) / 10, atol=0.01
    )
    assert not reader.complete
    assert str(reader.warning).startswith(f"the stream rtsp://{camera.address}/ch1 ended after ")
