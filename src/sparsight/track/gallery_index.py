"""The vectors of a gallery in memory: one matrix per embedder, one product per question."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.track.gallery_graph import Graph

NEAREST = 3
"""A person's distance is the mean over this many of their nearest vectors: one crop can lie."""
EXACT = 100_000
"""Vectors up to which everyone is compared: 50 million products, some ten milliseconds."""
CANDIDATES = 256
"""Near vectors whose people are compared when there are more."""

_LAG = 1024  # vectors that may wait for the graph while it is asked: they are compared beside what it finds
_HOLES = 1024  # rows that are no more, and an eighth of all, before the others move together


class VectorIndex:
    """Unit vectors, each a row of the gallery's table and of one person.

    Up to ``exact`` vectors, everyone is compared with every vector by one matrix product. With more, the
    people whom the ``CANDIDATES`` nearest vectors of each question belong to are found in a graph
    (:mod:`sparsight.track.gallery_graph`; ``usearch``), and only they are compared, exactly. Until the graph
    is made, and without ``usearch``, everyone is.

    What is changed after :meth:`mark` can be undone until :meth:`keep`.

    Args:
        dimension: length D of the vectors.
        exact: number of vectors up to which everyone is compared.

    Attributes:
        dimension: D.
        last: the highest row number that has been taken in.
    """

    def __init__(self, dimension: int, exact: int = EXACT) -> None:
        self.last = 0
        self.dimension = dimension
        self._exact = exact
        # The first ``_used`` rows hold something, in order of their numbers; those that are not ``_there``
        # any more stay until the others move together. The arrays grow by doubling.
        self._used = self._count = 0
        self._vectors = np.zeros((0, dimension), np.float32)
        self._quality = np.zeros(0, np.float32)
        self._row = np.zeros(0, np.int64)
        self._person = np.zeros(0, np.int64)
        self._there = np.zeros(0, np.bool_)
        self._groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._graph: Graph | None = None
        self._no_graph = False
        # Since the mark: how many rows there were, and which were dropped or given to somebody else.
        self._marked: int | None = None
        self._dropped: list[NDArray[np.int64]] = []
        self._moved: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def __len__(self) -> int:
        return self._count

    def extend(
        self,
        row: NDArray[np.int64],
        person: NDArray[np.int64],
        vectors: NDArray[np.float32],
        quality: NDArray[np.float32],
    ) -> None:
        """Take in ``vectors`` (N, D) of ``person`` (N,) and ``quality`` (N,), stored in ``row`` (N,).

        Row numbers ascend, and are higher than all before.
        """
        if not len(row):
            return
        old, self._used = self._used, self._used + len(row)
        if self._used > len(self._row):
            size = 2 * self._used
            for name in ("_vectors", "_quality", "_row", "_person", "_there"):
                before = getattr(self, name)
                grown = np.empty((size, *before.shape[1:]), before.dtype)
                grown[:old] = before[:old]
                setattr(self, name, grown)
        self._vectors[old : self._used] = vectors
        self._quality[old : self._used] = quality
        self._row[old : self._used] = row
        self._person[old : self._used] = person
        self._there[old : self._used] = True
        self._count += len(row)
        self._groups = None
        self.last = int(row[-1])
        if self._graph is not None and self._marked is None:
            self._graph.add(row, vectors)

    def drop(self, row: NDArray[np.int64]) -> None:
        """Let go of the vectors stored in ``row`` (N,); those that are not there do no harm."""
        place, _ = self._places(row)
        if not len(place):
            return
        self._there[place] = False
        self._count -= len(place)
        self._groups = None
        if self._marked is not None:
            self._dropped.append(place)
            return
        if self._graph is not None:
            self._graph.remove(self._row[place])
        self._move_together()

    def move(self, row: NDArray[np.int64], person: NDArray[np.int64]) -> None:
        """Let the vectors stored in ``row`` (N,) be those of ``person`` (N,)."""
        place, which = self._places(row)
        if self._marked is not None:
            self._moved.append((place, self._person[place]))
        self._person[place] = person[which]
        self._groups = None

    def match(self, row: NDArray[np.int64], person: NDArray[np.int64]) -> None:
        """Let go of all rows but ``row`` (N,), ascending; those that are there are of ``person`` (N,)."""
        mine = self._row[: self._used][self._there[: self._used]]
        self.drop(mine[~np.isin(mine, row)])
        self.move(row, person)

    def mark(self) -> None:
        """What is changed from now on can be undone."""
        self._marked, self._dropped, self._moved = self._used, [], []

    def undo(self) -> None:
        """Let everything be as it was at the mark."""
        assert self._marked is not None
        for place, person in reversed(self._moved):
            self._person[place] = person
        for place in self._dropped:
            self._there[place] = True
        self._used = self._marked
        self._count = int(self._there[: self._used].sum())
        self.last = int(self._row[self._used - 1]) if self._used else 0
        self._marked, self._dropped, self._moved, self._groups = None, [], [], None

    def keep(self) -> None:
        """Let everything be as it is now; the mark is gone."""
        assert self._marked is not None
        if self._graph is not None:
            gone = np.concatenate([np.zeros(0, np.int64), *self._dropped])
            self._graph.remove(self._row[gone[gone < self._marked]])
            new = self._marked + np.flatnonzero(self._there[self._marked : self._used])
            self._graph.add(self._row[new], self._vectors[new])
        self._marked, self._dropped, self._moved = None, [], []
        self._move_together()

    def distances(
        self, queries: NDArray[np.float32], among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How far each of ``queries`` (Q, D), unit vectors, is from everyone.

        Args:
            queries: the vectors.
            among: persons (N,) to compare with; by default everyone.

        Returns:
            The persons (P,) ascending, and (Q, P) float32: the mean cosine distance, in [0, 2], to the
            ``NEAREST`` vectors of that person that are nearest (to all, where there are fewer). With more
            than ``exact`` vectors, only persons are given that are near to one of ``queries``.
        """
        if among is None and len(queries):
            among = self._candidates(queries)
        if among is None:
            if self._groups is None:
                self._groups = _grouped(self._person[: self._used], self._there[: self._used])
            persons, members = self._groups
            vectors = self._vectors[: self._used]
        else:
            place = np.flatnonzero(self._there[: self._used] & np.isin(self._person[: self._used], among))
            persons, members = _grouped(self._person[place], np.ones(len(place), np.bool_))
            vectors = self._vectors[place]
        if not len(persons) or not len(queries):
            return persons, np.zeros((len(queries), len(persons)), np.float32)
        distance = np.full((len(queries), len(vectors) + 1), np.inf, np.float32)
        np.subtract(1, queries @ vectors.T, out=distance[:, :-1])
        per_person = distance[:, members]  # (Q, P, most vectors of one person), padded with infinity
        k = min(NEAREST, members.shape[1])
        nearest = np.partition(per_person, k - 1, axis=2)[:, :, :k]
        real = np.isfinite(nearest)
        return persons, (np.where(real, nearest, 0).sum(2) / real.sum(2)).astype(np.float32)

    def nearest(self, query: NDArray[np.float32], person: int) -> int | None:
        """The row of the vector of ``person`` nearest to ``query`` (D,), or None if there is none."""
        own = self._own(person)
        if not len(own):
            return None
        return int(self._row[own[np.argmax(self._vectors[own] @ query)]])

    def of(self, person: int) -> NDArray[np.float32]:
        """The vectors (N, D) of ``person``."""
        return self._vectors[self._own(person)]

    def rows_of(self, person: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """The rows (N,) of ``person``, ascending, and the vectors (N, D) and qualities (N,) in them."""
        own = self._own(person)
        return self._row[own], self._vectors[own], self._quality[own]

    def close(self) -> None:
        """Let the graph's thread end."""
        if self._graph is not None:
            self._graph.close()

    def _own(self, person: int) -> NDArray[np.int64]:
        return np.flatnonzero((self._person[: self._used] == person) & self._there[: self._used])

    def _places(self, row: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where those of ``row`` (N,) lie that are there, and which of them these are."""
        if not self._used:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        place = np.minimum(np.searchsorted(self._row[: self._used], row), self._used - 1)
        which = np.flatnonzero((self._row[place] == row) & self._there[place])
        return place[which], which

    def _move_together(self) -> None:
        """Close the holes, if there are many."""
        holes = self._used - self._count
        if holes < _HOLES or 8 * holes < self._used or self._marked is not None:
            return
        there = np.flatnonzero(self._there[: self._used])
        for array in (self._vectors, self._quality, self._row, self._person):
            array[: self._count] = array[there]
        self._used = self._count
        self._there[: self._used] = True
        self._groups = None

    def _candidates(self, queries: NDArray[np.float32]) -> NDArray[np.int64] | None:
        """Persons with vectors among the nearest to any of ``queries``; None: compare with everyone."""
        if self._count <= self._exact or self._no_graph:
            return None
        if self._graph is None:
            self._begin_graph()
            return None
        if self._graph.behind > _LAG:
            return None
        newest = self._graph.newest
        rows = self._graph.search(queries, CANDIDATES)
        there = self._there[: self._used]
        late = there & (self._row[: self._used] > newest)
        return np.unique(self._person[: self._used][late | (there & np.isin(self._row[: self._used], rows))])

    def _begin_graph(self) -> None:
        try:
            self._graph = Graph(self.dimension)
        except ImportError:
            self._no_graph = True
            return
        # What has changed since the mark may yet be undone: the graph hears of it when it is kept.
        there = self._there[: self._used].copy()
        if self._marked is not None:
            for place in self._dropped:
                there[place] = True
            there = there[: self._marked]
        place = np.flatnonzero(there)
        self._graph.add(self._row[place], self._vectors[place])


def _grouped(
    person: NDArray[np.int64], there: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The persons (P,), and where each is ``there``, (P, most), padded with the place past the last."""
    place = np.flatnonzero(there)
    order = place[np.argsort(person[place], kind="stable")]
    persons, start, count = np.unique(person[order], return_index=True, return_counts=True)
    column = np.arange(count.max(initial=0))
    at = np.minimum(start[:, None] + column, max(len(order) - 1, 0))
    members = np.where(column < count[:, None], order[at] if len(order) else at, len(person))
    return persons, members


def least_telling(vectors: NDArray[np.float32], quality: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which vector of each set tells least: lowest in the product of quality and distance from the nearest.

    Of two that are each other's nearest, that is the worse one; and one that tells something new stays only
    if its crop is not so bad that it is probably wrong.

    Args:
        vectors: (S, N, D) unit vectors, N at least 2.
        quality: (S, N), in [0, 1].

    Returns:
        (S,) int64 index into N.
    """
    size = vectors.shape[1]
    distance = 1 - vectors @ vectors.transpose(0, 2, 1)
    distance[:, np.arange(size), np.arange(size)] = np.inf
    # Copies lie at no distance, up to rounding; of those, the worse one goes.
    new = np.maximum(distance.min(2), 1e-6)
    least: NDArray[np.int64] = (np.maximum(quality, 1e-6) * new).argmin(1)
    return least


def most_telling(vectors: NDArray[np.float32], quality: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Which of ``vectors`` (N, D), ascending, are the ``count`` left when the least telling go one by one."""
    distance = 1 - vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    kept = np.arange(len(vectors))
    while len(kept) > count:
        new = np.maximum(distance[np.ix_(kept, kept)].min(1), 1e-6)
        kept = np.delete(kept, (np.maximum(quality[kept], 1e-6) * new).argmin())
    return kept
