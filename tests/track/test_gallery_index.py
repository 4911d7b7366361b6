from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight.track import gallery_graph
from sparsight.track.gallery_index import NEAREST, VectorIndex, least_telling, most_telling


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def brute(
    vectors: NDArray[np.float32], person: NDArray[np.int64], queries: NDArray[np.float32]
) -> NDArray[np.float64]:
    return np.array(
        [
            [np.sort(1 - vectors[person == one] @ query)[:NEAREST].mean() for one in np.unique(person)]
            for query in queries
        ]
    ).reshape(len(queries), -1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_whatever_comes_and_goes_the_rest_is_compared(seed: int, turns: int) -> None:
    rng = np.random.default_rng(seed)
    index = VectorIndex(8)
    rows = np.zeros(0, np.int64)
    person = np.zeros(0, np.int64)
    vectors = np.zeros((0, 8), np.float32)
    for _ in range(turns):
        count = int(rng.integers(1, 9))
        new = index.last + 1 + np.arange(count)
        who, looks = rng.integers(0, 5, count), unit(rng, (count, 8))
        index.extend(new, who, looks, rng.random(count))
        rows, person = np.concatenate([rows, new]), np.concatenate([person, who])
        vectors = np.concatenate([vectors, looks])
        gone = rng.random(len(rows)) < rng.choice([0, 0.3, 1])
        index.drop(rows[gone])
        rows, person, vectors = rows[~gone], person[~gone], vectors[~gone]
        assert len(index) == len(rows)
        queries = unit(rng, (2, 8))
        persons, distance = index.distances(queries)
        assert persons.tolist() == np.unique(person).tolist()
        np.testing.assert_allclose(distance, brute(vectors, person, queries), atol=1e-5)
        for one in range(5):
            nearest = index.nearest(queries[0], one)
            own = person == one
            assert nearest == (rows[own][np.argmax(vectors[own] @ queries[0])] if own.any() else None)
            assert len(index.of(one)) == own.sum()


def crowd(
    rng: np.random.Generator, people: int, each: int, dimension: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Vectors as embedders give them: those of one person lie together."""
    looks = unit(rng, (people, 1, dimension)) + 0.8 * unit(rng, (people, each, dimension))
    looks /= np.linalg.norm(looks, axis=-1, keepdims=True)
    return np.repeat(np.arange(people), each), looks.reshape(-1, dimension)


def made(index: VectorIndex) -> VectorIndex:
    """The index, once its graph has all that it was given."""
    deadline = time.monotonic() + 60
    while index._graph is None or index._graph.behind:
        assert time.monotonic() < deadline, "the graph is not made"
        index.distances(unit(np.random.default_rng(0), (1, index.dimension)))
        time.sleep(0.01)
    return index


def test_many_vectors_are_searched_and_the_nearest_people_found() -> None:
    pytest.importorskip("usearch")
    rng = np.random.default_rng(0)
    person, vectors = crowd(rng, 500, 6, 64)
    exact, searched = VectorIndex(64), VectorIndex(64, exact=1500)
    rows = 1 + np.arange(len(person))
    quality = np.ones(len(person))
    for index in (exact, searched):
        index.extend(rows[:2000], person[:2000], vectors[:2000], quality[:2000])
    queries = vectors[rng.choice(len(vectors), 100, replace=False)] + 0.3 * unit(rng, (100, 64))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    made(searched)  # the graph then follows what comes and goes
    for index in (exact, searched):
        index.extend(rows[2000:], person[2000:], vectors[2000:], quality[2000:])
        index.drop(rows[person % 10 == 3])
    assert len(exact) == len(searched) > 1500
    made(searched)
    found = right = 0
    for query in queries:
        everyone, truth = exact.distances(query[None])
        persons, distance = searched.distances(query[None])
        assert len(persons) < len(everyone)
        assert not (persons % 10 == 3).any()
        # Whoever is compared is compared exactly.
        np.testing.assert_allclose(distance[0], truth[0, np.searchsorted(everyone, persons)], atol=1e-6)
        right += persons[distance[0].argmin()] == everyone[truth[0].argmin()]
        found += np.isin(everyone[np.argsort(truth[0])[:5]], persons).sum()
    assert right >= 0.99 * len(queries)
    assert found >= 0.97 * 5 * len(queries)


def test_until_the_graph_is_made_everyone_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who asks waits for the graph; what changes meanwhile is neither lost nor found again later."""
    pytest.importorskip("usearch")
    go = threading.Event()
    run = gallery_graph._Work.run
    monkeypatch.setattr(gallery_graph._Work, "run", lambda work: (go.wait(60), run(work)))
    rng = np.random.default_rng(0)
    person, vectors = crowd(rng, 400, 6, 64)
    exact, searched = VectorIndex(64), VectorIndex(64, exact=1500)
    rows = 1 + np.arange(len(person))
    quality = np.ones(len(person))
    queries = unit(rng, (5, 64))
    for index in (exact, searched):
        index.extend(rows[:2000], person[:2000], vectors[:2000], quality[:2000])
    for turn in range(4):
        for index in (exact, searched):
            index.mark()
            index.drop(rows[turn * 50 : turn * 50 + 40])
            index.move(rows[1000 + turn :][:1], np.array([900 + turn]))
            more = slice(2000 + 100 * turn, 2100 + 100 * turn)
            index.extend(rows[more], person[more], vectors[more], quality[more])
            if turn == 2:
                index.undo()
                index.extend(rows[more], person[more], vectors[more], quality[more])
            else:
                index.keep()
        for one, other in zip(exact.distances(queries), searched.distances(queries), strict=True):
            np.testing.assert_array_equal(one, other)
    graph = searched._graph
    assert graph is not None and graph.behind > 1500
    go.set()
    made(searched)
    assert searched._graph is graph, "what changes is followed, not made afresh"
    persons, distance = searched.distances(vectors[2350:2351])
    everyone, truth = exact.distances(vectors[2350:2351])
    assert len(persons) < len(everyone)
    assert persons[distance[0].argmin()] == person[2350]
    np.testing.assert_allclose(distance[0], truth[0, np.searchsorted(everyone, persons)], atol=1e-6)
    keys = graph.search(queries, 5000)
    assert keys.tolist() == exact._row[: exact._used][exact._there[: exact._used]].tolist()
    searched.close()


@pytest.mark.parametrize("closed", [True, False])
def test_a_program_that_ends_while_the_graph_is_made_ends_well(closed: bool) -> None:
    pytest.importorskip("usearch")
    program = (
        "import numpy as np\n"
        "from sparsight.track.gallery_index import VectorIndex\n"
        "index, rows = VectorIndex(256, exact=10), 1 + np.arange(30_000)\n"
        "vectors = np.random.default_rng(0).normal(size=(30_000, 256))\n"
        "index.extend(rows, rows // 8, vectors, np.ones(30_000))\n"
        "index.distances(np.eye(1, 256, dtype=np.float32))\n"
        "assert index._graph.behind > 1000\n"
    )
    program += "index.close()\nassert not index._graph._work.thread.is_alive()\n" if closed else ""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_undone_never_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = VectorIndex(8)
    before = None
    for turn in range(6):
        index.mark()
        for _ in range(3):
            count = int(rng.integers(1, 9))
            index.extend(
                index.last + 1 + np.arange(count),
                rng.integers(0, 5, count),
                unit(rng, (count, 8)),
                rng.random(count),
            )
            every = np.arange(1, index.last + 1)
            index.drop(every[rng.random(len(every)) < 0.2])
            index.move(every[:3], rng.integers(0, 5, len(every[:3])))
        if turn % 2 == 0:
            index.keep()
            before = [index.rows_of(one) for one in range(5)], len(index), index.last
            continue
        index.undo()
        assert before is not None
        assert (len(index), index.last) == before[1:]
        for one, then in enumerate(before[0]):
            for now, old in zip(index.rows_of(one), then, strict=True):
                np.testing.assert_array_equal(now, old)


def test_without_usearch_everyone_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    rng = np.random.default_rng(0)
    person, vectors = crowd(rng, 30, 4, 16)
    exact, other = VectorIndex(16), VectorIndex(16, exact=10)
    for index in (exact, other):
        index.extend(1 + np.arange(len(person)), person, vectors, np.ones(len(person)))
    queries = unit(rng, (3, 16))
    np.testing.assert_array_equal(exact.distances(queries)[1], other.distances(queries)[1])


def test_a_bad_crop_goes_though_it_is_unlike_the_others() -> None:
    """Of two that are alike the worse one goes, but a blurred one that is like none goes before."""
    vectors = np.eye(4, dtype=np.float32)
    vectors[1] = [0.8, 0.6, 0, 0]  # 0.2 from the first
    assert least_telling(vectors[None], np.array([[0.9, 0.8, 0.9, 0.9]], np.float32)) == [1]
    assert least_telling(vectors[None], np.array([[0.8, 0.9, 0.9, 0.9]], np.float32)) == [0]
    assert least_telling(vectors[None], np.array([[0.9, 0.8, 0.1, 0.9]], np.float32)) == [2]


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 12))
def test_the_most_telling_are_left_when_the_least_go(seed: int, size: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, quality = unit(rng, (size, 4)), rng.random(size).astype(np.float32)
    left = list(range(size))
    while len(left) > count:
        if len(left) == 1:
            break
        apart = [[1 - float(vectors[a] @ vectors[b]) for b in left if b != a] for a in left]
        worth = [float(quality[a]) * min(row) for a, row in zip(left, apart, strict=True)]
        left.pop(int(np.argmin(worth)))
    assert most_telling(vectors, quality, count).tolist() == left
