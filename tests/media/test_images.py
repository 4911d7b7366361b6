from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.media import decode_image, encode_jpeg, read_image, write_image

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG file made by hand, so that its reader is not checked against its own writer."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def test_rgb_png_round_trip(tmp_path: Path) -> None:
    write_image(tmp_path / "new" / "a.png", PICTURE)
    image = read_image(tmp_path / "new" / "a.png")
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, PICTURE)


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.full((32, 48, 3), (200, 60, 20), np.uint8)
    write_image(tmp_path / "a.jpg", smooth)
    (tmp_path / "b.jpeg").write_bytes(encode_jpeg(smooth, quality=95))
    for name in ("a.jpg", "b.jpeg"):
        assert np.abs(read_image(tmp_path / name).astype(int) - smooth).max() <= 4


# The stored pixel grid of each orientation for the picture [[1, 2, 3], [4, 5, 6]] as it should be seen,
# written out from the table of Exif 2.32 (4.6.4, tag Orientation): which side row 0 and column 0 show.
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],  # row 0 top, column 0 left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # left, top
    6: [[3, 6], [2, 5], [1, 4]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[4, 1], [5, 2], [6, 3]],  # left, bottom
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored = np.array(STORED[orientation], np.uint8) * 40
    PIL.Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    seen = read_image(tmp_path / "a.png")
    assert seen.flags.c_contiguous
    np.testing.assert_array_equal(seen[:, :, 0], np.array([[1, 2, 3], [4, 5, 6]]) * 40)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_impossible_orientation_is_ignored(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(PICTURE).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)


def test_broken_exif_is_ignored(tmp_path: Path) -> None:
    PIL.Image.fromarray(PICTURE).save(tmp_path / "a.png", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff junk")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)


def test_grey(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(3, 1, 8, 0, bytes([0, 0, 100, 255])))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], [[0] * 3, [100] * 3, [255] * 3])


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    values = [0, 1, 128, 129, 257, 300, 32768, 65407, 65534, 65535]
    rows = b"\0" + struct.pack(f">{len(values)}H", *values)
    (tmp_path / "a.png").write_bytes(png(len(values), 1, 16, 0, rows))
    expected = [round(value / 65535 * 255) for value in values]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], [[value] * 3 for value in expected])


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_tiff(tmp_path: Path, order: str) -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    mark = b"II*\0" if order == "<u2" else b"MM\0*"
    end = "<" if order == "<u2" else ">"
    # An uncompressed TIFF by hand: header, pixels, one directory.
    tags = [(256, 3), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 6)]
    pixels = values.astype(order).tobytes() + b"\0\0"
    directory = struct.pack(f"{end}H", len(tags)) + b"".join(
        struct.pack(f"{end}HHII", tag, 4, 1, value) for tag, value in tags
    )
    (tmp_path / "a.tif").write_bytes(
        mark + struct.pack(f"{end}I", 8 + len(pixels)) + pixels + directory + b"\0" * 4
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], [[0] * 3, [1] * 3, [255] * 3])


def test_16_bit_rgb(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 0, 257 * 7, 65535, 257 * 200, 0, 257)
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, rows))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], [[0, 7, 255], [200, 0, 1]])


def test_values_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.array([[0.5, 2.0]], np.float32)).save(tmp_path / "f.tif")
    PIL.Image.fromarray(np.array([[5, 70000]], np.int32)).save(tmp_path / "i.tif")
    for name in ("f.tif", "i.tif"):
        with pytest.raises(SparsightError, match="convert it to 8 or 16 bits"):
            read_image(tmp_path / name)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rows = bytes([0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, 0, 128])  # red, clear blue, half black
    (tmp_path / "a.png").write_bytes(png(3, 1, 8, 6, rows))
    pixels = read_image(tmp_path / "a.png")[0].astype(int)
    np.testing.assert_allclose(pixels, [[255, 0, 0], [255] * 3, [127] * 3], atol=1)


def test_grey_with_transparency(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2, 1, 8, 4, bytes([0, 90, 255, 90, 0])))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], [[90] * 3, [255] * 3])


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putdata([0, 1])
    picture.save(tmp_path / "a.png", transparency=1)
    picture.save(tmp_path / "a.gif", transparency=1)
    for name in ("a.png", "a.gif"):
        np.testing.assert_array_equal(read_image(tmp_path / name)[0], [[10, 20, 30], [255, 255, 255]])


def test_bilevel(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], [[255] * 3, [0] * 3])


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255  # cyan
    inks[:, 16:, 3] = 255  # black
    picture = PIL.Image.frombytes("CMYK", (32, 16), inks.tobytes())
    picture.save(tmp_path / f"a{suffix}", quality=100)
    image = read_image(tmp_path / f"a{suffix}").astype(int)
    np.testing.assert_allclose(image[8, 4], [0, 255, 255], atol=4)
    np.testing.assert_allclose(image[8, 28], [0, 0, 0], atol=4)


def test_one_pixel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, 1, 8, 2, bytes([0, 1, 2, 3])))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[1, 2, 3]]])


def test_first_picture_of_an_animation(tmp_path: Path) -> None:
    red, blue = (PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif")[0, 0], [255, 0, 0])


def test_max_side(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], (200, 400, 3))
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, np.ascontiguousarray(ramp))
        small = read_image(tmp_path / name, max_side=40)
        assert small.shape == (20, 40, 3)
        np.testing.assert_allclose(small[10, :, 1], ramp[100, 5::10, 1], atol=6)
        assert read_image(tmp_path / name, max_side=4000).shape == (200, 400, 3)


def test_huge_pictures_are_refused_before_decoding(tmp_path: Path) -> None:
    for side in (13_000, 20_000):  # below and above what Pillow itself refuses
        (tmp_path / "a.png").write_bytes(png(side, side, 8, 2, b""))
        with pytest.raises(SparsightError, match=r"a\.png is larger than the 150 megapixels.*scale it down"):
            read_image(tmp_path / "a.png")


def test_a_large_picture_below_the_limit_warns_nobody(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 40)
    PIL.Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == PICTURE.shape
    assert not recwarn.list


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("this is not a picture")
    whole = encode_jpeg(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "run.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    os.mkfifo(tmp_path / "pipe.png")
    for name, words in {
        "empty.png": "empty file",
        "text.jpg": "not a picture that can be read",
        "cut.jpg": "damaged or cut short",
        "run.eps": "not a picture that can be read",
        "missing.png": "there is no file",
        "pipe.png": "not a regular file",
        ".": "is a folder",
        "nul\0.png": "cannot be read",
    }.items():
        with pytest.raises(SparsightError, match=words) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SparsightError, match=r"a\.png cannot be read: permission denied"):
        read_image(tmp_path / "a.png")


def samples() -> dict[str, bytes]:
    files = {}
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        stream = io.BytesIO()
        PIL.Image.fromarray(PICTURE).save(stream, kind)
        files[kind] = stream.getvalue()
    return files


SAMPLES = samples()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_damage_is_an_error_or_a_picture(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "a"
    file.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        image = read_image(file)
    except SparsightError:
        return
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def test_writing_refuses_other_endings(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match=r"end its name in \.png"):
        write_image(tmp_path / "a.bmp", PICTURE)


def test_a_failed_write_keeps_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", PICTURE)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", full)
    with pytest.raises(SparsightError, match="cannot be written: No space left"):
        write_image(tmp_path / "a.png", PICTURE[::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_bytes_decode_as_the_file_does(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    assert np.array_equal(decode_image(path.read_bytes(), "a.png"), read_image(path))
    with pytest.raises(SparsightError, match=r"inner/b\.png"):
        decode_image(b"nothing", "inner/b.png")
