"""Identity over time and space: after people were away, on other cameras, and in a ranked gallery.

HOTA, CLEAR and IDF1 say little about somebody who leaves and returns: a few frames' worth of a long sequence.
Here a return is one case, whatever its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.formats import Table
from sparsight.track.formats.pyppbox import answers
from sparsight.track.metrics import identity
from sparsight.track.metrics.evaluation import both_sides
from sparsight.track.metrics.labels import Labels, Source, identified
from sparsight.track.metrics.matching import best_matches
from sparsight.track.metrics.pairs import Pairs, by_id
from sparsight.track.metrics.preprocessing import counted, rules_for

_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Returns:
    """Every time that somebody came back into view.

    Attributes:
        gap: (R,) int64 frames for which the person was away.
        kept: (R,) whether the identity reported after the gap is the one reported before.
    """

    gap: NDArray[np.int64]
    kept: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.gap)


def returns(pairs: Pairs) -> Returns:
    """The returns of a sequence.

    A stay lasts while somebody is in the ground truth frame after frame, and the identity reported of it is
    the one that was matched with it most often (overlap of at least 0.5). A return is kept if that is also
    the identity of the latest stay of which any was reported; a stay of which none is reported is not kept.
    Returns before anything was reported of a person are no cases.
    """
    truth, result = pairs.truth, pairs.result
    none = Returns(np.zeros(0, np.int64), np.zeros(0, bool))
    if not len(truth):
        return none
    order = by_id(truth.id)
    person, frame = truth.id[order], truth.frame[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (person[1:] != person[:-1]) | (frame[1:] > frame[:-1] + 1)
    first = begins.nonzero()[0]
    stay_of = np.empty(len(order), np.intp)
    stay_of[order] = begins.cumsum() - 1

    near = (pairs.similarity >= _OVERLAP).nonzero()[0]
    matched = best_matches(pairs, near, pairs.similarity[near])
    reported = _most_often(stay_of[pairs.row[matched]], result.id[pairs.column[matched]], len(first))

    who = person[first]
    last_frame = np.append(frame[first[1:] - 1], frame[-1])
    # The latest stay of which anything was reported: a running maximum, which never reaches back to another.
    stays = np.arange(len(first))
    latest = np.maximum.accumulate(np.where(reported >= 0, stays, -1))
    before = np.append(-1, latest[:-1])
    case = (before >= 0) & (who[before] == who) & (np.append(-1, who[:-1]) == who)
    gap = frame[first] - np.append(0, last_frame[:-1]) - 1
    kept = reported == reported[before]
    return Returns(gap[case].astype(np.int64), kept[case])


def score(pairs: Pairs) -> dict[str, Any]:
    """Returns as values that add up.

    Returns:
        LT_Returns and LT_Kept, their number and of how many the identity was kept; LT_Acc, the share in
        [0, 1]; and (R,) arrays with a value for each return: LT_Gap in frames and LT_Same, 1 where kept.
    """
    found = returns(pairs)
    return _complete(found.gap, found.kept)


def combine(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The returns of several sequences together."""
    return _complete(*(np.concatenate([one[name] for one in sequences]) for name in ("LT_Gap", "LT_Same")))


def curve(found: Returns, seconds: NDArray[Any], fps: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Identity accuracy over the length of the absence.

    Args:
        found: the returns.
        seconds: (K,) lengths n.
        fps: frames per second.

    Returns:
        (K,) the share of kept identities among those who were away for at least n seconds, NaN where nobody
        was; and (K,) how many they are.

    Raises:
        SparsightError: ``fps`` is not above 0.
    """
    if not fps > 0:
        raise SparsightError(f"fps is {fps}, but frames per second must be above 0.")
    order = np.argsort(found.gap)
    first = np.searchsorted(found.gap[order], np.asarray(seconds, float) * fps - 1e-9)
    kept = np.append(0, np.cumsum(found.kept[order]))
    count = len(found) - first
    share = np.divide(kept[-1] - kept[first], count, out=np.full(len(first), np.nan), where=count > 0)
    return share, count.astype(np.int64)


def cross_camera(cameras: Sequence[tuple[Source, Source]], *, benchmark: str = "auto") -> dict[str, Any]:
    """Identity metrics over cameras that share their identities, as if they were one long sequence.

    Args:
        cameras: ground truth and result of each; an identity or name means the same person on all of them.
        benchmark: what counts, see :func:`sparsight.track.metrics.evaluate`.

    Returns:
        IDF1, IDP, IDR, IDTP, IDFN and IDFP: a person counts for one reported identity over all cameras.

    Raises:
        SparsightError: see :func:`sparsight.track.metrics.evaluate`; no cameras.
    """
    if not cameras:
        raise SparsightError("cross_camera got no cameras: give the ground truth and result of each.")
    sides = [both_sides(truth, result) for truth, result in cameras]
    offsets = np.cumsum([0, *(frames for _, _, frames in sides)])
    starts = offsets[:-1].tolist()
    truth = identified(_joined([side[0] for side in sides], starts))
    result = identified(_joined([side[1] for side in sides], starts))
    pairs, _, _ = counted(int(offsets[-1]), truth, result, rules_for(benchmark, truth))
    return identity.score(pairs)


def cumulative_matching(
    distance: NDArray[Any],
    query: NDArray[Any],
    gallery: NDArray[Any],
    *,
    query_camera: NDArray[Any] | None = None,
    gallery_camera: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """How high the right people rank in a gallery (Zheng et al., ICCV 2015: the protocol of Market-1501).

    Args:
        distance: (Q, G) from each query to each gallery entry.
        query: (Q,) who the queries show.
        gallery: (G,) who the entries show.
        query_camera: (Q,) cameras of the queries; with them, a query is not compared with entries of the same
            person on the same camera.
        gallery_camera: (G,) cameras of the entries.

    Returns:
        ``rank1``, ``rank5``, ``rank10`` and ``mAP`` in [0, 1], ``cmc``: (G,) share of queries with a right
        entry among the first k, and ``queries``: how many have a right entry at all; the others do not count.

    Raises:
        SparsightError: shapes that do not fit, a distance that is NaN, or no query with a right entry.
    """
    distance = np.asarray(distance)
    query, gallery = np.asarray(query), np.asarray(gallery)
    if distance.shape != (len(query), len(gallery)):
        raise SparsightError(
            f"the distances have shape {distance.shape}, but {len(query)} queries and {len(gallery)} gallery "
            f"entries need {(len(query), len(gallery))}."
        )
    if (query_camera is None) != (gallery_camera is None):
        raise SparsightError("cameras are known of queries or of the gallery only: give both or neither.")
    if np.isnan(distance).any():
        raise SparsightError("a distance is NaN: every query must have a distance to every gallery entry.")
    right = query[:, None] == gallery
    counts = np.ones_like(right)
    if query_camera is not None and gallery_camera is not None:
        counts = ~(right & (np.asarray(query_camera)[:, None] == np.asarray(gallery_camera)))
    order = np.argsort(distance, axis=1, kind="stable")
    right = np.take_along_axis(right & counts, order, axis=1)
    rank = np.take_along_axis(counts, order, axis=1).cumsum(axis=1)
    valid = right.any(axis=1)
    if not valid.any():
        raise SparsightError("no query has a right entry in the gallery, so there is nothing to rank.")
    right, rank = right[valid], rank[valid]
    hits = right.cumsum(axis=1)
    precision = np.where(right, hits / np.maximum(rank, 1), 0).sum(axis=1) / hits[:, -1]
    first = np.take_along_axis(rank, right.argmax(axis=1)[:, None], axis=1)[:, 0]
    cmc = np.bincount(first - 1, minlength=len(gallery)).cumsum() / len(first)
    best = {f"rank{k}": float(cmc[min(k, len(cmc)) - 1]) for k in (1, 5, 10)}
    return best | {"mAP": float(precision.mean()), "cmc": cmc, "queries": int(valid.sum())}


def _most_often(group: NDArray[np.intp], value: NDArray[np.intp], groups: int) -> NDArray[np.intp]:
    """(groups,) the commonest value of each group, the smallest of several, -1 in groups without any."""
    common = np.full(groups, -1)
    if not len(group):
        return common
    width = int(value.max()) + 1
    key, count = np.unique(group * width + value, return_counts=True)
    order = np.lexsort((-key, count))  # the last one written stays: the highest count, the smallest value
    which, what = np.divmod(key[order], width)
    common[which] = what
    return common


def _joined(parts: Sequence[Labels], offsets: Sequence[int]) -> Table:
    """The rows of several cameras behind each other in time."""
    tables = [part.table for part in parts]
    columns: dict[str, NDArray[Any]] = {}
    for name in set.intersection(*(set(table.columns) for table in tables)) - {"second_name"}:
        columns[name] = np.concatenate(
            [answers(table) if name == "name" else table.columns[name] for table in tables]
        )
    return Table(
        np.concatenate([table.frame + offset for table, offset in zip(tables, offsets, strict=True)]),
        np.concatenate([table.id for table in tables]),
        np.concatenate([table.xywh for table in tables]),
        columns,
        source="the cameras together",
    )


def _complete(gap: NDArray[np.int64], kept: NDArray[Any]) -> dict[str, Any]:
    hits = int(kept.sum())
    return {
        "LT_Returns": len(gap),
        "LT_Kept": hits,
        "LT_Acc": hits / max(1, len(gap)),
        "LT_Gap": gap,
        "LT_Same": kept.astype(np.int64),
    }
