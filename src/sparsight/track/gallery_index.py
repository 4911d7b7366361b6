"""The vectors of a gallery in memory: one matrix per embedder, one product per question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from usearch.index import Index

NEAREST = 3
"""A person's distance is the mean over this many of their nearest vectors: one crop can lie."""
EXACT = 100_000
"""Vectors up to which everyone is compared: 50 million products, some milliseconds."""
CANDIDATES = 256
"""Near vectors whose people are compared when there are more."""


class VectorIndex:
    """Unit vectors, each a row of the gallery's table and of one person.

    Up to ``exact`` vectors, everyone is compared with every vector by one matrix product. With more, the
    people whom the ``CANDIDATES`` nearest vectors of each question belong to are found in a graph (Malkov and
    Yashunin: Efficient and robust approximate nearest neighbor search using HNSW graphs, TPAMI 2020;
    ``usearch``), and only they are compared, exactly. Without ``usearch`` everyone is.

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
        self._count = 0
        # The first ``_count`` rows hold something; they grow by doubling, and holes are filled from the end.
        self._vectors = np.zeros((0, dimension), np.float32)
        self._row = np.zeros(0, np.int64)
        self._person = np.zeros(0, np.int64)
        self._groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._graph: Index | None = None

    def __len__(self) -> int:
        return self._count

    def extend(self, row: NDArray[np.int64], person: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take in ``vectors`` (N, D) of ``person`` (N,), stored in ``row`` (N,), ascending."""
        old, self._count = self._count, self._count + len(row)
        if self._count > len(self._row):
            size = 2 * self._count
            for name in ("_vectors", "_row", "_person"):
                before = getattr(self, name)
                grown = np.empty((size, *before.shape[1:]), before.dtype)
                grown[:old] = before[:old]
                setattr(self, name, grown)
        self._vectors[old : self._count] = vectors
        self._row[old : self._count] = row
        self._person[old : self._count] = person
        self._groups = None
        self.last = int(row[-1])
        if self._graph is not None:
            self._graph.add(row.astype(np.uint64), vectors)

    def drop(self, row: NDArray[np.int64]) -> None:
        """Let go of the vectors stored in ``row`` (N,)."""
        gone = np.isin(self._row[: self._count], row)
        if self._graph is not None:
            self._graph.remove(self._row[: self._count][gone].astype(np.uint64))
        count = self._count - int(gone.sum())
        holes = np.flatnonzero(gone[:count])
        movers = count + np.flatnonzero(~gone[count:])
        for array in (self._vectors, self._row, self._person):
            array[holes] = array[movers]
        self._count = count
        self._groups = None

    def distances(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How far each of ``queries`` (Q, D), unit vectors, is from everyone.

        Returns:
            The persons (P,) ascending, and (Q, P) float32: the mean cosine distance, in [0, 2], to the
            ``NEAREST`` vectors of that person that are nearest (to all, where there are fewer). With more
            than ``exact`` vectors, only persons are given that are near to one of ``queries``.
        """
        persons, members = self._grouped()
        if not len(persons) or not len(queries):
            return persons, np.zeros((len(queries), len(persons)), np.float32)
        vectors = self._vectors[: self._count]
        if self._count > self._exact and self._searchable():
            near = np.searchsorted(persons, self._candidates(queries))
            persons, members = persons[near], members[near]
            used = np.unique(members[members < self._count])
            members = np.where(members < self._count, np.searchsorted(used, members), len(used))
            vectors = vectors[used]
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

    def rows_of(self, person: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The rows (N,) of ``person``, in no order, and the vectors (N, D) stored in them."""
        own = self._own(person)
        return self._row[own], self._vectors[own]

    def _own(self, person: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._person[: self._count] == person)

    def _searchable(self) -> bool:
        """Whether there is a graph; it is made when it is first needed."""
        if self._graph is None:
            try:
                from usearch.index import Index
            except ImportError:
                return False
            self._graph = Index(ndim=self.dimension, metric="cos", dtype="f16")
            self._graph.add(self._row[: self._count].astype(np.uint64), self._vectors[: self._count])
        return True

    def _candidates(self, queries: NDArray[np.float32]) -> NDArray[np.int64]:
        """The persons, ascending, whose vectors are among those nearest to any of ``queries``."""
        assert self._graph is not None
        found = self._graph.search(queries, CANDIDATES)
        rows = np.unique(np.asarray(found.keys).astype(np.int64).ravel())
        return np.unique(self._person[: self._count][np.isin(self._row[: self._count], rows)])

    def _grouped(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The persons (P,), and the rows of each (P, most), padded with the row past the last."""
        if self._groups is None:
            order = np.argsort(self._person[: self._count], kind="stable")
            persons, start, count = np.unique(
                self._person[: self._count][order], return_index=True, return_counts=True
            )
            column = np.arange(count.max(initial=0))
            rows = np.minimum(start[:, None] + column, max(len(order) - 1, 0))
            members = np.where(column < count[:, None], order[rows] if len(order) else rows, len(order))
            self._groups = persons, members
        return self._groups


def most_redundant(vectors: NDArray[np.float32], quality: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which vector of each set says least that another does not: the worse one of its closest pair.

    Args:
        vectors: (S, N, D) unit vectors, N at least 2.
        quality: (S, N).

    Returns:
        (S,) int64 index into N.
    """
    size = vectors.shape[1]
    likeness = vectors @ vectors.transpose(0, 2, 1)
    likeness[:, np.arange(size), np.arange(size)] = -np.inf
    closest = likeness.reshape(len(vectors), -1).argmax(1)
    first, second = closest // size, closest % size
    rows = np.arange(len(vectors))
    worse: NDArray[np.int64] = np.where(quality[rows, first] <= quality[rows, second], first, second)
    return worse
