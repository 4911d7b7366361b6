"""Nobody is at two places at once, and second thoughts follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_identify import LOOKS, Scene

from sparsight import SparsightError
from sparsight.track import Gallery
from sparsight.track.gallery_places import SAME_PLACE, Moments, moments, set_places, set_travel, travel
from sparsight.track.gallery_records import BY_EVIDENCE, MERGE, SPLIT
from sparsight.track.gallery_revise import merge_alike, split_misplaced
from sparsight.track.identify import UNKNOWN

MODEL, DIMENSION, FAR, RATE = "by-colour", 64, 0.4, 0.05


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite") as opened:
        yield opened


def two_cameras(gallery: Gallery, clock: str | None = "wall") -> tuple[Scene, Scene]:
    return Scene(gallery, "door", clock=clock), Scene(gallery, "attic", clock=clock)


def test_nobody_is_before_two_cameras_at_once(gallery: Gallery) -> None:
    door, attic = two_cameras(gallery)
    who = []
    for _ in range(60):
        who = [door.show(1, (1, 5, 0))[1], attic.show(1, (1, 5, 3))[1]]
    assert UNKNOWN not in who
    assert who[0] != who[1]
    # One after the other, they may be one person.
    attic.now = door.now = door.now + 30
    assert attic.show(30, (2, 5, 0))[2] in who


@pytest.mark.parametrize("told", [True, False])
def test_cameras_of_one_place_or_with_clocks_of_their_own_may(gallery: Gallery, told: bool) -> None:
    if told:
        set_places(gallery, [["door", "attic"]])
    door, attic = two_cameras(gallery, "wall" if told else None)
    for _ in range(60):
        who = [door.show(1, (1, 5, 0))[1], attic.show(1, (1, 5, 3))[1]]
    assert who[0] == who[1] != UNKNOWN


@pytest.mark.parametrize(("wait", "same"), [(10, False), (19, False), (21, True), (60, True)])
def test_nobody_is_faster_than_the_way_is_long(gallery: Gallery, wait: float, same: bool) -> None:
    set_travel(gallery, "attic", "door", 20)
    door, attic = two_cameras(gallery)
    before = door.show(30, (1, 5, 0))[1]
    door.identifier.finish()
    attic.now = door.now + wait
    assert (attic.show(60, (1, 5, 0))[1] == before) == same


def test_what_two_identifiers_decide_too_early_is_taken_back(gallery: Gallery) -> None:
    """One reads what the other has written up to a second ago, and so may not see that it still goes on."""
    door, attic = two_cameras(gallery)
    first = door.show(30, (1, 5, 0))[1]
    gallery.saw([(1, 1000.0, 1)])  # as if nothing had been written since the first frame
    attic.now = 1001.0
    assert attic.show(10, (1, 5, 0))[1] == first
    door.show(12, (1, 5, 0))
    door.identifier._write()
    attic.show(15, (1, 5, 0))
    assert attic.seen[1][-1] != first
    assert door.seen[1][-1] == first


def test_what_bars_what() -> None:
    """Against a plain reading of the rule, for every order of two sights."""
    one = np.array([1])
    for seconds in (SAME_PLACE, 0.0, 3.0):
        times = np.array([seconds])
        seen = Moments(one, one, np.array([8.0]), np.array([10.0]), times, times)
        for begin in np.arange(0.0, 20.0, 0.5):
            end = begin + 2
            gap = begin - 10 if begin >= 10 else 8 - end if end <= 8 else -1.0
            barred = seconds != SAME_PLACE and gap < seconds
            assert seen.bar(np.array([begin]), np.array([end]))[0, 0] == barred


def test_places_are_kept_and_checked(gallery: Gallery) -> None:
    set_places(gallery, [["a", "b", "c"]])
    set_travel(gallery, "b", "c", 5)
    with Gallery(gallery.path) as other:
        assert travel(other) == {
            ("a", "b"): SAME_PLACE,
            ("b", "a"): SAME_PLACE,
            ("a", "c"): SAME_PLACE,
            ("c", "a"): SAME_PLACE,
            ("b", "c"): 5.0,
            ("c", "b"): 5.0,
        }
        assert len(moments(other, "a", "wall", 0, 1).tracklet) == 0
    for group in (["a"], ["a", "a"], ["a", ""]):
        with pytest.raises(SparsightError, match="no group"):
            set_places(gallery, [group])
    for seconds, pair in ((-1, "ab"), (np.nan, "ab"), (np.inf, "ab"), (3, "aa")):
        with pytest.raises(SparsightError, match=r"travel time|two cameras"):
            set_travel(gallery, *pair, seconds)


# Second thoughts


def looks(shade: int, count: int = 8, noise: float = 0.05) -> NDArray[np.float32]:
    rows = LOOKS[shade] + noise * np.random.default_rng(shade).normal(size=(count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sight(
    gallery: Gallery, person: int, vectors: NDArray[np.float32], at: float, camera: str = "door"
) -> int:
    tracklet = gallery.add_tracklet(
        person, camera=camera, run="r", track=1, first_seen=at, last_seen=at + 5, frames=50, clock="wall"
    )
    gallery.set_embeddings(
        tracklet, MODEL, vectors, np.ones(len(vectors), np.float32), np.full(len(vectors), at)
    )
    return tracklet


def test_two_who_turn_out_to_be_one(gallery: Gallery) -> None:
    one, two, other = (gallery.add_person(0) for _ in range(3))
    sight(gallery, one, looks(5), 100)
    sight(gallery, two, looks(5), 200)
    sight(gallery, other, looks(6), 300)
    assert merge_alike(gallery, MODEL, other, DIMENSION, FAR, RATE) is None
    assert merge_alike(gallery, MODEL, two, DIMENSION, FAR, RATE) == one
    (made,) = gallery.corrections()
    assert (made.kind, made.reason, made.source, made.target) == (MERGE, BY_EVIDENCE, two, one)


@pytest.mark.parametrize("why", ["at once", "too far", "two names", "few", "one-sided"])
def test_two_who_are_not_merged(gallery: Gallery, why: str) -> None:
    one, two = gallery.add_person(0, "Anna"), gallery.add_person(0, "Bert" if why == "two names" else None)
    theirs = looks(5, 4 if why == "few" else 8)
    if why == "one-sided":  # all that is known of one is like the other, but not the other way round
        theirs = np.concatenate([looks(5, 3), looks(7, 20)])
    sight(gallery, one, looks(5), 100)
    sight(gallery, two, theirs, {"at once": 104, "too far": 110}.get(why, 200), "attic")
    set_travel(gallery, "door", "attic", 10)
    assert merge_alike(gallery, MODEL, one, DIMENSION, FAR, RATE) is None
    assert merge_alike(gallery, MODEL, two, DIMENSION, FAR, RATE) is None
    assert len(gallery.people()) == 2


def test_the_name_is_kept_whoever_has_it(gallery: Gallery) -> None:
    one, two = gallery.add_person(0), gallery.add_person(0, "Anna")
    sight(gallery, one, looks(5), 100)
    sight(gallery, two, looks(5), 200)
    assert merge_alike(gallery, MODEL, one, DIMENSION, FAR, RATE) == two


def test_a_sight_that_was_somebody_else(gallery: Gallery) -> None:
    person = gallery.add_person(0)
    sight(gallery, person, looks(5), 100)
    right, wrong = sight(gallery, person, looks(5), 200), sight(gallery, person, looks(9), 300)
    assert not split_misplaced(gallery, MODEL, right, LOOKS[5], FAR)
    assert split_misplaced(gallery, MODEL, wrong, LOOKS[9], FAR)
    (made,) = gallery.corrections()
    assert (made.kind, made.reason, made.tracklets) == (SPLIT, BY_EVIDENCE, (wrong,))


def test_the_identifier_follows_what_others_correct(gallery: Gallery) -> None:
    scene = Scene(gallery)
    before = scene.show(30, (1, 5, 0)) | scene.show(30, (2, 6, 3))
    scene.wait(6)
    again = scene.show(12, (3, 5, 0))
    assert again == {3: before[1]}
    with Gallery(gallery.path) as other:
        # Somebody says that the first sight was not of them, then that both are a third.
        made = other.split(before[1], [gallery.tracklets(before[1])[0].id])
        assert scene.show(12, (3, 5, 0)) == again
        other.merge(made.target, before[2])
        other.merge(made.target, again[3])
    assert scene.show(12, (3, 5, 0)) == {3: made.target}
    assert [one.source for one in scene.identifier.corrected()] == [before[1], before[2], again[3]]
    assert scene.identifier.corrected() == []


def test_two_numbers_of_one_person_become_one_when_more_is_seen(gallery: Gallery) -> None:
    """Somebody seen too briefly is new; once both were seen for long, they are one."""
    scene = Scene(gallery)
    first = scene.show(60, (1, 5, 0))[1]
    other = gallery.add_person(5.0)
    sight(gallery, other, looks(5), 5.0)
    scene.wait(6)
    assert [person.id for person in gallery.people()] == [first]
    assert len(gallery.tracklets(first)) == 2
