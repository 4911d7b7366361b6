"""DeepRare: what is rare among the features of a network trained on ImageNet is salient. Nothing is trained.

After M. Mancas, P. Kong and B. Gosselin, "Visual Attention: Deep Rare Features" (2020), called 2019 here, and
P. Kong, M. Mancas, B. Gosselin and K. Po, "DeepRare: Generic Unsupervised Visual Attention Models"
(arXiv 2109.11439), called 2021.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from sparsight.assets.catalogue import catalogue
from sparsight.errors import SparsightError
from sparsight.nets import NETWORKS
from sparsight.nets import build as build_network
from sparsight.registry import lookup, resolve
from sparsight.saliency.intake import stretched
from sparsight.saliency.levels import itti_sum, minmax, resize, weighted_sum
from sparsight.saliency.process import check_processing, processed
from sparsight.saliency.rarity import MAX_BINS, zero_border, zero_corners
from sparsight.saliency.reading import open_network
from sparsight.saliency.result import Channel, Map, SaliencyResult
from sparsight.saliency.strongest import strongest

MIN_SIZE = 96
"""Smallest network input: below, a map of stride 32 has no pixel inside its border."""

_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32) * 255


def _by_layers(layer_levels: Mapping[str, str]) -> dict[str, float]:
    counts = Counter(layer_levels.values())
    return {level: count * len(counts) / len(layer_levels) for level, count in counts.items()}


def _equal(layer_levels: Mapping[str, str]) -> dict[str, float]:
    return dict.fromkeys(layer_levels.values(), 1.0)


LEVEL_WEIGHTS: dict[str, Callable[[Mapping[str, str]], dict[str, float]]] = {
    "layers": _by_layers,
    "equal": _equal,
}
"""Name → the weight of each level, one on average, from the level of each layer."""


class Backbone(NamedTuple):
    """A network that gives features."""

    weights: str | Path  # asset or file: weights for RGB input, scaled by ImageNet's mean and deviation
    layers: tuple[str, ...]  # modules to tap, after their ReLU
    threshold: float = 0.0  # what is lower in a layer's map does not count
    size: int = 256  # side of the input
    level_weights: str = "equal"  # one of LEVEL_WEIGHTS


BACKBONES: dict[str, Backbone] = {
    # Layers of the strides 8, 16 and 32. The first ones at a stride (5 to 8) answer to the odd one out, the
    # later ones (12, 15, 17) to objects. Together they do better than all layers, on fixations and on
    # odd-one-out pictures, and cost a tenth.
    "mobilenet_v2": Backbone(
        "mobilenet_v2",
        (
            "features.5.conv.0",
            "features.7.conv.1",
            "features.8.conv.0",
            "features.8.conv.1",
            "features.12.conv.0",
            "features.15.conv.0",
            "features.17.conv.0",
        ),
        threshold=0.6,
        size=384,
        level_weights="layers",
    ),
    # Every ReLU of the five blocks. The more is cut off, the worse they do on fixations.
    "vgg16": Backbone(
        "vgg16", tuple(f"features.{k}" for k in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29))
    ),
    "vgg19": Backbone(
        "vgg19",
        tuple(f"features.{k}" for k in (1, 3, 6, 8, 11, 13, 15, 17, 20, 22, 24, 26, 29, 31, 33, 35)),
    ),
}
"""Network name → its weights and layers."""


def border_2019(width: int) -> int:
    """The border of the 2019 model by the width of a map: 3 above 50, 2 from 28, else 1."""
    return 3 if width > 50 else 2 if width >= 28 else 1


def network_input(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """An image as the input of an ImageNet network: (1, 3, height, width), stretched to ``size``.

    Raises:
        SparsightError: ``image`` is not H×W×3 uint8 with at least one pixel.
    """
    x = np.empty((1, 3, *size), np.float32)
    for plane, colour in zip(x[0], cv2.split(stretched(image, size)), strict=True):
        plane[:] = colour
    x -= _MEAN[:, None, None]
    x /= _DEVIATION[:, None, None]
    return x


class DeepRare:
    """An image (H×W×3 uint8 RGB, any size) → ``SaliencyResult``.

    The image is stretched to ``size``, and the maps are stretched back. The network runs on it, and each
    layer gives a rarity map (``rarity_map``). Layers of one size form a level, in which each is scaled to
    [0, 1], zeroed where it is below ``threshold``, and weighted by (max − mean)². The levels, each in [0, 1],
    are added on the grid of the finest, and the sum is scaled to [0, 1] and to the image's size. Levels are
    called by their size, such as ``"48x48"``. An image of one colour gets a map of zeros.

    Two departures from the papers. MobileNetV2's levels count in proportion to how many layers they have,
    because what many layers agree on is more than what one finds rare; published are equal weights. And of
    the four corner pixels inside the border, where a network sees its padding from two sides, only one that
    is the maximum of its level counts: the others are ignored as the border is.

    Args:
        backbone: one of ``BACKBONES``, or with ``layers`` any other of ``sparsight.nets.NETWORKS``. Its input
            is scaled by ImageNet's mean and deviation.
        size: input of the network in pixels: a side, or (height, width); by default what suits the backbone:
            384 for MobileNetV2, 256 for the others. Grids of strided layers lie evenly over the image where
            it is a multiple of 32.
        bins: histogram bins, 2 to 64; published are 11 (2019) and 6 to 11 (2021).
        border: pixels of a layer's border to ignore, where the network sees its own padding; or a function of
            the layer's width.
        threshold: what is lower in a layer's map, scaled to [0, 1], is set to zero (2021); 0 is off (2019).
            By default what suits the backbone: 0.6 for MobileNetV2, off for the others.
        level_weights: how levels count: ``"layers"``, in proportion to how many layers they have, or
            ``"equal"`` (2019, 2021). By default what suits the backbone: layers for MobileNetV2, else equal.
        layers: modules to tap instead of the backbone's own; those whose maps have one size form a level.
        top_down: a channel that answers to something known, as ``"MODULE:CHANNEL"``; scaled to [0, 1], it is
            added as one more level, with the mean weight of the others (2019: a channel of VGG16's fifth
            block that answers to faces).
        blur, centre_prior: see ``processed``; 0 is off.
        weights: asset or weight file instead of the backbone's own; random ones are refused.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        SparsightError: an option out of its range, an unknown backbone or layer, or weights that do not fit.
    """

    def __init__(
        self,
        backbone: str = "mobilenet_v2",
        *,
        size: int | tuple[int, int] | None = None,
        bins: int = 11,
        border: int | Callable[[int], int] = 1,
        threshold: float | None = None,
        level_weights: str | None = None,
        layers: Sequence[str] | None = None,
        top_down: str | None = None,
        blur: float = 0.0,
        centre_prior: float = 0.0,
        weights: str | Path | None = None,
        device: str = "auto",
    ) -> None:
        known = _backbone(backbone, layers, weights)
        self.size = _sides(known.size if size is None else size)
        if not 2 <= bins <= MAX_BINS:
            raise SparsightError(f"saliency cannot use {bins} bins: give 2 to {MAX_BINS}.")
        if not callable(border) and border < 0:
            raise SparsightError(f"saliency cannot have a border of {border} pixels: give 0 or more.")
        self.threshold = known.threshold if threshold is None else threshold
        if not 0 <= self.threshold < 1:
            raise SparsightError(f"saliency threshold {threshold} is out of range: give 0 (off) up to 1.")
        weighting = level_weights or known.level_weights
        self.level_weights = lookup("weighting of levels", weighting, LEVEL_WEIGHTS)
        check_processing(blur, centre_prior)
        self.bins = bins
        self.border = border if callable(border) else lambda _: border
        self.blur, self.centre_prior = blur, centre_prior
        self.top_down = None if top_down is None else _tap_and_channel(top_down)
        network = _network(backbone, known.weights, self.size)
        extra = [] if self.top_down is None else [self.top_down[0]]
        self._reader = open_network(network, known.layers, extra, self.size, device)

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``, with every stage.

        Raises:
            SparsightError: ``image`` is not H×W×3 uint8 with at least one pixel, or the network has no such
                ``top_down`` channel.
        """
        x = network_input(image, self.size)
        layers = self._reader.rarities(x, self.bins, self.border)
        levels, weights, layer_levels = self._levels(layers)
        level_weights = self.level_weights(layer_levels)
        if self.top_down is not None:
            extra = self._top_down_level(self.top_down)
            levels |= extra
            level_weights |= dict.fromkeys(extra, 1.0)
        finest = next(iter(levels.values())).shape
        fused = weighted_sum(
            [resize(level, finest) for level in levels.values()], [level_weights[name] for name in levels]
        )
        if (x.min(axis=(2, 3)) == x.max(axis=(2, 3))).all():
            # One colour everywhere: only the network's padding can look rare.
            fused = np.zeros_like(fused)
        result = SaliencyResult(
            resize(fused, image.shape[:2]),
            levels,
            layers,
            weights,
            level_weights,
            layer_levels,
            () if self.top_down is None else ("top-down channel {}:{}".format(*self.top_down),),
            image,
            functools.partial(
                self._strongest,
                image,
                layers,
                weights,
                {name: level_weights[level] for name, level in layer_levels.items()},
            ),
        )
        return processed(result, blur=self.blur, centre_prior=self.centre_prior)

    def _levels(self, layers: dict[str, Map]) -> tuple[dict[str, Map], dict[str, float], dict[str, str]]:
        """The levels' maps by name, finest first; the layers' weights in them; the level of each layer.

        Corners that do not count are zero in ``layers`` then.
        """
        levels: dict[str, Map] = {}
        weights: dict[str, float] = {}
        level_of: dict[str, str] = {}
        for shape, names in _by_shape(layers).items():
            level = "x".join(map(str, shape))
            maps = np.stack([layers[name] for name in names])
            levels[level], own = self._level(maps)
            layers.update(zip(names, maps, strict=True))
            weights.update(zip(names, own, strict=True))
            level_of.update(dict.fromkeys(names, level))
        return levels, {name: weights[name] for name in layers}, {name: level_of[name] for name in layers}

    def _level(self, maps: NDArray[np.float32]) -> tuple[Map, list[float]]:
        """The map of a level, in [0, 1], and the weights of its layers, whose ``maps`` are (layers, H, W).

        Corner pixels inside the border are set to zero, in place, but for one that is the level's maximum. A
        network sees its padding from two sides there and may find it rare, in a layer or two; what is odder
        than all else in a whole level is no padding.
        """
        level, weights = itti_sum(maps, self.threshold)
        highest = divmod(int(level.argmax()), maps.shape[2])
        least = (1 - 1e-5) * self.threshold * maps.max(axis=(1, 2))
        lost = zero_corners(maps, self.border(maps.shape[2]), highest)
        # What is below the threshold did not count, corner or not.
        counted = (lost > 0) & (lost >= least)
        return itti_sum(maps, self.threshold) if counted.any() else (level, weights)

    def _kept(self, scaled: Map) -> Map:
        """A layer's map in [0, 1] with zero for what is below the threshold."""
        return np.where(scaled >= self.threshold, scaled, np.float32(0)) if self.threshold else scaled

    def _top_down_level(self, top_down: tuple[str, int]) -> dict[str, Map]:
        """The map of the top-down channel of the picture just seen, by its name."""
        module, channel = top_down
        maps = self._reader.extra[module]
        if channel >= len(maps):
            raise SparsightError(f"{module} has no channel {channel}: give 0 to {len(maps) - 1}.")
        values = maps[channel].copy()
        zero_border(values, self.border(values.shape[1]))
        return {f"{module}:{channel}": minmax(values)}

    def _strongest(
        self,
        image: NDArray[np.uint8],
        layers: Mapping[str, Map],
        weights: Mapping[str, float],
        of_levels: Mapping[str, float],
        x: int,
        y: int,
        count: int,
    ) -> list[Channel]:
        """See ``SaliencyResult.strongest``: ``of_levels`` are the weights of the layers' levels."""
        spans = {name: float(values.max() - values.min()) for name, values in layers.items()}
        sums: dict[tuple[int, ...], Map] = {}
        for name, values in layers.items():
            added = np.float32(weights[name]) * self._kept(minmax(values))
            sums[values.shape] = sums.get(values.shape, 0) + added
        scales, kept, ignored = {}, {}, {}
        for name, values in layers.items():
            whole = sums[values.shape]
            across = spans[name] * float(whole.max() - whole.min())
            scales[name] = of_levels[name] * weights[name] / across if across > 0 else 0.0
            kept[name] = (minmax(values) >= self.threshold).astype(np.float32)
            ignored[name] = values == 0
        return strongest(
            x,
            y,
            count,
            shape=image.shape[:2],
            finest=max(sums),
            visit=functools.partial(self._reader.features, network_input(image, self.size)),
            scales=scales,
            kept=kept,
            ignored=ignored,
            bins=self.bins,
            border=self.border,
        )


def _by_shape(layers: Mapping[str, Map]) -> dict[tuple[int, ...], list[str]]:
    """The layers of each level by the size of its maps, finest first."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, values in layers.items():
        groups.setdefault(values.shape, []).append(name)
    return dict(sorted(groups.items(), reverse=True))


def _backbone(name: str, layers: Sequence[str] | None, weights: str | Path | None) -> Backbone:
    """A network of ``BACKBONES``, or any other with ``layers``; what is given goes before what is known."""
    lookup("backbone", name, NETWORKS)
    known = BACKBONES.get(name)
    if known is not None:
        return known._replace(weights=weights or known.weights, layers=tuple(layers or known.layers))
    if not layers:
        raise SparsightError(
            f"saliency knows no layers of {name}: give layers=, a list of its modules, or a backbone of "
            f"{', '.join(BACKBONES)}."
        )
    if not weights and name not in catalogue():
        raise SparsightError(
            f"{name} has no weights here, and random ones see nothing: give weights=, an asset or a file."
        )
    return Backbone(weights or name, tuple(layers))


def _network(name: str, weights: str | Path, size: tuple[int, int]) -> nn.Module:
    """The network with its weights, for inputs of ``size``."""
    parameters = inspect.signature(resolve(NETWORKS[name])).parameters
    if needed := [key for key, value in parameters.items() if value.default is value.empty]:
        raise SparsightError(
            f"saliency cannot use {name}, which needs a {needed[0]}: choose another backbone."
        )
    shape = {"input_shape": (3, *size)} if "input_shape" in parameters else {}
    network = build_network(name, weights=weights, **shape)
    network.input_shape = (3, *size)  # type: ignore[assignment]  # what is tapped is convolutional: any size
    return network


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a side or of both."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise SparsightError(f"{size} is no saliency size: give a side in pixels, or (height, width).")
    if min(sides) < MIN_SIZE:
        raise SparsightError(f"saliency size {size} is too small: give at least {MIN_SIZE} pixels a side.")
    return sides


def _tap_and_channel(text: str) -> tuple[str, int]:
    """``"MODULE:CHANNEL"`` apart."""
    module, _, channel = text.rpartition(":")
    if not module or not channel.isdecimal():
        raise SparsightError(f"{text!r} names no channel: give it as MODULE:NUMBER, such as features.28:5.")
    return module, int(channel)


deeprare2021 = DeepRare
deeprare2019 = functools.partial(DeepRare, border=border_2019, threshold=0.0, level_weights="equal")
