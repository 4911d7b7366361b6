from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.track import gallery_file
from sparsight.track.gallery import MAX_CROPS, MAX_VECTORS, Gallery
from sparsight.track.gallery_file import MIGRATIONS
from sparsight.track.gallery_records import MERGE, SPLIT, Correction, resolve

MODEL = "network-0123"


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite") as opened:
        yield opened


def unit(seed: int, count: int, dimension: int = 16) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sight(
    gallery: Gallery,
    person: int,
    vectors: NDArray[np.float32],
    at: float = 100.0,
    camera: str = "door",
    run: str = "run",
    quality: float = 0.5,
) -> int:
    tracklet = gallery.add_tracklet(
        person, camera=camera, run=run, track=1, first_seen=at, last_seen=at + 5, frames=50
    )
    gallery.set_embeddings(
        tracklet, MODEL, vectors, np.ones(len(vectors), np.float32), np.full(len(vectors), at)
    )
    gallery.set_crop(tracklet, b"\xff\xd8picture %d" % tracklet, quality)
    return tracklet


def test_merged_people_are_one_everywhere(gallery: Gallery) -> None:
    with Gallery(gallery.path) as other:
        one, two = gallery.add_person(0), gallery.add_person(0, "Anna")
        kept, moved = sight(gallery, one, unit(0, 4)), sight(gallery, two, unit(1, 4), 200)
        assert other.distances(MODEL, unit(1, 1))[0].tolist() == [one, two]
        made = gallery.merge(one, two)
        assert (made.kind, made.source, made.target, made.tracklets) == (MERGE, two, one, (moved,))
        for reader in (gallery, other):
            assert [person.id for person in reader.people()] == [one]
            assert reader.person(one).name == "Anna"
            assert [each.id for each in reader.tracklets(one)] == [kept, moved]
            persons, distance = reader.distances(MODEL, unit(1, 1))
            assert persons.tolist() == [one] and distance[0, 0] < 0.7
            assert reader.corrections() == [made]
            assert reader.corrections(after=made.id) == []
        assert gallery.add_person(0) > two


def test_merging_keeps_the_bounds(gallery: Gallery) -> None:
    one, two = gallery.add_person(0), gallery.add_person(0)
    for turn in range(MAX_CROPS):
        sight(gallery, one, unit(turn, 2), 100 + 10 * turn)
        sight(gallery, two, unit(100 + turn, 2), 1000 + 10 * turn)
    gallery.merge(one, two)
    assert gallery.store.rows("SELECT count(*) FROM embedding") == [(MAX_VECTORS,)]
    assert gallery.store.rows("SELECT count(*) FROM crop") == [(MAX_CROPS,)]


def test_who_was_seen_at_once_is_never_merged(gallery: Gallery) -> None:
    one, two, three, four = (gallery.add_person(0) for _ in range(4))
    sight(gallery, one, unit(0, 4), 100)
    sight(gallery, two, unit(0, 4), 104)
    sight(gallery, three, unit(0, 4), 104, run="another clock")
    sight(gallery, four, unit(0, 4), 105)
    with pytest.raises(SparsightError, match="were seen at once"):
        gallery.merge(one, two)
    gallery.merge(one, three)
    gallery.merge(one, four)
    with pytest.raises(SparsightError, match="with themselves"):
        gallery.merge(one, one)
    with pytest.raises(SparsightError, match="nobody"):
        gallery.merge(one, four)


def test_a_split_undoes_a_merge(gallery: Gallery) -> None:
    one, two = gallery.add_person(0), gallery.add_person(0)
    kept, moved = sight(gallery, one, unit(0, 4)), sight(gallery, two, unit(1, 4), 200)
    merged = gallery.merge(one, two)
    made = gallery.split(one, merged.tracklets)
    assert (made.kind, made.source, made.tracklets) == (SPLIT, one, (moved,))
    assert [each.id for each in gallery.tracklets(one)] == [kept]
    assert [each.id for each in gallery.tracklets(made.target)] == [moved]
    assert gallery.person(made.target).first_seen == 200
    was = np.array([one, two, two, 9])
    sights = np.array([kept, moved, moved, 77])
    assert resolve(was, gallery.corrections(), sights).tolist() == [one, made.target, made.target, 9]
    assert resolve(was, gallery.corrections()).tolist() == [one, one, one, 9]


def test_what_cannot_be_split(gallery: Gallery) -> None:
    one, two = gallery.add_person(0), gallery.add_person(0)
    own, foreign = sight(gallery, one, unit(0, 4)), sight(gallery, two, unit(1, 4))
    for wanted, says in (([foreign], "not one of person"), ([own], "name some"), ([], "name some")):
        with pytest.raises(SparsightError, match=says):
            gallery.split(one, wanted)
    assert gallery.corrections() == []


def test_forgetting_somebody_removes_the_corrections_about_them(gallery: Gallery) -> None:
    one, two, three = (gallery.add_person(0) for _ in range(3))
    sight(gallery, one, unit(0, 4))
    gallery.merge(one, two)
    kept = gallery.merge(gallery.add_person(0), three)
    gallery.forget(one)
    assert gallery.corrections() == [kept]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_resolving_gives_what_the_gallery_says(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any run of merges and splits: a result written before them and resolved is the gallery of today."""
    with Gallery(tmp_path_factory.mktemp("gallery") / "g.sqlite") as gallery:
        for person in range(4):
            number = gallery.add_person(0)
            for turn in range(3):
                at = 100.0 * (3 * person + turn)
                gallery.add_tracklet(
                    number, camera="c", run="r", track=0, first_seen=at, last_seen=at, frames=1
                )
        before = gallery.tracklets_of("r")
        for _ in range(data.draw(st.integers(0, 6))):
            people = [one.id for one in gallery.people()]
            one = data.draw(st.sampled_from(people))
            own = [each.id for each in gallery.tracklets(one)]
            if data.draw(st.booleans()) and len(own) > 1:
                gallery.split(one, own[: data.draw(st.integers(1, len(own) - 1))])
            elif len(people) > 1:
                gallery.merge(one, data.draw(st.sampled_from([p for p in people if p != one])))
        now = {each.id: each.person for each in gallery.tracklets_of("r")}
        found = resolve(
            np.array([each.person for each in before]),
            gallery.corrections(),
            np.array([each.id for each in before]),
        )
        assert found.tolist() == [now[each.id] for each in before]


def test_resolving_nothing() -> None:
    assert resolve(np.zeros(0, np.int64), []).tolist() == []
    merge = Correction(1, 0.0, MERGE, 3, 4, "by hand", ())
    assert resolve(np.array([3, 4]), [merge]).tolist() == [4, 4]


# Pruning


def test_pictures_are_bounded_and_the_best_stays(gallery: Gallery) -> None:
    person, other = gallery.add_person(0), gallery.add_person(0)
    sight(gallery, other, unit(0, 1))
    best = sight(gallery, person, unit(0, 1), 100, quality=0.9)
    rows = [sight(gallery, person, unit(0, 1), 200 + 10 * n) for n in range(MAX_CROPS + 5)]
    left = [row for (row,) in gallery.store.rows("SELECT tracklet FROM crop ORDER BY tracklet")]
    assert left[1:] == [best, *rows[-MAX_CROPS + 1 :]]
    assert gallery.thumbnail(person) == b"\xff\xd8picture %d" % best


def test_prune(gallery: Gallery) -> None:
    person, now = gallery.add_person(0), time.time()
    old = sight(gallery, person, unit(0, 4), now - 20 * 86400)
    middle = sight(gallery, person, unit(1, 4), now - 5 * 86400, quality=0.4)
    new = sight(gallery, person, unit(2, 4), now - 86400)
    assert gallery.prune(keep_days=10) == (1, 4)
    assert gallery.crop(old) is None
    assert gallery.distances(MODEL, unit(0, 1))[1][0, 0] > 0.1
    assert len(gallery.tracklets(person)) == 3
    assert gallery.prune(keep_crops=1) == (1, 0)
    assert gallery.crop(middle) is None and gallery.crop(new) is not None
    assert gallery.prune(keep_days=0, keep_crops=0) == (1, 8)
    assert len(gallery.distances(MODEL, unit(0, 1))[0]) == 0
    with pytest.raises(SparsightError, match="0 or more"):
        gallery.prune(keep_days=-1)


# From today's version to the next


def test_a_gallery_of_the_first_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.sqlite"
    monkeypatch.setattr(gallery_file, "MIGRATIONS", MIGRATIONS[:1])
    gallery_file.open_gallery(path, 1).close()
    monkeypatch.undo()
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO person (name, created) VALUES ('Anna', 1)")
        writer.execute("INSERT INTO camera (name) VALUES ('door')")
        writer.execute("INSERT INTO model (name, dimension) VALUES (?, 16)", (MODEL,))
        for run in ("a", "b"):
            writer.execute(
                "INSERT INTO tracklet (person, camera, run, track, first_seen, last_seen, frames) "
                "VALUES (1, 1, ?, 3, 100, 105, 9)",
                (run,),
            )
        vector = unit(0, 1)[0].astype("<f2").tobytes()
        writer.execute(
            "INSERT INTO embedding (tracklet, model, vector, quality, time) VALUES (1, 1, ?, 1, 100)",
            (vector,),
        )
        writer.commit()
        assert writer.execute("PRAGMA user_version").fetchone() == (1,)
    for _ in range(2):
        with Gallery(path) as gallery:
            assert gallery.person(1).name == "Anna"
            # Runs of old share no clock: what they say about time cannot be compared.
            assert [one.clock for one in gallery.tracklets(1)] == ["a", "b"]
            assert gallery.distances(MODEL, unit(0, 1))[1][0, 0] == pytest.approx(0, abs=1e-3)
            assert gallery.corrections() == []
    with contextlib.closing(sqlite3.connect(path)) as reader:
        assert reader.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
