"""What a gallery needs of a database, so that it can be kept in more than one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

HALF = np.dtype("<f2")
"""Vectors are kept in half precision, which moves a cosine by less than 0.001."""


class Store(Protocol):
    """One connection to the tables of a gallery, of one thread.

    SQL is what SQLite and PostgreSQL have in common, with ``?`` for values.

    Attributes:
        address: the file, or the address without its password.
        vector: the SQL expression that reads a vector out of the table ``embedding``.
    """

    address: Path | str
    vector: str

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement; the rows that it gives."""
        ...

    def many(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        """Run a statement once per row of values."""
        ...

    def insert(self, sql: str, values: Sequence[object]) -> int:
        """Run an ``INSERT`` into a table with a column ``id``; the number of the new row."""
        ...

    def begin(self) -> None:
        """Begin a transaction that nobody else can write beside."""
        ...

    def commit(self) -> None:
        """Keep what was written since :meth:`begin`."""
        ...

    def rollback(self) -> None:
        """Undo what was written since :meth:`begin`."""
        ...

    def others(self) -> object:
        """Something that is different once another connection has committed."""
        ...

    def pack(self, vector: NDArray[np.float32]) -> object:
        """A vector (D,) as the value of a column."""
        ...

    def unpack(self, blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32] | None:
        """What ``vector`` gave in N rows, as (N, ``dimension``); None if one has another length."""
        ...

    def shred(self) -> bool:
        """Leave no bytes of what was deleted; False if some may linger because somebody is reading."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Turn what the database says in the block into one sentence."""
        ...

    def close(self) -> None:
        """End the connection; closing twice does no harm."""
        ...
