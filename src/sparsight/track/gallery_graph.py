"""Many vectors in a graph that a thread of its own makes and keeps up to date, while others go on asking."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsight.track.gallery_store import HALF

if TYPE_CHECKING:
    from usearch.index import Index

_PORTION = 16  # vectors put in at a time: whoever asks waits no longer than that takes, some milliseconds


class Graph:
    """Unit vectors by their keys, nearest first, approximately.

    A hierarchical graph (Malkov and Yashunin: Efficient and robust approximate nearest neighbor search using
    HNSW graphs, TPAMI 2020) of the library ``usearch``. What is put in and taken out waits in a queue for the
    thread: nobody waits for the graph, which takes about a millisecond per vector. A graph that fails (no
    memory) stays behind for ever.

    Args:
        dimension: length of the vectors.

    Raises:
        ImportError: ``usearch`` is not there.
    """

    def __init__(self, dimension: int) -> None:
        from usearch.index import Index

        self._work = _Work(Index(ndim=dimension, metric="cos", dtype="f16"))
        self._work.thread.start()
        # Also when the program ends: a thread that is still in usearch then would bring it down.
        weakref.finalize(self, self._work.stop)

    @property
    def behind(self) -> int:
        """Number of vectors that wait to be put in or taken out."""
        return self._work.behind

    @property
    def newest(self) -> int:
        """The highest key that has been put in; keys ascend."""
        return self._work.newest

    def add(self, key: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Put in ``vectors`` (N, D) under new keys (N,), ascending, and higher than all before."""
        halves = vectors.astype(HALF)
        for start in range(0, len(key), _PORTION):
            self._work.put(key[start : start + _PORTION].astype(np.uint64), halves[start : start + _PORTION])

    def remove(self, key: NDArray[np.int64]) -> None:
        """Take out what is stored under keys (N,); those that are not there do no harm."""
        if len(key):
            self._work.put(key.astype(np.uint64), None)

    def search(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """The keys, ascending, that are among the ``count`` nearest to any of ``queries`` (Q, D)."""
        with self._work.lock:
            found = self._work.index.search(queries, count)
        # Of one question there is a plain list, of several a table with the number found in each row.
        keys: NDArray[np.int64] = np.asarray(found.keys).astype(np.int64)
        if keys.ndim == 1:
            return np.unique(keys)
        counts: NDArray[np.int64] = np.asarray(getattr(found, "counts", None), np.int64)
        return np.unique(keys[np.arange(keys.shape[1]) < counts[:, None]])

    def close(self) -> None:
        """Let the thread end, after the few vectors that it is at."""
        self._work.stop()


class _Work:
    """What the thread shares with its graph, and no reference to that: a graph can be let go of."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.lock = threading.Lock()
        self.behind = 0
        self.newest = -1
        self._tasks: deque[tuple[NDArray[np.uint64], NDArray[np.float16] | None]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self.thread = threading.Thread(target=self.run, name="gallery graph", daemon=True)

    def put(self, key: NDArray[np.uint64], vectors: NDArray[np.float16] | None) -> None:
        with self._changed:
            self._tasks.append((key, vectors))
            self.behind += len(key)
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        # Whoever lets go of a graph may be the thread itself, which collects garbage like any other.
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join()

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._tasks and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                key, vectors = self._tasks.popleft()
            with self.lock:
                if vectors is None:
                    self.index.remove(key)
                else:
                    self.index.add(key, vectors, threads=1)
                    self.newest = int(key[-1])
            with self._changed:
                self.behind -= len(key)
