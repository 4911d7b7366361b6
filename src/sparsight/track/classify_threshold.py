"""From which score on somebody is one of those enrolled, so that strangers pass at a stated rate only.

What is known of strangers comes from the people enrolled, each scored by a machine that does not know
them. The plain quantile of those scores is too low: a person's crops resemble one another, so a hundred
crops of ten people tell little more than ten numbers. A new stranger's score is therefore predicted from
them: with m the mean over people and s² = (1 + 1/P) · variance between people + mean variance within,
normal scores pass m + t s at the rate f if t is Student's quantile of 1 − f with P − 1 degrees of freedom
(the prediction interval of a normal sample). Scores end somewhere, which a normal tail does not know: the
threshold is never above the highest score of any stranger, and never below the plain quantile.

How often strangers then pass is counted with thresholds that owe nothing to the person judged, in neither
role: two people who look alike would otherwise vouch for each other, each being why the other's score is
high.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEFT_OUT = 20
"""People up to which each is left out alone; with more, so many groups of them are."""


def groups(people: int) -> NDArray[np.int64]:
    """Which people are left out together: (P,) from 0.

    Every so manieth person, so that neighbours in the alphabet (one family, one team) part.
    """
    return np.arange(people) % min(people, LEFT_OUT)


def open_set_threshold(stranger: NDArray[np.float64], label: NDArray[np.int64], far: float) -> float:
    """The score that a stranger's crop exceeds at the rate ``far``.

    Args:
        stranger: (N, P) scores of crops by machines that do not know the crop's person; -inf in the columns
            of whoever was left out together with that person.
        label: (N,) person of each crop.
        far: in (0, 1).
    """
    from scipy.stats import t as student

    best = stranger.max(axis=1)
    centre, scale, people = _spread(best, label)
    predicted = centre + float(student.ppf(1 - far, people - 1)) * scale
    return min(max(predicted, share_quantile(best, label, far)), float(best.max()))


def stranger_decisions(
    stranger: NDArray[np.float64], label: NDArray[np.int64], far: float
) -> NDArray[np.int64]:
    """Who each crop is taken for, (N,), -1 for nobody, with a threshold that owes nothing to its person.

    Args:
        stranger, label, far: as for :func:`open_set_threshold`.
    """
    group = groups(stranger.shape[1])
    found = np.full(len(label), -1, np.int64)
    for part in range(int(group.max()) + 1):
        own = (group == part)[label]
        others = np.where(group == part, -np.inf, stranger[~own])
        passed = stranger[own].max(axis=1) > open_set_threshold(others, label[~own], far)
        found[own] = np.where(passed, stranger[own].argmax(axis=1), -1)
    return found


def share_quantile(values: NDArray[np.float64], label: NDArray[np.int64], share: float) -> float:
    """The least of ``values`` (N,) that at most ``share`` of them exceed, each label weighing the same."""
    weight = 1 / np.bincount(label)[label]
    order = np.argsort(-values, kind="stable")
    passed = np.cumsum(weight[order]) / weight.sum()
    # The first that would be one too many, and with it all of the same value, must not exceed it.
    return float(values[order[int(np.searchsorted(passed, share * (1 + 1e-12), side="right"))]])


def exact_interval(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval (Biometrika 1934) of a share of ``count`` independent cases.

    The share of crops over people may be any number in [0, 1]; ``count`` is then the number of people, which
    is what makes the interval hold for new people: it is wide, because they are few.
    """
    from scipy.stats import beta

    hits, tail = share * count, (1 - confidence) / 2
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, count - hits + 1))
    high = 1.0 if hits >= count else float(beta.ppf(1 - tail, hits + 1, count - hits))
    return low, high


def _spread(best: NDArray[np.float64], label: NDArray[np.int64]) -> tuple[float, float, int]:
    """Mean over people of their best scores, deviation of a crop of one more person from it, and people."""
    _, person = np.unique(label, return_inverse=True)
    count = np.bincount(person)
    mean = np.bincount(person, best) / count
    within = np.bincount(person, (best - mean[person]) ** 2) / count
    between = mean.var(ddof=1) * (1 + 1 / len(mean))
    return float(mean.mean()), float(np.sqrt(between + within.mean())), len(mean)
