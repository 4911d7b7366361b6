"""Would a stranger come as near to somebody as this? The open-set decision, whatever the number of people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TAIL = 4.0
"""The chance that a stranger is within d of a given person grows as d to this power, for small d. With
``osnet_x0_25``, the 28 people of PETS09-S2L1, TUD-Stadtmitte and TUD-Campus give 5.9 where one sight is known
of each and 5.5 where several are, and nine in ten halves of them 4 to 8. The lowest is the most careful."""
TAILS = {"mobilenet_v2": 12.0}
"""Networks whose power is another. MobileNetV2's vectors have a large part in common, so that all distances
lie close together: the same people give 8.8. With 12, and its greatest distance of 0.125, at most 5% of the
strangers are taken for somebody (``benchmarks/track/strangers.py``)."""
OTHERS = 3
"""Other people whose distances say how near strangers come; a person who is in the gallery twice or thrice,
or has a twin there, leaves the scale nearly as it was."""


def tail(model: str) -> float:
    """The power for the vectors of an embedder, by its name: ``network-weights``."""
    return TAILS.get(model.partition("-")[0], TAIL)


def stranger_chance(
    distance: NDArray[np.float32], max_distance: float, power: float = TAIL
) -> NDArray[np.float64]:
    """The chance that somebody who is none of these people comes as near to the nearest of them as that.

    Let the distances of a stranger from P people have a distribution function that near zero is a power k of
    the distance. As P grows, whatever its factor, the lowest ones then behave like those of a Weibull
    distribution (the extreme-value limit: Coles, An Introduction to Statistical Modeling of Extreme Values,
    2001, ch. 3), and given the m+1st lowest, d_(m+1), the m below it are independent with distribution
    function (d / d_(m+1))^k. So the lowest is at d or below with chance

        1 - (1 - (d / d_(m+1))^k)^m,

    with k = ``power`` and m = ``OTHERS``: it holds for any number of people, in a crowd dressed alike as in
    one that is not. With P people or fewer than m + 1, twice ``max_distance``, where strangers mostly are,
    stands for d_(m+1), and P for m.

    Args:
        distance: (Q, P) of each question from each person; infinity where it cannot be that person.
        max_distance: cosine distance up to which somebody is looked upon as the same at all.
        power: of the embedder's distances, see :func:`tail`.

    Returns:
        (Q,) the chance, for the nearest person; 1 where there is none.
    """
    people = np.isfinite(distance).sum(1)
    if not distance.shape[1]:
        return np.ones(len(distance))
    count = min(OTHERS + 1, distance.shape[1])
    lowest = (
        np.partition(distance, np.arange(count), axis=1)[:, :count] if distance.shape[1] > count else distance
    )
    lowest = np.sort(lowest, axis=1).astype(np.float64)
    enough = people > OTHERS
    scale = np.where(enough, lowest[:, -1], 2 * max_distance)
    trials = np.minimum(people, OTHERS)
    near = np.where(people > 0, lowest[:, 0], np.inf) / np.maximum(scale, 1e-12)
    chance: NDArray[np.float64] = 1 - (1 - np.minimum(near, 1) ** power) ** trials
    return np.where(people > 0, chance, 1.0)


def known_again(
    distance: NDArray[np.float32], max_distance: float, false_accept: float, power: float = TAIL
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Who is known again at a stated rate of strangers taken for somebody.

    Args:
        distance: (Q, P) of each question from each person; infinity where it cannot be that person.
        max_distance: greatest distance at which somebody is known again at all.
        false_accept: share of strangers that may be taken for anybody, in (0, 1).
        power: of the embedder's distances, see :func:`tail`.

    Returns:
        (Q,) whether the nearest person is near enough, and (Q, P) the distances with infinity for everybody
        else.
    """
    known: NDArray[np.bool_] = stranger_chance(distance, max_distance, power) <= false_accept
    allowed = np.full_like(distance, np.inf)
    if distance.shape[1]:
        nearest = distance.argmin(1)
        rows = np.arange(len(distance))
        known &= distance[rows, nearest] <= max_distance
        allowed[rows[known], nearest[known]] = distance[rows[known], nearest[known]]
    return known, allowed
