from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight.track.gallery_index import NEAREST, VectorIndex


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
        index.extend(new, who, looks)
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


def test_many_vectors_are_searched_and_the_nearest_people_found() -> None:
    pytest.importorskip("usearch")
    rng = np.random.default_rng(0)
    person, vectors = crowd(rng, 500, 6, 64)
    exact, searched = VectorIndex(64), VectorIndex(64, exact=1500)
    rows = 1 + np.arange(len(person))
    for index in (exact, searched):
        index.extend(rows[:2000], person[:2000], vectors[:2000])
    queries = vectors[rng.choice(len(vectors), 100, replace=False)] + 0.3 * unit(rng, (100, 64))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    searched.distances(queries[:1])  # makes the graph, which then follows what comes and goes
    for index in (exact, searched):
        index.extend(rows[2000:], person[2000:], vectors[2000:])
        index.drop(rows[person % 10 == 3])
    assert len(exact) == len(searched) > 1500
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


def test_without_usearch_everyone_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    rng = np.random.default_rng(0)
    person, vectors = crowd(rng, 30, 4, 16)
    exact, other = VectorIndex(16), VectorIndex(16, exact=10)
    for index in (exact, other):
        index.extend(1 + np.arange(len(person)), person, vectors)
    queries = unit(rng, (3, 16))
    np.testing.assert_array_equal(exact.distances(queries)[1], other.distances(queries)[1])
