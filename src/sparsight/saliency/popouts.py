"""Pictures in which one item differs from all others: a test of what draws the eye that needs no viewers.

After the psychophysical patterns of I. Kotseruba, C. Wloka, A. Rasouli and J. K. Tsotsos, "Do Saliency Models
Detect Odd-One-Out Targets? New Datasets and Evaluations" (BMVC 2019): items on a jittered grid, all alike but
for one, the target, which differs in colour, orientation or size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup

KINDS = ("colour", "orientation", "size")
"""What the target may differ in."""

_SHAPES = ("bar", "disc", "square")
_BACKGROUNDS = ((0, 0, 0), (64, 64, 64), (128, 128, 128), (192, 192, 192), (255, 255, 255), (222, 210, 190))
_MOST_FILL, _MOST_JITTER = 0.6, 0.15  # together they leave a gap between any two items
_P3_RATIOS = (0.4, 0.5, 0.6, 1.5, 1.75, 2.0)
_LEAST_CONTRAST = 90  # grey levels or, between colours, their Euclidean distance
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True, eq=False)
class PopOut:
    """A picture with an odd item.

    Attributes:
        kind: what the target differs in, one of ``KINDS``.
        image: H×W×3 uint8 RGB.
        target_mask: H×W bool, the target's own pixels.
        distractor_masks: (N, H, W) bool, those of each other item.
        spacing: pixels from one item to the next.
    """

    kind: str
    image: NDArray[np.uint8]
    target_mask: NDArray[np.bool_]
    distractor_masks: NDArray[np.bool_]
    spacing: float

    def catchment(self) -> NDArray[np.bool_]:
        """H×W bool: where a fixation counts as one on the target.

        The pixels nearer to the target's middle than half of ``spacing``: no distractor reaches there.
        """
        y, x = np.nonzero(self.target_mask)
        height, width = self.target_mask.shape
        away = np.hypot(np.arange(height)[:, None] - y.mean(), np.arange(width) - x.mean())
        return np.asarray(away < self.spacing / 2)


def popout(
    kind: str,
    seed: int,
    *,
    size: tuple[int, int] = (768, 768),
    grid: int | None = None,
    background: tuple[int, int, int] | None = None,
    difference: float | None = None,
    fill: float | None = None,
    jitter: float = 0.08,
) -> PopOut:
    """Draw one picture; what is not given is drawn by lot.

    Args:
        kind: ``"colour"``, ``"orientation"`` or ``"size"``.
        seed: picks everything that is left to chance; the same seed draws the same picture.
        size: height and width in pixels.
        grid: items along the shorter side, 3 to 9; by default 4 to 7.
        background: RGB; by default one of black, three greys, white and a pale brown.
        difference: of colour, degrees of hue (by default 60 to 180); of orientation, degrees (30 to 90); of
            size, the ratio of the target's sides to a distractor's (half or double and up to a tenth more).
        fill: side of the larger kind of item as a fraction of the distance between items, up to 0.6; by
            default 0.5 to 0.6.
        jitter: how far items are moved off the grid at most, along each side, as a fraction of that distance,
            up to 0.15.

    Raises:
        SparsightError: an unknown kind, a size too small for the grid, or a number out of its range.
    """
    lookup("kind of pop-out", kind, dict.fromkeys(KINDS))
    rng = np.random.default_rng([KINDS.index(kind), seed])
    count = int(rng.integers(4, 8)) if grid is None else grid
    if not 3 <= count <= 9:
        raise SparsightError(f"a pop-out cannot have {count} items along a side: give 3 to 9.")
    height, width = size
    spacing = min(height, width) / count
    if spacing < 24:
        raise SparsightError(
            f"a pop-out of {height}x{width} has no room for {count} items a side: enlarge it."
        )
    if fill is not None and not 0 < fill <= _MOST_FILL:
        raise SparsightError(
            f"items cannot fill {fill} of their distance: give more than 0, up to {_MOST_FILL}."
        )
    if not 0 <= jitter <= _MOST_JITTER:
        raise SparsightError(
            f"items cannot be moved by {jitter} of their distance: give 0 to {_MOST_JITTER}."
        )
    paper = _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))] if background is None else background
    if difference is None:
        difference = _difference(kind, rng)
    shape = "bar" if kind == "orientation" else _SHAPES[rng.integers(len(_SHAPES))]
    ink, odd_ink = _inks(np.array(paper), difference if kind == "colour" else 0.0, rng)
    angle = float(rng.uniform(0, 180))
    odd_angle = angle + difference * float(rng.choice([-1, 1])) if kind == "orientation" else angle
    # The larger of the two kinds of item takes the same share of its cell whichever it is.
    ratio = difference if kind == "size" else 1.0
    drawn = float(rng.uniform(0.5, 0.6))
    side = spacing * (drawn if fill is None else fill) / max(1.0, ratio)

    middles = _middles(size, spacing, jitter, rng)
    target = int(rng.integers(len(middles)))
    image = np.full((height, width, 3), paper, np.uint8)
    masks = np.zeros((len(middles), height, width), np.uint8)
    for index, middle in enumerate(middles):
        odd = index == target
        outline = _outline(shape, middle, side * (ratio if odd else 1.0), odd_angle if odd else angle)
        _fill(image, outline, odd_ink if odd else ink)
        _fill(masks[index], outline, (1,), cv2.LINE_8)
    distractors = np.delete(masks, target, axis=0).astype(bool)
    return PopOut(kind, image, masks[target].astype(bool), distractors, spacing)


def popouts(kind: str, count: int, seed: int = 0) -> list[PopOut]:
    """``count`` pictures of one kind: sizes of 300 to 1024 pixels a side, square and not, all else by lot."""
    sizes = ((300, 300), (480, 640), (600, 800), (768, 768), (768, 1024), (1024, 1024))
    return [popout(kind, seed + index, size=sizes[index % len(sizes)]) for index in range(count)]


def p3_popouts(kind: str, count: int, seed: int = 0) -> list[PopOut]:
    """``count`` pictures of one kind in the geometry of P3: 1024 pixels square, 7 × 7 items.

    The larger kind of item is 40 to 80 pixels long and each is moved by up to 18 pixels. The ratio of an odd
    size is one of 0.4, 0.5, 0.6, 1.5, 1.75 and 2.
    """
    rng = np.random.default_rng([7, KINDS.index(kind) if kind in KINDS else 0, seed])
    side = 1024
    pictures = []
    for index in range(count):
        pixels, ratio = rng.uniform(40, 80), float(rng.choice(_P3_RATIOS))
        pictures.append(
            popout(
                kind,
                seed + index,
                size=(side, side),
                grid=7,
                difference=ratio if kind == "size" else None,
                fill=pixels * 7 / side,
                jitter=18 * 7 / side,
            )
        )
    return pictures


def _difference(kind: str, rng: np.random.Generator) -> float:
    if kind == "colour":
        return float(rng.uniform(60, 180))
    if kind == "orientation":
        return float(rng.uniform(30, 90))
    ratio = float(rng.uniform(2.0, 2.2))
    return ratio if rng.random() < 0.5 else 1 / ratio


def _inks(
    paper: NDArray[np.int64], hue_difference: float, rng: np.random.Generator
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Colours of distractors and target: equally saturated, both seen well on ``paper``."""
    while True:
        hue = rng.uniform(0, 360)
        value = rng.uniform(0.6, 1.0)
        both = np.array(
            [_rgb(hue, value), _rgb(hue + hue_difference * float(rng.choice([-1, 1])), value)], np.int64
        )
        if (np.linalg.norm(both - paper, axis=1) >= _LEAST_CONTRAST).all():
            return tuple(both[0].tolist()), tuple(both[1].tolist())


def _rgb(hue: float, value: float) -> NDArray[np.uint8]:
    """A colour of saturation 0.85 from its hue in degrees and its value in [0, 1]."""
    hsv = np.array([[[hue % 360, 0.85, value]]], np.float32)
    return np.asarray(np.round(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]), np.uint8)


def _middles(
    size: tuple[int, int], spacing: float, jitter: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(N, 2) x and y of the items: a grid centred in the picture, each moved by up to ``jitter`` spacings."""
    rows, columns = (int(side // spacing + 1e-6) for side in size)
    y, x = np.indices((rows, columns)).reshape(2, -1)
    grid = np.stack([x - (columns - 1) / 2, y - (rows - 1) / 2], axis=1) * spacing
    middles: NDArray[np.float64] = grid + np.array([size[1], size[0]]) / 2
    return middles + rng.uniform(-jitter, jitter, middles.shape) * spacing


def _outline(shape: str, middle: NDArray[np.float64], side: float, angle: float) -> NDArray[np.int32]:
    """The corners of an item (K, 2) in 1/16 pixel."""
    if shape == "disc":
        turn = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        corners = np.stack([np.cos(turn), np.sin(turn)], axis=1) * side / 2
    else:
        thickness = side * (0.28 if shape == "bar" else 0.8)
        length = side if shape == "bar" else thickness
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [length / 2, thickness / 2]
        radians = math.radians(angle)
        turned = [[math.cos(radians), math.sin(radians)], [-math.sin(radians), math.cos(radians)]]
        corners = corners @ np.array(turned)
    return np.asarray(np.round((corners + middle) * (1 << _SHIFT)), np.int32)


def _fill(
    image: NDArray[np.uint8], outline: NDArray[np.int32], colour: tuple[int, ...], line: int = cv2.LINE_AA
) -> None:
    cv2.fillPoly(image, [outline], colour, line, _SHIFT)
