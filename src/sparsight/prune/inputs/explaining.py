"""What a network still sees of its input, drawn."""

from __future__ import annotations

import base64
import copy
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.files import write_text
from sparsight.media import write_image
from sparsight.prune.inputs.front_ends import BlockDCT
from sparsight.prune.inputs.selecting import Selection
from sparsight.prune.inputs.selector import Selector

_PANEL = 224
"""About how many pixels high a panel is drawn."""
_GAP = 12
_TITLE = 18

_REMOVED = np.array([232, 232, 232], np.float32)
_WEAK = np.array([173, 203, 235], np.float32)
_STRONG = np.array([8, 48, 107], np.float32)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of an explanation.

    Attributes:
        title: what it shows.
        pixels: (h, w, 3) uint8, to be enlarged.
    """

    title: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which features survive.

    Attributes:
        map: (H, W) or, with several channels, (H, W, C) float32 in [0, 1]: the share of each pixel that the
            kept features hold. 1 where the pixel is kept as it is, 0 where nothing is left of it; in between
            for frequencies, each of which holds a part of every pixel of its block. It is the diagonal of
            ``unpack`` after ``forward``, the projection of images onto the kept features. For inputs of (D,)
            it is (1, D).
        features: float32, the kept features' strength over the greatest, 0 where removed: like ``map`` for
            pixels; (rows, columns, colours) of a block for a front end's phases or frequencies; (1, C) for
            the input's own channels; (H, W), the lesser gate of row and column, for lines.
        kept: how many features (for lines: rows and columns) survive.
        total: of how many.
        values: how many numbers are left of one input.
        of_values: of how many.
        panels: what is drawn.
    """

    map: NDArray[np.float32]
    features: NDArray[np.float32]
    kept: int
    total: int
    values: int
    of_values: int
    panels: tuple[Panel, ...]

    @property
    def caption(self) -> str:
        """The figures in one line."""
        share = self.values / self.of_values
        return (
            f"{self.kept} of {self.total} features kept: "
            f"{self.values} of {self.of_values} values ({share:.1%})"
        )

    def image(self) -> NDArray[np.uint8]:
        """All panels side by side on white, (h, w, 3) uint8 RGB.

        Grey is removed; the darker the blue, the more strongly a feature is read.
        """
        drawn = [_enlarged(panel.pixels) for panel in self.panels]
        height = max(panel.shape[0] for panel in drawn) + 2 * _GAP
        width = sum(panel.shape[1] + _GAP for panel in drawn) + _GAP
        paper = np.full((height, width, 3), 255, np.uint8)
        left = _GAP
        for panel in drawn:
            paper[_GAP : _GAP + panel.shape[0], left : left + panel.shape[1]] = panel
            left += panel.shape[1] + _GAP
        return paper

    def svg(self) -> str:
        """All panels side by side with their titles and the figures, as an SVG document."""
        parts, left, bottom = [], _GAP, 0
        for panel in self.panels:
            height, width = _enlarged(panel.pixels).shape[:2]
            stream = io.BytesIO()
            PIL.Image.fromarray(panel.pixels).save(stream, "PNG")
            data = base64.b64encode(stream.getvalue()).decode("ascii")
            parts.append(
                f'<text x="{left}" y="{_TITLE}">{html.escape(panel.title)}</text>'
                f'<image x="{left}" y="{_TITLE + 6}" width="{width}" height="{height}" '
                f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
            )
            left += max(width, 7 * len(panel.title)) + _GAP
            bottom = max(bottom, height)
        bottom += _TITLE + 6
        total = max(left, 7 * len(self.caption) + 2 * _GAP)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{bottom + 30}" '
            f'viewBox="0 0 {total} {bottom + 30}" font-family="sans-serif" font-size="13" fill="#333">'
            f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}'
            f'<text x="{_GAP}" y="{bottom + 20}">{html.escape(self.caption)}</text></svg>\n'
        )

    def save(self, path: str | Path) -> None:
        """Write the drawing as .svg, or as a .png or .jpg without text.

        Raises:
            SparsightError: another ending, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".svg":
            write_image(path, self.image())
            return
        try:
            write_text(path, self.svg())
        except OSError as error:
            raise SparsightError(f"{path} cannot be written: {error.strerror or error}.") from error


def explain(selection: Selection | Selector, example: NDArray[Any] | None = None) -> Explanation:
    """Which pixels, phases, frequencies or lines survive, in image space and drawn.

    Args:
        selection: from ``select_inputs``; or a selector alone, whose features all count as equally strong.
        example: one input (C, H, W), to be drawn beside what is left of it.

    Raises:
        SparsightError: ``example`` has another shape, or the inputs are neither images nor vectors.
    """
    if isinstance(selection, Selector):
        selector, strength = selection, selection.kept.astype(np.float32)
    else:
        selector, strength = selection.selector, selection.strength
    if len(selector.input_shape) not in (1, 3):
        raise SparsightError(
            f"inputs of shape {selector.input_shape} cannot be drawn: only (C, H, W) or (D,)."
        )
    share = _squeezed(_image_map(selector))
    features = _feature_map(selector, strength / strength.max())
    panels = [Panel(title, _shaded(plane)) for title, plane in _planes(selector, features)]
    if selector.kind == "channels" and selector.front_end is not None:
        panels.append(Panel("share of each pixel", _grey(share)))
    if example is not None:
        left = selector.unpack(selector.pack(example[None]))[0]
        low, high = float(example.min()), float(example.max())
        panels.append(Panel("an input", _grey(_last(example), low, high)))
        panels.append(Panel("what is left of it", _grey(_last(left), low, high)))
    return Explanation(
        share,
        features,
        int(selector.kept.sum()),
        selector.kept.size,
        int(np.prod(selector.output_shape)),
        int(np.prod(selector.input_shape)),
        tuple(panels),
    )


def _image_map(selector: Selector) -> NDArray[np.float32]:
    """(H, W, C): the diagonal of the projection onto the kept features."""
    front_end = selector.front_end
    if front_end is None:
        ones = np.ones((1, *selector.input_shape), np.float32)
        return _last(selector.unpack(selector.pack(ones))[0])
    # All blocks are treated alike: one image per value of a block shows what is left of that value.
    channels, height, width = selector.input_shape
    side = front_end.size
    block = Selector("channels", (channels, side, side), selector.kept, copy.deepcopy(front_end)).cpu()
    count = channels * side**2
    single = torch.eye(count).reshape(count, channels, side, side)
    with torch.no_grad():
        seen = block(single).numpy()
    left = block.unpack(seen).reshape(count, count)
    share = np.diagonal(left).reshape(channels, side, side)
    return _last(np.tile(share, (1, height // side, width // side)))


def _feature_map(selector: Selector, strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """One strength per feature, arranged as ``Explanation.features`` says."""
    if selector.kind == "pixels":
        return _squeezed(_last(strength.reshape(selector.input_shape)))
    if selector.kind == "lines":
        rows, columns = np.split(strength, [selector.input_shape[1]])
        return np.minimum(rows[:, None], columns)
    if selector.front_end is None:
        return strength[None]
    side = selector.front_end.size
    return _squeezed(_last(strength.reshape(-1, side, side)))


def _planes(selector: Selector, features: NDArray[np.float32]) -> list[tuple[str, NDArray[np.float32]]]:
    """What to draw of the features, with titles."""
    what = {"pixels": "pixels", "lines": "lines", "channels": "channels"}[selector.kind]
    if selector.front_end is not None:
        what = "frequencies" if isinstance(selector.front_end, BlockDCT) else "phases"
    if features.ndim == 2:
        return [(f"kept {what}", features)]
    names: Sequence[str] = [str(place) for place in range(features.shape[2])]
    if features.shape[2] == 3:
        ycbcr = isinstance(selector.front_end, BlockDCT) and selector.front_end.colour == "ycbcr"
        names = ("Y", "Cb", "Cr") if ycbcr else ("red", "green", "blue")
    return [(f"kept {what}, {name}", features[:, :, place]) for place, name in enumerate(names)]


def _shaded(strength: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w) strengths in [0, 1] as colours."""
    level = np.sqrt(strength)[:, :, None]
    colours = np.where(level > 0, _WEAK + level * (_STRONG - _WEAK), _REMOVED)
    return colours.astype(np.uint8)


def _grey(values: NDArray[Any], low: float = 0.0, high: float = 1.0) -> NDArray[np.uint8]:
    """(h, w) or (h, w, C) values from ``low`` to ``high`` as grey, or as RGB where C is 3."""
    if values.ndim == 3 and values.shape[2] != 3:
        values = values.mean(2)
    scaled = (values.astype(np.float32) - low) / max(high - low, 1e-12)
    pixels = (scaled.clip(0, 1) * 255).round().astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, 2)


def _last(values: NDArray[Any]) -> NDArray[Any]:
    """(C, H, W) → (H, W, C); (D,) → (1, D, 1)."""
    return values[None, :, None] if values.ndim == 1 else np.moveaxis(values, 0, 2)


def _squeezed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 1) → (H, W); contiguous."""
    return np.ascontiguousarray(values[:, :, 0] if values.shape[2] == 1 else values, dtype=np.float32)


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = max(1, round(_PANEL / max(pixels.shape[:2])))
    return pixels.repeat(scale, 0).repeat(scale, 1)
