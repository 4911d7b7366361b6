"""Which channels made a place salient: what each adds to the map at one point."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.levels import resize
from sparsight.saliency.rarity import Features, channel_maps
from sparsight.saliency.result import Channel, Map


def weights_at(point: int, length: int, grids: tuple[int, ...]) -> NDArray[np.float32]:
    """How much each node of a coarse grid counts at one pixel of an axis, through ``resize`` and back.

    ``resize`` treats the axes apart and is linear, so resizing the identity gives its matrix.

    Args:
        point: the pixel's place on the axis.
        length: pixels on the axis.
        grids: nodes on the axis of each grid on the way, the coarse one first.

    Returns:
        (nodes of the coarse grid,) float32, with a sum of one.
    """
    path = (*grids, length)
    matrix = np.eye(path[0], dtype=np.float32)
    for here, there in itertools.pairwise(path):
        step = resize(np.eye(here, dtype=np.float32), (there, here))
        matrix = step @ matrix
    row: NDArray[np.float32] = matrix[point]
    return row


def strongest(
    x: int,
    y: int,
    count: int,
    *,
    shape: tuple[int, int],
    finest: tuple[int, ...],
    visit: Callable[[Callable[[str, Features], None]], None],
    scales: Mapping[str, float],
    kept: Mapping[str, Map],
    ignored: Mapping[str, NDArray[np.bool_]],
    bins: int,
    border: Callable[[int], int],
) -> list[Channel]:
    """The channels that add most to the map at the pixel (x, y), most first.

    Every step from a layer's channels to the map is a sum with fixed weights, so what the map is at a point
    falls apart into what each channel adds.

    Args:
        x, y: the pixel.
        count: how many channels.
        shape: height and width of the map.
        finest: the grid that the levels were added on.
        visit: calls what it is given with the name and the features of every layer.
        scales: layer name → what its channels' maps are multiplied by on the way to the map.
        kept: layer name → the places of the layer that were not set to zero, one or zero each.
        ignored: layer name → the places of the layer where no channel counts, such as corners.
        bins, border: as for ``rarity_maps``.

    Raises:
        SparsightError: the pixel lies outside the map, or ``count`` is not positive.
    """
    height, width = shape
    if not (0 <= x < width and 0 <= y < height):
        raise SparsightError(f"the point {x},{y} lies outside the picture of {width}x{height}.")
    if count < 1:
        raise SparsightError(f"cannot name {count} channels: ask for 1 or more.")
    found: list[tuple[float, str, int, Map]] = []
    total = 0.0

    def look(name: str, features: Features) -> None:
        nonlocal total
        if name not in scales:
            return
        maps = channel_maps(features, bins=bins, border=border(features.shape[2]))
        maps[:, ignored[name]] = 0
        rows, columns = features.shape[1:]
        place = (
            np.outer(weights_at(y, height, (rows, finest[0])), weights_at(x, width, (columns, finest[1])))
            * kept[name]
        )
        added = scales[name] * np.tensordot(maps, place, axes=2)
        total += float(added.sum())
        most = np.argsort(-added, kind="stable")[:count]
        found.extend((float(added[index]), name, int(index), maps[index].copy()) for index in most)

    visit(look)
    best = heapq.nlargest(count, found, key=lambda entry: entry[0])
    return [
        Channel(name, index, value / total if total > 0 else 0.0, values)
        for value, name, index, values in best
    ]
