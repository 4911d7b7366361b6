from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import number, numbered

from sparsight import SparsightError
from sparsight.media import VideoWriter, open_video


def decoded(path: Path) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    """Frames and times as FFmpeg itself sees them."""
    with av.open(str(path)) as container:
        frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return [image for image, _ in frames], [float(stamp) for _, stamp in frames]


def write(path: Path, count: int = 30, fps: float = 10, size: tuple[int, int] = (64, 48)) -> None:
    with VideoWriter(path, fps, size) as writer:
        for image in numbered(count, size):
            writer.write(image)


def test_frames_and_times(tmp_path: Path) -> None:
    write(tmp_path / "out" / "a.mp4", 40, fps=12.5)
    images, times = decoded(tmp_path / "out" / "a.mp4")
    assert [number(image) for image in images] == [index % 32 for index in range(40)]
    np.testing.assert_allclose(times, np.arange(40) / 12.5, atol=1e-4)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.mp4"]


def test_plays_in_a_browser(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"ftyp") == 4 and content.index(b"moov") < content.index(b"mdat")  # fast start
    assert b"moof" not in content
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == 30 and stream.average_rate == 10


def test_colours(tmp_path: Path) -> None:
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)]
    image = np.repeat(np.repeat(np.array([palette], np.uint8), 48, axis=0), 32, axis=1)
    with VideoWriter(tmp_path / "a.mp4", 10, (32 * len(palette), 48)) as writer:
        for _ in range(5):
            writer.write(image)
    for seen in (decoded(tmp_path / "a.mp4")[0][2], list(open_video(tmp_path / "a.mp4"))[2].image):
        for index, colour in enumerate(palette):
            np.testing.assert_allclose(seen[24, 32 * index + 16].astype(int), colour, atol=6)


def test_given_times_are_kept_and_always_grow(tmp_path: Path) -> None:
    times = [7.0, 7.1, 7.5, 7.5, 7.2, 9.0]
    with VideoWriter(tmp_path / "a.mp4", 10, (64, 48)) as writer:
        for image, stamp in zip(numbered(6), times, strict=True):
            writer.write(image, stamp)
    seen = decoded(tmp_path / "a.mp4")[1]
    np.testing.assert_allclose(seen, [0, 0.1, 0.5, 0.5, 0.5, 2.0], atol=1e-3)
    assert (np.diff(seen) > 0).all()


def test_the_caller_may_change_the_frame_afterwards(tmp_path: Path) -> None:
    canvas = np.zeros((48, 64, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 10, (64, 48)) as writer:
        for index in range(20):
            canvas[:] = 8 * index
            writer.write(canvas)
            canvas[:] = 255
    assert [number(image) for image in decoded(tmp_path / "a.mp4")[0]] == list(range(20))


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (1, 1), (5, 2)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "a.mp4", 8, size=size)
    images, _ = decoded(tmp_path / "a.mp4")
    assert len(images) == 8
    assert images[0].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert [number(image) for image in images] == list(range(8))  # the added line repeats its neighbour


def test_frames_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10, (64, 48)) as writer:
        writer.write(np.full((96, 96, 3), 200, np.uint8))  # square: bars left and right
        writer.write(np.full((6, 64, 3), 200, np.uint8))  # flat: bars above and below
        writer.write(np.full((48, 64, 3), 200, np.uint8))
    square, flat, same = decoded(tmp_path / "a.mp4")[0]
    assert square[:, :6].max() < 30 and square[:, -6:].max() < 30 and square[:, 10:-10].min() > 180
    assert flat[:18].max() < 30 and flat[-18:].max() < 30 and flat[23:25].min() > 180
    assert same.min() > 180


@pytest.mark.parametrize(
    ("name", "fps", "size", "words"),
    [
        ("a.avi", 10, (64, 48), "end its name in .mp4"),
        ("a.mp4", 0, (64, 48), "frames per second"),
        ("a.mp4", float("nan"), (64, 48), "frames per second"),
        ("a.mp4", 10, (0, 48), "0x48"),
    ],
)
def test_impossible_films(tmp_path: Path, name: str, fps: float, size: tuple[int, int], words: str) -> None:
    with pytest.raises(SparsightError, match=words):
        VideoWriter(tmp_path / name, fps, size)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SparsightError, match=r"file/a\.mp4 cannot be written"):
        VideoWriter(tmp_path / "file" / "a.mp4", 10, (64, 48))


def test_a_size_that_the_encoder_refuses(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match=r"a\.mp4 cannot be written"):
        VideoWriter(tmp_path / "a.mp4", 10, (40_000, 40_000))
    assert list(tmp_path.iterdir()) == []


def test_closing(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 10, (64, 48))
    writer.write(numbered(1)[0])
    assert not (tmp_path / "a.mp4").exists() and writer.partial.exists()
    writer.close()
    writer.close()
    writer.abort()  # too late: the film is made
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(SparsightError, match="is closed"):
        writer.write(numbered(1)[0])


def test_a_film_without_frames_leaves_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.mp4", 10, (64, 48)).close()
    assert list(tmp_path.iterdir()) == []


def test_abort_leaves_the_old_film(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"old")
    writer = VideoWriter(tmp_path / "a.mp4", 10, (64, 48))
    for image in numbered(20):
        writer.write(image)
    writer.abort()
    writer.abort()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


def test_errors_abort_and_an_interrupt_finishes(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", 10, (64, 48)) as writer:
        writer.write(numbered(1)[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 10, (64, 48)) as writer:
        for image in numbered(7):
            writer.write(image)
        raise KeyboardInterrupt
    assert len(decoded(tmp_path / "a.mp4")[0]) == 7


def test_an_error_in_the_thread_comes_out_and_nobody_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_encode_one", full)
    writer = VideoWriter(tmp_path / "a.mp4", 10, (64, 48))
    with pytest.raises(SparsightError, match="cannot be written: no space left on device"):
        for _ in range(1000):
            writer.write(numbered(1)[0])
    with pytest.raises(SparsightError, match="no space left on device"):
        writer.close()
    assert not (tmp_path / "a.mp4").exists()


def run(program: str, folder: Path) -> subprocess.Popen[str]:
    header = """
        import sys
        from pathlib import Path
        import numpy as np
        from sparsight import SparsightError
        from sparsight.media import VideoWriter
        folder = Path(sys.argv[1])
        rng = np.random.default_rng(0)
    """
    code = textwrap.dedent(header) + textwrap.dedent(program)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("limit", [200_000, 4_000])
def test_full_disk(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands in for the end of the disk: the same calls fail."""
    pytest.importorskip("resource")
    process = run(
        f"""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        writer = VideoWriter(folder / "a.mp4", 10, (128, 96))
        count = 0
        try:
            for _ in range(400):
                writer.write(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
                count += 1
        except SparsightError as error:
            print("write:", error)
        try:
            writer.close()
        except SparsightError as error:
            print("close:", error)
        """,
        tmp_path,
    )
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and errors == ""
    lines = output.splitlines()
    assert [line.split(":")[0] for line in lines] == ["write", "close"]
    assert all("a.mp4 cannot be written: file too large" in line for line in lines)
    assert "a.partial.mp4" not in lines[0] and lines[1].endswith("what was written is in a.partial.mp4.")
    assert [file.name for file in tmp_path.iterdir()] == ["a.partial.mp4"]


def test_full_disk_while_finishing(tmp_path: Path) -> None:
    process = run(
        """
        import resource
        writer = VideoWriter(folder / "a.mp4", 10, (128, 96))
        for _ in range(50):
            writer.write(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
        finish = writer._finish
        def shrink():
            finish()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        writer._finish = shrink
        try:
            writer.close()
        except SparsightError as error:
            print(error)
        """,
        tmp_path,
    )
    output, errors = process.communicate(timeout=120)
    assert errors == ""
    assert "a.mp4 cannot be written: file too large, what was written is in a.partial.mp4" in output
    assert [file.name for file in tmp_path.iterdir()] == ["a.partial.mp4"]
    assert len(decoded(tmp_path / "a.partial.mp4")[0]) == 50


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_leaves_a_playable_film(tmp_path: Path) -> None:
    process = run(
        """
        writer = VideoWriter(folder / "a.mp4", 10, (64, 48))
        for index in range(10_000):
            writer.write(np.full((48, 64, 3), 8 * index % 256, np.uint8))
            if index == 120:
                print("now", flush=True)
            if index > 120:
                import time; time.sleep(0.02)
        """,
        tmp_path,
    )
    assert process.stdout is not None and process.stdout.readline() == "now\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [file.name for file in tmp_path.iterdir()] == ["a.partial.mp4"]
    frames = list(open_video(tmp_path / "a.partial.mp4"))
    assert len(frames) >= 60  # all but what the encoder looks ahead and the piece of a second in the making
    assert [number(frame.image) for frame in frames] == [index % 32 for index in range(len(frames))]
