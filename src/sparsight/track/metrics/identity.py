"""Identity metrics (Ristani et al., 2016): IDF1, IDP and IDR of the best assignment of whole identities.

Fields are named as in ``trackeval`` 1.3.0 and agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsight.track.metrics.matching import largest_total
from sparsight.track.metrics.pairs import Pairs

THRESHOLD = 0.5
"""The least overlap at which a reported box can stand for a true one."""
_COUNTS = ("IDTP", "IDFN", "IDFP")


def score(pairs: Pairs) -> dict[str, Any]:
    """IDF1, IDP and IDR, and the counts IDTP, IDFN and IDFP that they are made of.

    Each true identity is given to at most one reported identity, for the whole sequence, such that as many
    boxes as possible agree; the matrix of how often two identities meet stays sparse.
    """
    met = pairs.meetings
    count = np.bincount(met.key[pairs.similarity >= THRESHOLD], minlength=len(met))
    some = count > 0
    hits = largest_total(met.truth[some], met.result[some], count[some])
    return _complete({"IDTP": hits, "IDFN": len(pairs.truth) - hits, "IDFP": len(pairs.result) - hits})


def combine(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values of several sequences together: counts add up."""
    return _complete({name: sum(one[name] for one in sequences) for name in _COUNTS})


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    hits, missed, false = (values[name] for name in _COUNTS)
    return values | {
        "IDF1": hits / max(1.0, hits + 0.5 * missed + 0.5 * false),
        "IDP": hits / max(1.0, hits + false),
        "IDR": hits / max(1.0, hits + missed),
    }
