"""Why a place is salient, on one sheet: the picture, its map, levels, layers and strongest channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from sparsight.errors import SparsightError
from sparsight.media import Image, heat, overlay
from sparsight.saliency.levels import minmax, resize
from sparsight.saliency.result import Channel, Map, SaliencyResult

CHANNELS = 10
"""How many channels a sheet shows."""

_WIDTH = 1280
_MARGIN = 24
_GAP = 12
_PAPER, _INK, _PALE, _MARK = (250, 249, 246), (32, 33, 36), (110, 112, 118), (0, 229, 255)
_SMALLEST = 1e-3  # shares are shown to a tenth of a percent


@dataclass(frozen=True, eq=False)
class _Tile:
    """A picture with a heading and a line below it."""

    picture: Image
    heading: str
    note: str


_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Row: TypeAlias = tuple[str, list[_Tile], int]
"""A title, the tiles, and how many stand beside one another."""


def explain(result: SaliencyResult, x: int | None = None, y: int | None = None, *, title: str = "") -> Image:
    """Draw how a saliency map came about.

    From the top: the title; the picture, the map over it and the map alone, with the point marked; each level
    with its weight; each layer with its weight within its level and the level's name; the ten channels that
    add most to the map at the point, each over the picture, with its share of the map's value there. What a
    model does not have is left out.

    Args:
        result: with its picture (``result.image``), as ``predict`` gives it for any model.
        x, y: the point, in pixels of the picture; by default where the map is highest.
        title: what the picture and the model are called, in the sheet's head; empty for none.

    Returns:
        H×1280×3 uint8 RGB.

    Raises:
        SparsightError: the result holds no picture, one of ``x`` and ``y`` is missing, or the point lies
            outside.
    """
    image = result.image
    if image is None:
        raise SparsightError(
            "this saliency map holds no picture to explain: get it by predict(model, image, name)."
        )
    if (x is None) != (y is None):
        raise SparsightError("a point to explain has two coordinates: give both x and y, or neither.")
    if x is None or y is None:
        y, x = (int(place) for place in np.unravel_index(int(result.map.argmax()), result.map.shape))
    height, width = result.map.shape
    if not (0 <= x < width and 0 <= y < height):
        raise SparsightError(f"the point {x},{y} lies outside the picture of {width}x{height}.")
    channels = [] if result.strongest is None else result.strongest(x, y, CHANNELS)
    return _sheet(_rows(result, image, channels, (x, y)), title, _heading(result, (x, y)))


def _heading(result: SaliencyResult, point: tuple[int, int]) -> str:
    x, y = point
    done = "; ".join(result.processing) or "none"
    return f"At ({x}, {y}) the map is {result.map[y, x] / result.top:.2f} of 1.  Processing: {done}."


def _rows(
    result: SaliencyResult, image: Image, channels: list[Channel], point: tuple[int, int]
) -> list[_Row]:
    rows: list[_Row] = [
        (
            "The picture and its saliency",
            [
                _Tile(_marked(image, image.shape[:2], point), "picture", "the ring marks the point"),
                _Tile(_marked(overlay(image, result.map), image.shape[:2], point), "saliency over it", ""),
                _Tile(_marked(heat(result.map), image.shape[:2], point), "saliency", "pale: draws the eye"),
            ],
            3,
        )
    ]
    if result.levels:
        # A model that gives no weights does something else with its levels than to add them.
        weighed = bool(result.level_weights)
        tiles = [
            _Tile(
                _map(image, level),
                name,
                f"weight {result.level_weights.get(name, 1.0):.2f}" if weighed else "",
            )
            for name, level in result.levels.items()
        ]
        title = "Levels, from fine to coarse: added by their weights, they make the map"
        rows.append((title if weighed else "The maps that it was made of", tiles, 5))
    if result.layers:
        tiles = [
            _Tile(
                _map(image, layer),
                name,
                f"weight {result.weights.get(name, 1.0):.2f} in {result.layer_levels.get(name, 'its level')}",
            )
            for name, layer in result.layers.items()
        ]
        rows.append(
            ("Layers of the network: where their features are rare", tiles, 7 if len(tiles) > 10 else 5)
        )
    if channels:
        shown = sum(channel.share for channel in channels)
        tiles = [
            _Tile(
                # The root shows the weaker places of maps that are zero almost everywhere.
                _marked(overlay(image, np.sqrt(_enlarged(image, channel.map))), image.shape[:2], point),
                f"{channel.layer}  {channel.index}",
                f"{channel.share:.1%} of the value" if channel.share >= _SMALLEST else "under 0.1%",
            )
            for channel in channels
        ]
        title = f"The {len(tiles)} channels that add most at the point ({shown:.0%} of its value together)"
        rows.append((title, tiles, 5))
    return rows


def _enlarged(image: Image, values: Map) -> Map:
    """A map on the picture's grid, smooth where a node covers many pixels."""
    return resize(minmax(values), image.shape[:2])


def _map(image: Image, values: Map) -> Image:
    return heat(_enlarged(image, values))


def _marked(picture: Image, shape: tuple[int, ...], point: tuple[int, int]) -> Image:
    """``picture`` with a ring about ``point``, as large as the picture is, to show when it is scaled down."""
    marked = np.array(picture, np.uint8)
    radius = max(3, round(min(shape) / 28))
    line = max(1, radius // 4)
    cv2.circle(marked, point, radius, (0, 0, 0), 3 * line, cv2.LINE_AA)
    cv2.circle(marked, point, radius, _MARK, line, cv2.LINE_AA)
    return marked


def _sheet(rows: list[_Row], title: str, heading: str) -> Image:
    """The tiles on paper, row under row."""
    large, text, small = (ImageFont.load_default(size) for size in (19, 14, 12))
    blocks: list[NDArray[np.uint8]] = [_line(title, large, _INK, 44)] if title else []
    blocks.append(_line(heading, text, _PALE, 28 if title else 44))
    for name, tiles, across in rows:
        blocks.append(_line(name, large, _INK, 40))
        wide = (_WIDTH - 2 * _MARGIN - (across - 1) * _GAP) // across
        strips = (tiles[start : start + across] for start in range(0, len(tiles), across))
        blocks.extend(_strip(strip, wide, text, small) for strip in strips)
    blocks.append(_paper(_MARGIN // 2))
    return np.vstack(blocks)


def _strip(tiles: list[_Tile], wide: int, text: _Font, small: _Font) -> Image:
    """Tiles side by side, each ``wide`` pixels, with its words beneath."""
    pictures = [_fitted(tile.picture, wide) for tile in tiles]
    tall = max(picture.shape[0] for picture in pictures)
    strip = _paper(tall + 46)
    for index, picture in enumerate(pictures):
        left = _MARGIN + index * (wide + _GAP)
        strip[: picture.shape[0], left : left + picture.shape[1]] = picture
    canvas = PillowImage.fromarray(strip)
    pen = ImageDraw.Draw(canvas)
    for index, tile in enumerate(tiles):
        left = _MARGIN + index * (wide + _GAP)
        pen.text((left, tall + 4), _cut(pen, tile.heading, text, wide), font=text, fill=_INK)
        pen.text((left, tall + 22), _cut(pen, tile.note, small, wide), font=small, fill=_PALE)
    return np.asarray(canvas)


def _fitted(picture: Image, wide: int) -> Image:
    """``picture`` at a width of ``wide``, and no taller than one and a half times that."""
    height, width = picture.shape[:2]
    scale = min(wide / width, 1.5 * wide / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=kind), np.uint8)


def _cut(pen: ImageDraw.ImageDraw, words: str, font: _Font, wide: int) -> str:
    """``words``, shortened at the front where they are wider than ``wide``: names differ at their ends."""
    plain = words.encode("ascii", "replace").decode()  # Pillow's own font has no other letters
    while len(plain) > 4 and pen.textlength(plain, font) > wide:
        plain = f"..{plain[3:]}"
    return plain


def _line(words: str, font: _Font, ink: tuple[int, int, int], tall: int) -> Image:
    canvas = PillowImage.fromarray(_paper(tall))
    pen = ImageDraw.Draw(canvas)
    pen.text(
        (_MARGIN, tall - 10), _cut(pen, words, font, _WIDTH - 2 * _MARGIN), font=font, fill=ink, anchor="ls"
    )
    return np.asarray(canvas)


def _paper(tall: int) -> Image:
    return np.full((tall, _WIDTH, 3), _PAPER, np.uint8)
