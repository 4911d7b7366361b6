"""From which score on somebody is one of those enrolled, so that strangers pass at a stated rate only.

What is known of strangers comes from the people enrolled, each scored by a machine that does not know them.
Two things make the plain quantile of those scores pass several times too many people who were never seen:

* A person's crops resemble one another, so a hundred crops of ten people tell little more than ten numbers.
  A new stranger's score is predicted from them: the mean m over people, and the deviation s of the sum of a
  new person's mean and a crop's distance from it, s² = (1 + 1/P) · variance between people + mean variance
  within. Normal scores pass m + κ s at the rate f if κ is Student's quantile of 1 − f with P − 1 degrees of
  freedom (the prediction interval of a normal sample).
* Two people who look alike vouch for each other: each is the reason why the other's score as a stranger is
  high, so neither finds the threshold too low. A stranger has no such twin. So each person is also scored in
  units of m and s as they are when that person is in neither role; κ is no less than the quantile of those.
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

    people = np.unique(label)
    centre, scale = _spread(stranger[:, people].max(axis=1), label)
    steps = float(student.ppf(1 - far, len(people) - 1))
    if len(people) > 2:
        steps = max(steps, share_quantile(_apart(stranger, label), label, far))
    return centre + steps * scale


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


def _apart(stranger: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Best scores (N,) in deviations from the mean, both without the crop's person in any role."""
    group = groups(stranger.shape[1])
    best = stranger.max(axis=1)
    apart = np.empty(len(label))
    for part in np.unique(group[label]).tolist():
        own = (group == part)[label]
        people = np.setdiff1d(label[~own], np.flatnonzero(group == part))
        centre, scale = _spread(stranger[np.ix_(~own, people)].max(axis=1), label[~own])
        apart[own] = (best[own] - centre) / scale
    return apart


def _spread(best: NDArray[np.float64], label: NDArray[np.int64]) -> tuple[float, float]:
    """Mean over people of their best scores, and the deviation of a crop of one more person from it."""
    kept = np.isfinite(best)
    _, person = np.unique(label[kept], return_inverse=True)
    count = np.bincount(person)
    mean = np.bincount(person, best[kept]) / count
    within = np.bincount(person, (best[kept] - mean[person]) ** 2) / count
    between = mean.var(ddof=1) * (1 + 1 / len(mean))
    return float(mean.mean()), max(float(np.sqrt(between + within.mean())), 1e-12)
