"""Filter variety: remove filters that have a near twin, keep the rare ones.

The published abstract fixes the aim (a pruned layer should keep filters that differ from one another), not
the arithmetic; what follows is our reading of it. Two filters are as far apart as their directions are: the
cosine distance 1 − cos, in [0, 2]. Between filters scaled to unit length the Euclidean distance is
√(2 · (1 − cos)), so it puts pairs in the same order and needs no variant of its own. A filter that is all
zero has no direction; it counts as removed already and goes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsight.errors import SparsightError


def pairs(scores: Tensor, filters: Tensor, count: int) -> Tensor:
    """Remove ``count`` filters of a layer, each time one of the two that are most alike.

    Of the closest pair the one with the lower score goes (of equal scores the later one), its distances go
    with it, and so on. A filter that is far from all others is therefore kept while two others remain.

    Args:
        scores: (O,), the criterion's score per filter, higher = keep.
        filters: (O, n), the filters' weights.
        count: how many to remove, in [0, O].

    Returns:
        (O,) bool on the device of ``scores``, False where removed.

    Raises:
        SparsightError: shapes that do not match, weights that are not finite, or a count out of range.
    """
    value = _checked(scores, filters, count)
    distance = _distances(filters)
    kept = np.ones(len(value), dtype=bool)
    count = _drop_zeros(kept, filters, count)
    distance[~kept] = np.inf
    distance[:, ~kept] = np.inf
    # Each row remembers its nearest neighbour, so that a removal only costs the rows that lose theirs.
    nearest = distance.argmin(axis=1)
    gap = distance[np.arange(len(kept)), nearest]
    for _ in range(count):
        first = int(gap.argmin())
        if not np.isfinite(gap[first]):  # one filter is left, which has no pair
            kept[:] = False
            break
        second = int(nearest[first])
        low, high = min(first, second), max(first, second)
        gone = low if value[low] < value[high] else high
        kept[gone] = False
        distance[gone] = np.inf
        distance[:, gone] = np.inf
        gap[gone] = np.inf
        widowed = np.flatnonzero(kept & (nearest == gone))
        nearest[widowed] = distance[widowed].argmin(axis=1)
        gap[widowed] = distance[widowed, nearest[widowed]]
    return torch.from_numpy(kept).to(scores.device)


def clusters(scores: Tensor, filters: Tensor, count: int, *, groups: int | None = None) -> Tensor:
    """Remove ``count`` filters of a layer from clusters of like ones, in proportion to the clusters' sizes.

    Average linkage on the cosine distance, cut into ``groups`` clusters. Inside a cluster the lowest scores
    go; what is left is shared out by Webster's divisor method, and every cluster keeps its best filter (there
    are never more clusters than filters to keep): a rare filter is a cluster of its own and survives.

    Args:
        scores: (O,), the criterion's score per filter, higher = keep.
        filters: (O, n), the filters' weights.
        count: how many to remove, in [0, O].
        groups: how many clusters at most; √O rounded up if not given.

    Returns:
        (O,) bool on the device of ``scores``, False where removed.

    Raises:
        SparsightError: shapes that do not match, weights that are not finite, or a count out of range.
    """
    value = _checked(scores, filters, count)
    kept = np.ones(len(value), dtype=bool)
    count = _drop_zeros(kept, filters, count)
    alive = np.flatnonzero(kept)
    if count == 0 or not len(alive):
        return torch.from_numpy(kept).to(scores.device)
    groups = min(groups or math.ceil(math.sqrt(len(alive))), max(len(alive) - count, 1))
    label = _labels(_distances(filters)[np.ix_(alive, alive)], groups)
    value = value[alive]
    # Lowest score first inside each cluster; of equal scores the later filter goes first.
    order = np.lexsort((-np.arange(len(alive)), value, label))
    size = np.bincount(label)
    rank = np.empty(len(alive), dtype=np.int64)
    rank[order] = np.arange(len(alive)) - (np.cumsum(size) - size)[label[order]]
    share = (rank + 0.5) / size[label]
    best = rank == size[label] - 1
    going = np.lexsort((-np.arange(len(alive)), value, share, best))[:count]
    kept[alive[going]] = False
    return torch.from_numpy(kept).to(scores.device)


def rarity(filters: Tensor) -> Tensor:
    """How far each filter is from the one most like it.

    Args:
        filters: (O, n) or shaped like a layer's weight, (O, ...).

    Returns:
        (O,) float32 in [0, 2]: the cosine distance to the nearest other filter; 0 for a copy and for a
        filter that is all zero, 2 when there is no other one.

    Raises:
        SparsightError: weights that are not finite.
    """
    flat = filters.detach().flatten(1)
    _check_finite(flat)
    distance = _distances(flat)
    zero = (~flat.any(dim=1)).cpu().numpy()
    distance[:, zero] = np.inf
    return (
        torch.from_numpy(np.where(zero, 0.0, np.minimum(distance.min(axis=1), 2.0)))
        .float()
        .to(filters.device)
    )


VARIETY: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"pairs": pairs, "clusters": clusters}
"""Name → (scores (O,), filters (O, n), how many to remove) → kept (O,) bool."""


def _checked(scores: Tensor, filters: Tensor, count: int) -> NDArray[np.float64]:
    if filters.dim() != 2 or scores.shape != filters.shape[:1]:
        raise SparsightError(
            f"filter variety needs scores (O,) and filters (O, n), not {tuple(scores.shape)} and "
            f"{tuple(filters.shape)}: flatten each filter to a row."
        )
    if not 0 <= count <= len(scores):
        raise SparsightError(
            f"cannot remove {count} of {len(scores)} filters: give a count from 0 to {len(scores)}."
        )
    _check_finite(filters)
    value: NDArray[np.float64] = scores.detach().double().cpu().numpy()
    return value


def _check_finite(filters: Tensor) -> None:
    if not bool(torch.isfinite(filters).all()):
        raise SparsightError(
            "filters with NaN or infinite weights cannot be compared: mend the training first."
        )


def _distances(filters: Tensor) -> NDArray[np.float64]:
    """(O, O) cosine distances in [0, 2], infinite on the diagonal; 1 from a zero filter to any other."""
    # Double precision: exact copies must come out closer than near ones, and 1 - cos cancels.
    unit = torch.nn.functional.normalize(
        filters.detach().double(), dim=1, eps=torch.finfo(torch.float64).tiny
    )
    cosine = unit @ unit.T
    distance: NDArray[np.float64] = (
        (1 - (cosine + cosine.T) / 2).clamp_(0, 2).fill_diagonal_(math.inf).cpu().numpy()
    )
    return distance


def _drop_zeros(kept: NDArray[np.bool_], filters: Tensor, count: int) -> int:
    """Remove zero filters, ``count`` at most, and return how many are still to go."""
    gone = np.flatnonzero((~filters.any(dim=1)).cpu().numpy())[:count]
    kept[gone] = False
    return count - len(gone)


def _labels(distance: NDArray[np.float64], groups: int) -> NDArray[np.int64]:
    """The cluster, from 0, of every filter."""
    if len(distance) == 1:
        return np.zeros(1, dtype=np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage

    condensed = distance[np.triu_indices(len(distance), 1)]
    found = fcluster(linkage(condensed, "average"), groups, criterion="maxclust")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)
