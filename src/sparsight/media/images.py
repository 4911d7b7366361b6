"""Still pictures: any common file in, RGB bytes out, and back."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Resampling

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.media.paths import check_file

Image: TypeAlias = NDArray[np.uint8]
"""A frame or picture: H×W×3, uint8, RGB."""

MAX_PIXELS = 150_000_000
"""Pictures with more pixels are refused before they are decoded (three bytes each, and copies)."""

JPEG_QUALITY = 90

# Raster formats only. Pillow knows others that run programs (EPS: Ghostscript) or that nobody films with.
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_EXIF_ORIENTATION = 0x0112


def read_image(path: str | os.PathLike[str], max_side: int | None = None) -> Image:
    """Read a picture as it is meant to be seen.

    EXIF rotation is applied; grey, palette, 16-bit grey (scaled to 8 bits) and CMYK become RGB; transparency
    is laid over white. Of an animation the first picture is taken. Colour profiles are not applied.

    Args:
        path: a JPEG, PNG, BMP, GIF, TIFF, WebP, PPM, JPEG 2000 or (where Pillow has it) AVIF file.
        max_side: scale down, keeping the shape, so that neither side is longer than this many pixels.

    Returns:
        H×W×3 uint8 RGB, contiguous.

    Raises:
        SparsightError: the file is missing, empty, cut short, not a picture, or over ``MAX_PIXELS``.
    """
    path = Path(path)
    check_file(path, "picture")
    return _read(path, path, max_side)


def decode_image(data: bytes, name: str, max_side: int | None = None) -> Image:
    """As ``read_image``, from the bytes of a file; ``name`` is what to call it in an error."""
    return _read(io.BytesIO(data), Path(name), max_side)


def _read(source: Path | io.BytesIO, path: Path, max_side: int | None) -> Image:
    """Decode ``source``; errors speak of ``path``."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is checked below, and of harmless flaws in metadata.
            warnings.simplefilter("ignore")
            return _decode(source, path, max_side)
    except SparsightError:
        raise
    except PIL.Image.DecompressionBombError:
        raise _too_large(path) from None
    except PIL.UnidentifiedImageError:
        raise SparsightError(
            f"{path} is not a picture that can be read: use a JPEG, PNG, BMP, GIF, TIFF or WebP file."
        ) from None
    except Exception as error:
        # Decoders of hostile or damaged files raise whatever their parser tripped over, not only OSError.
        raise SparsightError(f"{path} is damaged or cut short ({error}): copy or export it again.") from None


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Write ``image`` (H×W×3 uint8 RGB, or H×W grey) as PNG or JPEG, at once or not at all.

    Raises:
        SparsightError: the ending is neither .png, .jpg nor .jpeg, or the file cannot be written.
    """
    path = Path(path)
    kind = _WRITERS.get(path.suffix.lower())
    if kind is None:
        raise SparsightError(f"cannot write a picture as {path.name}: end its name in .png, .jpg or .jpeg.")
    try:
        with replacing(path) as temporary:
            PIL.Image.fromarray(image).save(temporary, kind, quality=JPEG_QUALITY)
    except OSError as error:
        raise SparsightError(f"{path} cannot be written: {error.strerror or error}.") from error


def encode_jpeg(image: Image, quality: int = JPEG_QUALITY) -> bytes:
    """The bytes of a JPEG file of ``image`` (H×W×3 uint8 RGB, or H×W grey), ``quality`` from 1 to 95."""
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _decode(source: Path | io.BytesIO, path: Path, max_side: int | None) -> Image:
    PIL.Image.init()
    known = [name for name in _FORMATS if name in PIL.Image.OPEN]
    with PIL.Image.open(source, formats=known) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise _too_large(path)
        if max_side is not None:
            picture.draft(None, (max_side, max_side))  # JPEG can decode at 1/2, 1/4 or 1/8
        picture.load()
        orientation = _orientation(picture)
        rgb = _to_rgb(picture, path)
    if max_side is not None and max(rgb.size) > max_side:
        rgb.thumbnail((max_side, max_side), Resampling.LANCZOS, reducing_gap=2.0)
    return np.ascontiguousarray(_upright(np.asarray(rgb), orientation))


def _to_rgb(picture: PIL.Image.Image, path: Path) -> PIL.Image.Image:
    if picture.mode.startswith(("I", "F")):
        return PIL.Image.fromarray(_to_8_bits(np.asarray(picture), path)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = PIL.Image.new("RGBA", picture.size, "white")
        return PIL.Image.alpha_composite(paper, picture).convert("RGB")
    return picture.convert("RGB")


def _to_8_bits(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    # 16-bit pictures arrive as uint16 or, from some files and older Pillows, as int32 in the same range.
    whole = values.astype(np.int64) if values.dtype.kind in "iu" else None
    if whole is None or whole.min() < 0 or whole.max() > 65535:
        raise SparsightError(
            f"{path} holds values beyond 16 bits: convert it to 8 or 16 bits per channel first."
        )
    scaled: NDArray[np.uint8] = ((whole * 255 + 32767) // 65535).astype(np.uint8)
    return scaled


def _orientation(picture: PIL.Image.Image) -> int:
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # broken metadata does not spoil the picture
        return 1


def _upright(image: Image, orientation: int) -> Image:
    """Undo an EXIF orientation (Exif 2.32, tag 274: where row 0 and column 0 of the stored picture lie)."""
    if orientation in (3, 4, 6, 7):
        image = image[::-1]
    if orientation in (2, 3, 7, 8):
        image = image[:, ::-1]
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    return image


def _too_large(path: Path) -> SparsightError:
    limit = MAX_PIXELS // 1_000_000
    return SparsightError(f"{path} is larger than the {limit} megapixels that are read: scale it down first.")
