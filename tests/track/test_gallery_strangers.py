from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight.track.gallery_strangers import OTHERS, TAIL, known_again, stranger_chance, tail

FAR = 0.4


def row(*distance: float) -> NDArray[np.float32]:
    return np.array([distance], np.float32)


@pytest.mark.parametrize("people", [1, 2, 3, 4, 10, 100, 1000])
@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_strangers_pass_at_the_stated_rate_whatever_the_number_of_people(people: int, rate: float) -> None:
    """Drawn from the law that is assumed; the crowd may be more alike or less, by any factor."""
    rng = np.random.default_rng(people)
    draws = rng.random((20_000, people)) ** (1 / TAIL)
    scale = 2 * FAR * (rng.uniform(0.3, 1, (len(draws), 1)) if people > OTHERS else 1)
    passed = stranger_chance((draws * scale).astype(np.float32), FAR) <= rate
    assert abs(passed.mean() - rate) < 4 * np.sqrt(rate / len(draws))


def test_whoever_is_much_nearer_to_one_than_to_the_others_is_known_again() -> None:
    others = [0.7, 0.75, 0.8, 0.9]
    near = np.concatenate(
        [row(0.2, *others), row(0.6, *others), row(0.39, *others), row(0.3, 0.4, 0.45, 0.5, 0.6)]
    )
    known, allowed = known_again(near, FAR, 0.1)
    assert known.tolist() == [True, False, False, False]
    assert np.argwhere(np.isfinite(allowed)).tolist() == [[0, 0]]
    assert allowed[0, 0] == near[0, 0]


def test_somebody_who_is_in_the_gallery_thrice_is_still_known_again() -> None:
    known, allowed = known_again(row(0.2, 0.8, 0.22, 0.9, 0.21, 0.7), FAR, 0.1)
    assert known.all()
    assert np.flatnonzero(np.isfinite(allowed)).tolist() == [0]


def test_those_it_cannot_be_do_not_count() -> None:
    inf = np.inf
    some = row(inf, 0.2, 0.7, inf, 0.75, 0.8, 0.9)
    np.testing.assert_allclose(
        stranger_chance(some, FAR), stranger_chance(some[np.isfinite(some)][None], FAR)
    )
    assert stranger_chance(np.concatenate([some, row(*7 * [inf])]), FAR)[1] == 1
    assert not known_again(row(inf, inf), FAR, 0.1)[0].any()


def test_nobody_is_known_in_an_empty_gallery() -> None:
    known, allowed = known_again(np.zeros((2, 0), np.float32), FAR, 0.1)
    assert known.tolist() == [False, False] and allowed.shape == (2, 0)
    assert known_again(np.zeros((0, 3), np.float32), FAR, 0.1)[0].shape == (0,)


def test_never_beyond_the_greatest_distance() -> None:
    assert not known_again(row(0.5, 2, 2, 2, 2), FAR, 0.5)[0].any()
    assert known_again(row(0.4, 2, 2, 2, 2), FAR, 0.5)[0].all()


def test_a_network_whose_distances_lie_close_together_has_a_power_of_its_own() -> None:
    assert tail("osnet_x0_25-0123456789ab") == tail("somebody's network") == TAIL
    near = row(0.1, 0.14, 0.15, 0.16, 0.15)
    assert not known_again(near, 0.125, 0.1)[0].any()
    assert known_again(near, 0.125, 0.1, tail("mobilenet_v2-0123456789ab"))[0].all()
