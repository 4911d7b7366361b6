"""Higher order tracking accuracy (Luiten et al., IJCV 2021, arXiv 2009.07736), all 19 thresholds at once.

Fields are named as in ``trackeval`` 1.3.0, the benchmark's official code, and agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.track.metrics.matching import best_matches
from sparsight.track.metrics.pairs import Pairs

ALPHAS: NDArray[np.float64] = np.arange(0.05, 0.99, 0.05)
"""The 19 thresholds of localisation."""
_EPS = float(np.finfo(float).eps)
_COUNTS = ("HOTA_TP", "HOTA_FN", "HOTA_FP")
_ASSOCIATION = ("AssA", "AssRe", "AssPr")


def score(pairs: Pairs) -> dict[str, Any]:
    """HOTA and what it is made of.

    Returns:
        (19,) float64 arrays over ``ALPHAS``: HOTA, DetA, AssA, DetRe, DetPr, AssRe, AssPr, LocA, OWTA in
        [0, 1] (what is quoted is their mean) and the counts HOTA_TP, HOTA_FN, HOTA_FP; and the numbers
        HOTA(0), LocA(0) and HOTALocA(0) at the lowest threshold.
    """
    truth, result = pairs.truth, pairs.result
    values: dict[str, Any] = {
        name: np.zeros(len(ALPHAS)) for name in ("HOTA", "DetA", "DetRe", "DetPr", "OWTA", *_ASSOCIATION)
    }
    values |= {"HOTA(0)": 0.0, "LocA(0)": 1.0, "HOTALocA(0)": 0.0, "LocA": np.ones(len(ALPHAS))}
    if not len(truth) or not len(result):
        values["HOTA_TP"] = np.zeros(len(ALPHAS))
        values["HOTA_FN"] = np.full(len(ALPHAS), float(len(truth)))
        values["HOTA_FP"] = np.full(len(ALPHAS), float(len(result)))
        return values

    worth = _alignment(pairs).take(pairs.meetings.key) * pairs.similarity
    allowed = (worth > 0).nonzero()[0]
    matched = best_matches(pairs, allowed, worth.take(allowed))
    similarity = pairs.similarity.take(matched)
    # How many of the thresholds each match passes; all that follows are sums over those that pass the a-th.
    passed = np.searchsorted(ALPHAS - _EPS, similarity, side="right")
    steps = len(ALPHAS) + 1
    hits = _passing(np.bincount(passed, minlength=steps).astype(float))
    values["HOTA_TP"] = hits
    values["HOTA_FN"] = len(truth) - hits
    values["HOTA_FP"] = len(result) - hits
    located = _passing(np.bincount(passed, similarity, minlength=steps))
    values["LocA"] = np.maximum(1e-10, located) / np.maximum(1e-10, hits)

    met = pairs.meetings
    cells = np.bincount(met.key.take(matched) * steps + passed, minlength=len(met) * steps)
    count = _passing(cells.reshape(len(met), steps).astype(float))
    seen = np.bincount(truth.id)[met.truth][:, None].astype(float)
    shown = np.bincount(result.id)[met.result][:, None].astype(float)
    for name, whole in zip(_ASSOCIATION, (seen + shown - count, seen, shown), strict=True):
        values[name] = (count * count / np.maximum(1, whole)).sum(axis=0) / np.maximum(1, hits)
    return _complete(values)


def combine(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values of several sequences together, weighted by their matches as in ``trackeval``."""
    values: dict[str, Any] = {name: sum(one[name] for one in sequences) for name in _COUNTS}
    for name in _ASSOCIATION:
        weighted = sum(one[name] * one["HOTA_TP"] for one in sequences)
        values[name] = weighted / np.maximum(1.0, values["HOTA_TP"])
    located = sum(one["LocA"] * one["HOTA_TP"] for one in sequences)
    values["LocA"] = np.maximum(1e-10, located) / np.maximum(1e-10, values["HOTA_TP"])
    return _complete(values)


def _alignment(pairs: Pairs) -> NDArray[np.float64]:
    """How well each two identities that ever meet go together over all, in [0, 1] (section 5.2)."""
    similarity = pairs.similarity
    row_sum = np.bincount(pairs.row, similarity, minlength=len(pairs.truth))
    column_sum = np.bincount(pairs.column, similarity, minlength=len(pairs.result))
    around = column_sum.take(pairs.column) + row_sum.take(pairs.row) - similarity
    share = np.divide(similarity, around, out=np.zeros_like(similarity), where=around > _EPS)
    met = pairs.meetings
    potential = np.bincount(met.key, share, minlength=len(met))
    frames = np.bincount(pairs.truth.id)[met.truth] + np.bincount(pairs.result.id)[met.result]
    alignment: NDArray[np.float64] = potential / (frames - potential)
    return alignment


def _passing(cells: NDArray[Any]) -> NDArray[np.float64]:
    """From sums over what passes just n thresholds (last axis: n = 0..19), those of what passes each."""
    sums: NDArray[np.float64] = cells[..., :0:-1].cumsum(axis=-1)[..., ::-1]
    return sums


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    """Add what follows from the other values."""
    hits, missed, false = (values[name] for name in _COUNTS)
    values["DetRe"] = hits / np.maximum(1, hits + missed)
    values["DetPr"] = hits / np.maximum(1, hits + false)
    values["DetA"] = hits / np.maximum(1, hits + missed + false)
    values["HOTA"] = np.sqrt(values["DetA"] * values["AssA"])
    values["OWTA"] = np.sqrt(values["DetRe"] * values["AssA"])
    values["HOTA(0)"] = float(values["HOTA"][0])
    values["LocA(0)"] = float(values["LocA"][0])
    values["HOTALocA(0)"] = values["HOTA(0)"] * values["LocA(0)"]
    return values
