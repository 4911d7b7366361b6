"""CLEAR MOT (Bernardin and Stiefelhagen, 2008): MOTA, MOTP, identity switches, fragments and their kin.

Fields are named as in ``trackeval`` 1.3.0 and agree with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.track.metrics.matching import MARGIN, beyond_doubt, solve_frames, spans
from sparsight.track.metrics.pairs import Pairs, Side, by_id

THRESHOLD = 0.5
"""The least overlap of a match."""
_EPS = float(np.finfo(float).eps)
_CONTINUES = 1000
"""What it is worth that a match goes on from the frame before: more than all overlaps of a frame."""
_SUMMED = ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "MT", "PT", "ML", "Frag", "CLR_Frames", "MOTP_sum")


def score(pairs: Pairs) -> dict[str, Any]:
    """Counts and ratios of the CLEAR metrics, at an overlap of at least 0.5.

    Returns:
        MOTA, MOTP, MODA, CLR_Re, CLR_Pr, MTR, PTR, MLR, sMOTA, CLR_F1, FP_per_frame, MOTAL, MOTP_sum and
        the counts CLR_TP, CLR_FN, CLR_FP, IDSW, MT, PT, ML, Frag, CLR_Frames.
    """
    truth, result = pairs.truth, pairs.result
    values: dict[str, Any] = dict.fromkeys(_SUMMED, 0)
    if not len(truth) or not len(result):
        # What trackeval says of an empty side: no ratio but this one.
        values |= {"CLR_FN": len(truth), "CLR_FP": len(result), "ML": truth.id_count}
        values = _complete(values)
        nothing = dict.fromkeys(values.keys() - set(_SUMMED), 0.0)
        return values | nothing | {"MLR": 1.0}
    before = _row_before(truth, result)
    match = _matches(pairs, before)
    matched = match >= 0
    own = match[matched]
    hits = len(own)
    values["CLR_TP"] = hits
    values["CLR_FN"] = len(truth) - hits
    values["CLR_FP"] = len(result) - hits
    values["MOTP_sum"] = float(pairs.similarity[own].sum())
    values["CLR_Frames"] = pairs.frames

    rows = matched.nonzero()[0]
    rows = rows[by_id(truth.id[rows])]  # each person's matches in order of time
    person, track = truth.id[rows], result.id[pairs.column[match[rows]]]
    values["IDSW"] = int(((person[1:] == person[:-1]) & (track[1:] != track[:-1])).sum())

    begins = matched & ~((before >= 0) & matched[before])
    stretches = np.bincount(truth.id[begins], minlength=truth.id_count)
    values["Frag"] = int((stretches[stretches > 0] - 1).sum())

    share = np.bincount(truth.id[matched], minlength=truth.id_count) / np.bincount(truth.id)
    values["MT"] = int((share > 0.8).sum())
    values["PT"] = int((share >= 0.2).sum()) - values["MT"]
    values["ML"] = truth.id_count - values["MT"] - values["PT"]
    return _complete(values)


def combine(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values of several sequences together: counts add up."""
    return _complete({name: sum(one[name] for one in sequences) for name in _SUMMED})


def _row_before(truth: Side, result: Side) -> NDArray[np.intp]:
    """(N,) row of the same person in the frame before, or -1.

    Frames in which nothing is reported are passed over, as are those without truth.
    """
    shown = np.zeros(int(max(truth.frame[-1], result.frame[-1])) + 1, bool)
    shown[result.frame] = True
    counted = np.zeros_like(shown)
    counted[truth.frame] = True
    counted &= shown
    time = counted.cumsum()[truth.frame]
    rows = shown[truth.frame].nonzero()[0]
    order = rows[by_id(truth.id[rows])]
    follows = (truth.id[order[1:]] == truth.id[order[:-1]]) & (time[order[1:]] == time[order[:-1]] + 1)
    before = np.full(len(truth), -1)
    before[order[1:][follows]] = order[:-1][follows]
    return before


def _matches(pairs: Pairs, before: NDArray[np.intp]) -> NDArray[np.intp]:
    """(N,) the pair in which each true box is matched, or -1.

    Whom a box is matched with depends on the frame before. So all frames are solved at once with a guess of
    what goes on, and those again for which the guess was wrong, until none is: each round settles at least
    the earliest of them, and most rounds settle nearly all.
    """
    good = (pairs.similarity >= THRESHOLD - _EPS).nonzero()[0]
    row, column = pairs.row.take(good), pairs.column.take(good)
    similarity = pairs.similarity.take(good)
    match = np.full(len(before), -1)  # of the good pairs
    contested = (np.bincount(row).take(row) > 1) | (np.bincount(column).take(column) > 1)
    # First guess: everybody is matched with the track that they meet most often.
    settled = (~contested).nonzero()[0]
    match[row[settled]] = settled
    disputed = contested.nonzero()[0]
    key = pairs.meetings.key.take(good)
    often = np.bincount(key)[key[disputed]]
    liking = often + similarity[disputed]
    most = np.zeros(len(before))
    np.maximum.at(most, row[disputed], liking)
    liked = disputed[liking == most[row[disputed]]]
    match[row[liked]] = liked
    frame = pairs.truth.frame.take(row)
    start = np.searchsorted(frame, np.arange(pairs.frames + 1))
    # What nobody disputes is settled, unless its frame has to be solved as a whole.
    open_ = contested
    identity = pairs.result.id.take(column)

    def pairs_of(frames: NDArray[np.intp]) -> NDArray[np.intp]:
        some = spans(start[frames], start[frames + 1])
        return some[open_[some]]

    def goes_on(some: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether the box of a pair was matched with the same track in the frame before."""
        earlier = before[row[some]]
        takes = np.where(earlier >= 0, match[earlier], -1)
        flags: NDArray[np.bool_] = (takes >= 0) & (identity[takes] == identity[some])
        return flags

    counts = [np.bincount(f, minlength=pairs.frames) for f in (pairs.truth.frame, pairs.result.frame)]
    shown = (counts[0] * counts[1]).nonzero()[0]
    stale = hard = np.bincount(frame[disputed]).nonzero()[0]
    known = np.zeros(len(good), bool)
    while len(stale):
        again = pairs_of(stale)
        known[again] = goes_on(again)
        worth = _CONTINUES * known[again] + similarity[again]
        sure, doubtful = beyond_doubt(row[again], column[again], worth, MARGIN)
        match[row[again]] = -1
        match[row[again[sure]]] = again[sure]
        if len(doubtful):
            frames = np.unique(frame[again[doubtful]])
            whole = spans(start[frames], start[frames + 1])
            open_[whole] = True
            known[whole] = goes_on(whole)
            matched = whole[solve_frames(pairs, good[whole], _CONTINUES * known[whole] + similarity[whole])]
            match[row[whole]] = -1
            match[row[matched]] = matched
        place = np.searchsorted(shown, stale, "right")
        later = np.intersect1d(shown[place[place < len(shown)]], hard, assume_unique=True)
        doubted = pairs_of(later)
        stale = np.unique(frame[doubted[goes_on(doubted) != known[doubted]]])
    return np.where(match >= 0, good[match], -1) if len(good) else match


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    """Add what follows from the counts."""
    hits, missed, false, switches = (values[name] for name in ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW"))
    total = max(1.0, hits + missed)
    people = max(1.0, values["MT"] + values["PT"] + values["ML"])
    log_switches = math.log10(switches) if switches > 0 else 0
    return values | {
        "MTR": values["MT"] / people,
        "PTR": values["PT"] / people,
        "MLR": values["ML"] / people,
        "CLR_Re": hits / total,
        "CLR_Pr": hits / max(1.0, hits + false),
        "MODA": (hits - false) / total,
        "MOTA": (hits - false - switches) / total,
        "MOTP": values["MOTP_sum"] / max(1.0, hits),
        "sMOTA": (values["MOTP_sum"] - false - switches) / total,
        "CLR_F1": hits / max(1.0, hits + 0.5 * missed + 0.5 * false),
        "FP_per_frame": false / max(1.0, values["CLR_Frames"]),
        "MOTAL": (hits - false - log_switches) / total,
    }
