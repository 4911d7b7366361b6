"""What a gallery holds in memory follows what it and others write, by what has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight.track import Gallery, gallery_graph
from sparsight.track import gallery as gallery_module
from sparsight.track.gallery_index import VectorIndex

MODEL, DIMENSION = "network", 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def pair(path: Path) -> Iterator[tuple[Gallery, Gallery]]:
    with Gallery(path) as one, Gallery(path) as other:
        yield one, other


def unit(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    rows = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sight(gallery: Gallery, person: int, vectors: NDArray[np.float32], at: float = 100.0) -> int:
    tracklet = gallery.add_tracklet(
        person, camera="door", run="run", track=1, first_seen=at, last_seen=at + 5, frames=50
    )
    gallery.set_embeddings(
        tracklet, MODEL, vectors, np.ones(len(vectors), np.float32), np.full(len(vectors), at)
    )
    return tracklet


def loaded(gallery: Gallery) -> VectorIndex:
    return gallery._indexes[MODEL]


def assert_as_in_the_file(gallery: Gallery, path: Path, queries: NDArray[np.float32]) -> None:
    with Gallery(path) as fresh:
        for one, other in zip(
            fresh.distances(MODEL, queries), gallery.distances(MODEL, queries), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-6)
        for person in fresh.people():
            mine, theirs = (each.vectors(MODEL, person.id, DIMENSION) for each in (gallery, fresh))
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("remembered", [3, 20_000])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_written_both_ends_know_it(
    pair: tuple[Gallery, Gallery], path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, remembered: int
) -> None:
    """Also where more has changed than is remembered: then by what there is. Never by reading all again."""
    monkeypatch.setattr(gallery_module, "CHANGES", remembered)
    rng = np.random.default_rng(seed)
    queries = unit(rng, 3)
    for person in range(1, 5):
        pair[0].add_person(0.0)
        sight(pair[0], person, unit(rng, 6), 1000.0 * person)
    for gallery in pair:
        gallery.distances(MODEL, queries)
    before = [loaded(gallery) for gallery in pair]
    at = 10_000.0
    for _ in range(12):
        gallery = pair[rng.integers(2)]
        at += 100
        people = [one.id for one in gallery.people() if one.tracklets]
        sights = {one: gallery.tracklets(one) for one in people}
        person = int(rng.choice(people)) if people else gallery.add_person(at)
        several = [one for one, seen in sights.items() if len(seen) > 1]
        what = rng.choice(["add", "again", "merge", "split", "forget", "remove", "roll back"])
        if what == "merge" and len(people) > 1:
            gallery.merge(*rng.permutation(people)[:2].tolist())
        elif what == "split" and several:
            gallery.split(several[0], [sights[several[0]][0].id])
        elif what == "forget" and len(people) > 3:
            gallery.forget(person)
        elif what == "remove" and several:
            gallery.remove_tracklet(sights[several[0]][0].id)
        elif what == "again" and people:
            gallery.set_embeddings(
                sights[person][0].id, MODEL, unit(rng, 5), np.ones(5, np.float32), np.full(5, at)
            )
        elif what == "roll back":
            with pytest.raises(ZeroDivisionError), gallery.transaction():
                sight(gallery, person, unit(rng, 4), at)
                if len(people) > 1:
                    gallery.merge(people[0], people[1])
                gallery.remove_tracklet(sights[people[0]][0].id)
                gallery.distances(MODEL, queries)
                raise ZeroDivisionError
        else:
            sight(gallery, person, unit(rng, 6), at)
        for each in (*pair, *pair) if rng.random() < 0.5 else ():
            assert_as_in_the_file(each, path, queries)
    for gallery, index in zip(pair, before, strict=True):
        assert_as_in_the_file(gallery, path, queries)
        assert loaded(gallery) is index, "everything was read again"


def test_a_track_that_goes_on_rewrites_only_what_is_new(pair: tuple[Gallery, Gallery]) -> None:
    gallery = pair[0]
    rng = np.random.default_rng(0)
    person = gallery.add_person(0.0)
    vectors, quality, when = unit(rng, 8), rng.random(8).astype(np.float32), np.arange(8.0)
    tracklet = sight(gallery, person, vectors[:1])

    def numbers() -> set[int]:
        return {row[0] for row in gallery.store.rows("SELECT id FROM embedding")}

    gallery.set_embeddings(tracklet, MODEL, vectors, quality, when)
    before = numbers()
    gallery.set_embeddings(tracklet, MODEL, vectors, quality, when)
    assert numbers() == before
    vectors[3], when[3] = unit(rng, 1)[0], 9.0
    gallery.set_embeddings(tracklet, MODEL, vectors, quality, when)
    assert len(numbers() - before) == len(before - numbers()) == 1
    gallery.set_embeddings(tracklet, MODEL, vectors[:2], quality[:2], when[:2])
    assert len(numbers()) == 2


def test_a_large_gallery_is_searched_while_others_change_it(
    pair: tuple[Gallery, Gallery], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(gallery_module, "EXACT", 1500)
    gallery, other = pair
    rng = np.random.default_rng(0)
    looks = unit(rng, 400)
    with gallery.transaction():
        for person, mean in enumerate(looks, 1):
            gallery.add_person(0.0)
            near = mean + 0.1 * unit(rng, 5)
            sight(gallery, person, near / np.linalg.norm(near, axis=1, keepdims=True), 1000.0 * person)

    def ready(which: Gallery) -> gallery_graph.Graph:
        deadline = time.monotonic() + 60
        while loaded(which)._graph is None or loaded(which)._graph.behind:  # type: ignore[union-attr]
            which.distances(MODEL, looks[:1])
            assert time.monotonic() < deadline
            time.sleep(0.01)
        graph = loaded(which)._graph
        assert graph is not None
        return graph

    gallery.distances(MODEL, looks[:1])
    graph = ready(gallery)
    assert len(gallery.distances(MODEL, looks[:1])[0]) < 400
    other.merge(1, 2)
    other.split(1, [other.tracklets(1)[0].id])
    other.forget(10)
    other.remove_tracklet(other.tracklets(20)[0].id)
    added = other.add_person(0.0)
    sight(other, added, looks[9:10] + 0)
    with pytest.raises(ZeroDivisionError), gallery.transaction():
        gallery.merge(30, 31)
        raise ZeroDivisionError
    assert ready(gallery) is graph, "what changes is followed, the graph is not made again"
    with Gallery(path) as fresh:
        monkeypatch.setattr(gallery_module, "EXACT", 100_000)
        everyone, truth = fresh.distances(MODEL, looks)
    assert added in everyone and 10 not in everyone and 20 not in everyone
    for query, row in zip(looks, truth, strict=True):
        persons, distance = gallery.distances(MODEL, query[None])
        assert np.isin(persons, everyone).all()
        np.testing.assert_allclose(distance[0], row[np.searchsorted(everyone, persons)], atol=1e-6)
        assert persons[distance[0].argmin()] == everyone[row.argmin()]
