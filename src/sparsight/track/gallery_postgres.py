"""A gallery on a PostgreSQL server with pgvector, for several machines: extra ``postgres`` (psycopg 3)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.gallery_file import MIGRATIONS

_LOCK = 0x53505347
"""Number of the advisory lock that lets one writer in at a time, as SQLite does."""
_HEADER = 4  # bytes of ``halfvec_send`` before the numbers: their count, and nothing
_TYPES = (
    (r"INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (r"\bid INTEGER PRIMARY KEY", "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    (r"\bvector BLOB\b", "vector halfvec"),
    (r"\bBLOB\b", "BYTEA"),
    (r"TEXT COLLATE NOCASE UNIQUE", "TEXT"),
)
"""What SQLite's types in :data:`~sparsight.track.gallery_file.MIGRATIONS` are here, in order."""


class PostgresStore:
    """A gallery on a server; see :class:`sparsight.track.gallery_store.Store`.

    Its tables are those of the file, in the schema that the connection finds first; vectors are of pgvector's
    type ``halfvec``.

    Args:
        address: ``postgresql://user:password@host:port/database``; what it leaves out is taken from the
            environment (``PGPASSWORD``) and ``~/.pgpass``, as everywhere with PostgreSQL.
        timeout: seconds to wait for the server, and for another process to finish writing.

    Raises:
        SparsightError: psycopg is not there, or there is no such server, no pgvector, or a gallery of a later
            version.
    """

    vector = "halfvec_send(embedding.vector)"

    def __init__(self, address: str, timeout: float) -> None:
        try:
            import psycopg
        except ImportError:
            raise SparsightError(
                "a gallery on PostgreSQL needs psycopg: pip install 'sparsight[postgres]'."
            ) from None
        self._psycopg = psycopg
        # What is shown, and written into reports, holds no password.
        self.address: Path | str = re.sub(r"(//[^/@:]*):[^/]*@", r"\1@", address.split("?")[0])
        with self.translated():
            self._connection = psycopg.connect(
                address, autocommit=True, connect_timeout=max(1, round(timeout)), application_name="sparsight"
            )
            try:
                self._connection.execute(f"SET lock_timeout = {round(1000 * timeout)}")
                self._migrate()
            except BaseException:
                self._connection.close()
                raise

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement; the rows that it gives."""
        cursor = self._connection.execute(_placed(sql), tuple(values))
        return [] if cursor.description is None else cursor.fetchall()

    def many(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        """Run a statement once per row of values."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_placed(sql), [tuple(row) for row in values])

    def insert(self, sql: str, values: Sequence[object]) -> int:
        """Run an ``INSERT``; the number of the new row."""
        ((number,),) = self.rows(f"{sql} RETURNING id", values)
        return int(number)

    def begin(self) -> None:
        """Begin a transaction that nobody else can write beside."""
        self._connection.execute("BEGIN")
        try:
            self._connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        except BaseException:
            self.rollback()
            raise

    def commit(self) -> None:
        """Keep what was written."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was written."""
        if not self._connection.closed:
            self._connection.execute("ROLLBACK")

    def others(self) -> object:
        """The newest vector and the newest change: what an index in memory depends on."""
        return self.rows("SELECT (SELECT max(id) FROM embedding), (SELECT max(id) FROM change)")[0]

    def pack(self, vector: NDArray[np.float32]) -> object:
        """A vector (D,) as the value of a column."""
        # A text whose type is left to the server, which takes it for the column's.
        return "[" + ",".join(map(repr, vector.astype(np.float16).astype(float).tolist())) + "]"

    def unpack(self, blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32] | None:
        """Vectors (N, ``dimension``) from N rows, or None if one has another length."""
        if any(len(blob) != _HEADER + 2 * dimension for blob in blobs):
            return None
        every = b"".join(bytes(blob[_HEADER:]) for blob in blobs)
        return np.frombuffer(every, ">f2").reshape(len(blobs), dimension).astype(np.float32)

    def shred(self) -> bool:
        """Rewrite the tables without what was deleted; the server's own log and backups are not reached."""
        self._connection.execute("VACUUM FULL person, tracklet, embedding, crop, correction")
        return True

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the server says in the block into one sentence."""
        try:
            yield
        except self._psycopg.errors.LockNotAvailable as error:
            raise SparsightError(
                f"{self.address} is being written by another process that does not let go: try again when it "
                "is done."
            ) from error
        except self._psycopg.Error as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise SparsightError(
                f"the gallery {self.address} cannot be used ({said}): check the address, the server, and "
                "that pgvector is installed there."
            ) from error

    def close(self) -> None:
        """End the connection; closing twice does no harm."""
        self._connection.close()

    def _migrate(self) -> None:
        """Apply the migrations that the tables have not been through, all or none."""
        self.begin()
        try:
            self.rows("CREATE TABLE IF NOT EXISTS sparsight_gallery (version BIGINT NOT NULL)")
            version = max((row[0] for row in self.rows("SELECT version FROM sparsight_gallery")), default=0)
            if version > len(MIGRATIONS):
                raise SparsightError(
                    f"{self.address} was made by a later version of sparsight: upgrade with pip install -U "
                    "sparsight."
                )
            if version == 0:
                self.rows("CREATE EXTENSION IF NOT EXISTS vector")
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self.rows(translate(statement))
            if version < len(MIGRATIONS):
                if version == 0:
                    # SQLite's NOCASE; there, it is part of the column's type.
                    self.rows("CREATE UNIQUE INDEX person_name ON person (lower(name))")
                self.rows("DELETE FROM sparsight_gallery")
                self.rows("INSERT INTO sparsight_gallery VALUES (?)", (len(MIGRATIONS),))
            self.commit()
        except BaseException:
            self.rollback()
            raise


def translate(statement: str) -> str:
    """A statement of SQLite's migrations for PostgreSQL."""
    for theirs, ours in _TYPES:
        statement = re.sub(theirs, ours, statement)
    return statement


def _placed(sql: str) -> Any:
    return sql.replace("?", "%s")
