"""Drawing on frames: boxes with labels, trails, saliency.

Pictures are H×W×3 uint8 RGB. Line widths and letters grow with the picture. Drawing calls of OpenCV take one
shape each, so there is one short loop over the shapes; everything that leads to them is done on arrays.
"""

from __future__ import annotations

import contextlib
import functools
import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from sparsight.media.images import Image

_OUTLINE = (16, 16, 16)
_LABEL_LENGTH = 32
_SUBPIXEL_BITS = 4
_TRAIL_OPACITY = 0.8
_TRAIL_GAP = 15  # updates; a longer absence breaks the line
_TONE_DOWN = 0.7  # brightness of a picture under a map; half of it keeps its colour
_GLOW_GAMMA = 0.7  # below 1, so that the middle of the map shows too
_GOLDEN = 0.6180339887498949
_SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf", "Helvetica.ttc")

# OKLab to linear sRGB (Björn Ottosson, 2020, "A perceptual color space for image processing").
_OKLAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def colours(identity: ArrayLike) -> NDArray[np.uint8]:
    """A colour for each identity, the same for ever, bright enough to stand out on film.

    Hues follow the golden ratio, so that neighbouring numbers look different; chroma is even in the OKLCH
    space, and lightness nearly so, so that none looks more important.

    Args:
        identity: (N,) integers.

    Returns:
        (N, 3) uint8 RGB.
    """
    number = np.asarray(identity, np.int64).reshape(-1)
    angle = 2 * np.pi * (number * _GOLDEN % 1.0)
    lightness = np.array([0.76, 0.84, 0.68])[number % 3]
    chroma = 0.16
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1)
    linear = np.clip((lab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * srgb), np.uint8)


def draw_boxes(
    image: Image, xyxy: NDArray[np.float32], identity: ArrayLike, labels: Sequence[str] | None = None
) -> Image:
    """Draw boxes on ``image`` itself and return it.

    Args:
        image: H×W×3 uint8 RGB, contiguous; ``image.copy()`` keeps the original.
        xyxy: (N, 4) boxes in pixels.
        identity: (N,) integers, each with its own colour.
        labels: N short texts; by default the identity's number. An empty text draws none.
    """
    height, width = image.shape[:2]
    number = np.asarray(identity, np.int64).reshape(-1)
    texts = [str(value) for value in number.tolist()] if labels is None else labels
    reach = max(width, height)
    boxes = np.clip(np.nan_to_num(np.asarray(xyxy, np.float32).reshape(-1, 4)), -reach, 2 * reach)
    corners = np.round(boxes).astype(np.int64) - [0, 0, 1, 1]  # the end is exclusive
    line = _line_width(image)
    letters = max(11, round(min(height, width) / 40))
    drawn = list(zip(corners.tolist(), colours(number).tolist(), texts, strict=True))
    for (left, top, right, bottom), colour, _ in drawn:
        # Upright lines are crisp without anti-aliasing, which would only blur them.
        cv2.rectangle(image, (left, top), (right, bottom), _OUTLINE, line + 2, cv2.LINE_8)
        cv2.rectangle(image, (left, top), (right, bottom), colour, line, cv2.LINE_8)
    for (left, top, _, _), colour, text in drawn:
        if text:
            _paste(image, _label(text, letters, tuple(colour)), left - line // 2, top - line // 2)
    return image


class Trails:
    """Where each identity stood (the middle of the lower edge of its box) in the last ``length`` updates."""

    def __init__(self, length: int = 48) -> None:
        """Args: length: how many updates a trail reaches back."""
        # One ring buffer for all: row = identity, column = update, NaN = not seen then.
        self._identity = np.zeros(0, np.int64)
        self._points = np.full((0, length, 2), np.nan, np.float32)
        self._column = 0

    def update(self, identity: ArrayLike, xyxy: NDArray[np.float32]) -> None:
        """Add one frame: the boxes (N, 4) of the identities (N,) seen in it, each at most once.

        Call it for frames without anybody too, so that old trails fade.
        """
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        sound = np.isfinite(boxes).all(axis=1)
        number, boxes = np.asarray(identity, np.int64).reshape(-1)[sound], boxes[sound]
        length = self._points.shape[1]
        self._column = (self._column + 1) % length
        self._points[:, self._column] = np.nan
        new = np.setdiff1d(number, self._identity)
        if len(new):
            self._identity = np.concatenate([self._identity, new])
            self._points = np.concatenate([self._points, np.full((len(new), length, 2), np.nan, np.float32)])
        order = np.argsort(self._identity)
        rows = order[np.searchsorted(self._identity, number, sorter=order)]
        self._points[rows, self._column] = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        alive = ~np.isnan(self._points[:, :, 0]).all(axis=1)
        if not alive.all():
            self._identity, self._points = self._identity[alive], self._points[alive]

    def draw(self, image: Image) -> Image:
        """Draw the trails on ``image`` (contiguous) itself, thinner the older, and return it."""
        row, start, end, thickness = self._segments(image)
        if not len(row):
            return image
        palette = colours(self._identity).tolist()
        layer = image.copy()
        # Pieces of one colour and thickness lie together: one call draws them all.
        group = row * (int(thickness.max()) + 1) + thickness
        order = np.argsort(group, kind="stable")
        cuts = np.flatnonzero(np.diff(group[order])) + 1
        pieces = np.stack([start, end], axis=1)
        for members in np.split(order, cuts):
            cv2.polylines(
                layer,
                list(pieces[members]),
                False,
                palette[row[members[0]]],
                int(thickness[members[0]]),
                cv2.LINE_AA,
                _SUBPIXEL_BITS,
            )
        cv2.addWeighted(layer, _TRAIL_OPACITY, image, 1 - _TRAIL_OPACITY, 0, dst=image)
        return image

    def _segments(
        self, image: Image
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Pieces of line: row of the identity, both ends in 1/16 pixel, thickness."""
        reach = 2.0 * max(image.shape[:2])
        points = np.roll(self._points, -(self._column + 1), axis=1)  # oldest first
        row, column = np.nonzero(~np.isnan(points[:, :, 0]))
        near = (np.diff(row) == 0) & (np.diff(column) <= _TRAIL_GAP)
        first, second = np.flatnonzero(near), np.flatnonzero(near) + 1
        place = np.clip(points[row, column], -reach, reach)
        fixed = np.round(place * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        age = column[second] / points.shape[1]  # 0 the oldest, 1 now
        thickness = np.maximum(1, np.round((0.5 + age) * _line_width(image))).astype(np.int64)
        return row[first], fixed[first], fixed[second], thickness


def heat(values: NDArray[np.floating]) -> Image:
    """A map in the colours of glowing iron ("inferno"): its least value black, its greatest pale yellow.

    Args:
        values: H×W of any range; not-a-number counts as the least. A constant map is black.

    Returns:
        H×W×3 uint8 RGB.
    """
    return _inferno(_to_bytes(values))


def overlay(image: Image, values: NDArray[np.floating], alpha: float = 0.85) -> Image:
    """``image``, toned down, under the glow of a map: the higher the map, the brighter and denser the glow.

    Args:
        image: H×W×3 uint8 RGB, not changed.
        values: a map of any size and range, stretched over the picture.
        alpha: opacity of the glow where the map is highest, from 0 to 1.

    Returns:
        H×W×3 uint8 RGB, a new picture.
    """
    height, width = image.shape[:2]
    level = _to_bytes(values)
    if level.shape != (height, width):
        level = np.asarray(cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    quiet = cv2.addWeighted(image, _TONE_DOWN / 2, grey, _TONE_DOWN / 2, 0)
    density = (alpha * np.linspace(0, 1, 256, dtype=np.float32) ** _GLOW_GAMMA).astype(np.float32)
    above = np.asarray(cv2.LUT(level, density), np.float32)
    return np.asarray(cv2.blendLinear(quiet, _inferno(level), 1 - above, above), np.uint8)


def beside(left: Image, right: Image) -> Image:
    """Two pictures side by side; the right one is scaled to the height of the left one."""
    height = left.shape[0]
    if right.shape[0] != height:
        width = max(1, round(right.shape[1] * height / right.shape[0]))
        right = np.asarray(cv2.resize(right, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.hstack([left, right])


def _line_width(image: Image) -> int:
    return max(1, round(int(min(image.shape[:2])) / 300))


def _to_bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Stretched from 0 to 255; not-a-number and minus infinity count as least, infinity as greatest."""
    clean = np.asarray(values, np.float32)
    low, high = float(clean.min()), float(clean.max())
    if not np.isfinite([low, high]).all():
        finite = clean[np.isfinite(clean)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        clean = np.nan_to_num(clean, nan=low, posinf=high, neginf=low)
    if high <= low:
        return np.zeros(clean.shape, np.uint8)
    scale = 255 / (high - low)
    return np.asarray(cv2.convertScaleAbs(clean, alpha=scale, beta=-low * scale), np.uint8)


def _inferno(level: NDArray[np.uint8]) -> Image:
    return np.asarray(
        cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB), np.uint8
    )


@functools.lru_cache(maxsize=1024)
def _label(text: str, letters: int, colour: tuple[int, int, int]) -> Image:
    """A small sign: ``text`` in black or white, whichever is easier to read on ``colour``."""
    if len(text) > _LABEL_LENGTH:
        text = f"{text[: _LABEL_LENGTH - 1].rstrip()}…"
    font, text = _font_for(text, letters)
    margin = max(2, letters // 4)
    box = font.getbbox(text)
    ascent, descent = font.getmetrics()
    size = (round(box[2] - box[0]) + 2 * margin + 1, ascent + descent + margin)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    sign = PillowImage.new("RGB", size, colour)
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    ImageDraw.Draw(sign).text((margin - box[0], margin / 2), text, font=font, fill=ink)
    return np.asarray(sign)


def _font_for(text: str, letters: int) -> tuple[ImageFont.FreeTypeFont, str]:
    """A font that has the letters of ``text``, or the text in letters that there is a font for.

    Pillow's own font has ASCII only; names in other letters need one from the system.
    """
    if text.isascii():
        return _own_font(letters), text
    font = _system_font(letters)
    if font is not None:
        return font, text
    plain = unicodedata.normalize("NFKD", text.replace("…", "...")).encode("ascii", "replace").decode()
    return _own_font(letters), plain


@functools.lru_cache(maxsize=16)
def _own_font(letters: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(letters)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@functools.lru_cache(maxsize=16)
def _system_font(letters: int) -> ImageFont.FreeTypeFont | None:
    for name in _SYSTEM_FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, letters)
    return None


def _paste(image: Image, sign: Image, left: int, bottom: int) -> None:
    """Put ``sign`` with its lower left corner at (left, bottom), moved inside the picture where it is not."""
    height, width = image.shape[:2]
    tall, wide = min(sign.shape[0], height), min(sign.shape[1], width)
    left = min(max(left, 0), width - wide)
    top = min(max(bottom - tall, 0), height - tall)
    image[top : top + tall, left : left + wide] = sign[:tall, :wide]
