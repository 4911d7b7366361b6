"""The vectors of a gallery in memory: one matrix per embedder, one product per question."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAREST = 3
"""A person's distance is the mean over this many of their nearest vectors: one crop can lie."""


class VectorIndex:
    """Unit vectors, each a row of the gallery's table and of one person.

    Args:
        dimension: length D of the vectors.

    Attributes:
        dimension: D.
        last: the highest row number that has been taken in.
    """

    def __init__(self, dimension: int) -> None:
        self.last = 0
        self.dimension = dimension
        self._vectors = np.zeros((0, dimension), np.float32)
        self._row = np.zeros(0, np.int64)
        self._person = np.zeros(0, np.int64)
        self._groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self._person)

    def extend(self, row: NDArray[np.int64], person: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take in ``vectors`` (N, D) of ``person`` (N,), stored in ``row`` (N,), ascending."""
        self._row = np.concatenate([self._row, row])
        self._person = np.concatenate([self._person, person])
        self._vectors = np.concatenate([self._vectors, vectors])
        self._groups = None
        self.last = int(row[-1])

    def drop(self, row: NDArray[np.int64]) -> None:
        """Let go of the vectors stored in ``row`` (N,)."""
        kept = ~np.isin(self._row, row)
        self._row, self._person, self._vectors = self._row[kept], self._person[kept], self._vectors[kept]
        self._groups = None

    def distances(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How far each of ``queries`` (Q, D), unit vectors, is from everyone.

        Returns:
            The persons (P,) ascending, and (Q, P) float32: the mean cosine distance, in [0, 2], to the
            ``NEAREST`` vectors of that person that are nearest (to all, where there are fewer).
        """
        persons, members = self._grouped()
        if not len(persons) or not len(queries):
            return persons, np.zeros((len(queries), len(persons)), np.float32)
        distance = np.full((len(queries), len(self) + 1), np.inf, np.float32)
        np.subtract(1, queries @ self._vectors.T, out=distance[:, :-1])
        per_person = distance[:, members]  # (Q, P, most vectors of one person), padded with infinity
        k = min(NEAREST, members.shape[1])
        nearest = np.partition(per_person, k - 1, axis=2)[:, :, :k]
        real = np.isfinite(nearest)
        return persons, (np.where(real, nearest, 0).sum(2) / real.sum(2)).astype(np.float32)

    def nearest(self, query: NDArray[np.float32], person: int) -> int | None:
        """The row of the vector of ``person`` nearest to ``query`` (D,), or None if there is none."""
        own = np.flatnonzero(self._person == person)
        if not len(own):
            return None
        return int(self._row[own[np.argmax(self._vectors[own] @ query)]])

    def _grouped(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The persons (P,), and the rows of each (P, most), padded with the row past the last."""
        if self._groups is None:
            persons, start, count = np.unique(np.sort(self._person), return_index=True, return_counts=True)
            order = np.argsort(self._person, kind="stable")
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
