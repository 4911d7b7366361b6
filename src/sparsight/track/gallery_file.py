"""The gallery's file: its tables, how it is made, and how a file that is not a gallery is turned away.

A gallery is an SQLite database in write-ahead-log mode, so that several processes can share it and a process
killed at any moment leaves a file that opens. ``application_id`` marks it as ours, ``user_version`` counts
the migrations it has been through.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.gallery_store import HALF

APPLICATION_ID = 0x53505347
"""``SPSG`` in the file's header (bytes 68 to 72): https://www.sqlite.org/fileformat.html."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # AUTOINCREMENT: the number of somebody forgotten is never given to somebody else.
        """CREATE TABLE person (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT COLLATE NOCASE UNIQUE,
            created REAL NOT NULL
        )""",
        "CREATE TABLE camera (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        "CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dimension INTEGER NOT NULL)",
        """CREATE TABLE tracklet (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
            camera INTEGER NOT NULL REFERENCES camera (id),
            run TEXT NOT NULL,
            track INTEGER NOT NULL,
            first_seen REAL NOT NULL,
            last_seen REAL NOT NULL,
            frames INTEGER NOT NULL,
            distance REAL,
            matched INTEGER REFERENCES tracklet (id) ON DELETE SET NULL
        )""",
        "CREATE INDEX tracklet_of_person ON tracklet (person, last_seen)",
        "CREATE INDEX tracklet_of_run ON tracklet (run)",
        "CREATE INDEX tracklet_matched ON tracklet (matched)",
        """CREATE TABLE embedding (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            tracklet INTEGER NOT NULL REFERENCES tracklet (id) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES model (id),
            vector BLOB NOT NULL,
            quality REAL NOT NULL,
            time REAL NOT NULL
        )""",
        "CREATE INDEX embedding_of_tracklet ON embedding (tracklet)",
        """CREATE TABLE crop (
            tracklet INTEGER PRIMARY KEY REFERENCES tracklet (id) ON DELETE CASCADE,
            jpeg BLOB NOT NULL,
            quality REAL NOT NULL
        )""",
        # Bumped whenever vectors are removed or change hands, so that other processes read them afresh.
        "CREATE TABLE generation (number INTEGER NOT NULL)",
        "INSERT INTO generation VALUES (0)",
    ),
    (
        # The numbers are kept though the people may be gone; forgetting somebody removes what names them.
        """CREATE TABLE correction (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            source INTEGER NOT NULL,
            target INTEGER NOT NULL,
            reason TEXT NOT NULL,
            tracklets TEXT NOT NULL
        )""",
        # Until now nobody knew which runs shared a clock.
        "ALTER TABLE tracklet ADD COLUMN clock TEXT NOT NULL DEFAULT ''",
        "UPDATE tracklet SET clock = run",
        "CREATE INDEX tracklet_of_clock ON tracklet (clock, last_seen)",
        """CREATE TABLE travel (
            origin TEXT NOT NULL,
            destination TEXT NOT NULL,
            seconds REAL,
            PRIMARY KEY (origin, destination)
        )""",
    ),
    (
        # In place of a number that only said that something had changed: vectors that were removed (person
        # NULL) or given to somebody else. The newest ones are kept, for other processes to follow.
        """CREATE TABLE change (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            embedding INTEGER NOT NULL,
            person INTEGER
        )""",
        "DROP TABLE generation",
    ),
)
"""Each entry takes a gallery from one ``user_version`` to the next, statement by statement."""

_MAGIC = b"SQLite format 3\0"
_HEADER = 100


def open_gallery(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection to the gallery at ``path``, made if there is no such file, brought to today's tables.

    Args:
        path: the file; its folder must exist.
        timeout: seconds to wait for another process to finish writing.

    Raises:
        SparsightError: the file is no gallery, damaged, or made by a later version; it is left as it was.
    """
    with translated(path):
        if not path.exists():
            _create(path)
        _check_header(path)
        _check_pages(path, timeout)
        _make_private(path)
        connection = _connect(path, timeout, "rw")
        try:
            # Overwrite what is deleted, so that somebody forgotten does not linger in free pages.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            # In WAL mode this survives a killed process; only a power cut may lose the last transactions.
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


class SqliteStore:
    """A gallery in a file; see :class:`sparsight.track.gallery_store.Store`.

    Args:
        path: the file, made if there is none; its folder must exist.
        timeout: seconds to wait for another process to finish writing.

    Raises:
        SparsightError: the file is no gallery, damaged, or made by a later version; it is left as it was.
    """

    vector = "embedding.vector"

    def __init__(self, path: Path, timeout: float) -> None:
        self.address: Path | str = path
        self._path = path
        self.connection = open_gallery(path, timeout)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement; the rows that it gives."""
        return self.connection.execute(sql, tuple(values)).fetchall()

    def many(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        """Run a statement once per row of values."""
        self.connection.executemany(sql, values)

    def insert(self, sql: str, values: Sequence[object]) -> int:
        """Run an ``INSERT``; the number of the new row."""
        row = self.connection.execute(sql, tuple(values)).lastrowid
        assert row is not None
        return row

    def begin(self) -> None:
        """Begin a transaction that nobody else can write beside."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keep what was written."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was written."""
        if self.connection.in_transaction:  # a full disk may have rolled back already
            self.connection.execute("ROLLBACK")

    def others(self) -> object:
        """Something that is different once another connection has committed."""
        return self.connection.execute("PRAGMA data_version").fetchone()[0]

    def pack(self, vector: NDArray[np.float32]) -> object:
        """A vector (D,) as the value of a column."""
        return vector.astype(HALF).tobytes()

    def unpack(self, blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32] | None:
        """Vectors (N, ``dimension``) from N rows, or None if one has another length."""
        if any(len(blob) != dimension * HALF.itemsize for blob in blobs):
            return None
        return np.frombuffer(b"".join(blobs), HALF).reshape(len(blobs), dimension).astype(np.float32)

    def shred(self) -> bool:
        """Rebuild the file without what was deleted, and empty its log; False if somebody is reading it."""
        self.connection.execute("VACUUM")
        return not self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Turn what SQLite says in the block into one sentence."""
        return translated(self._path)

    def close(self) -> None:
        """End the connection; closing twice does no harm."""
        self.connection.close()


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite or the system says about ``path`` into one sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise SparsightError(
                f"{path} is being written by another process that does not let go: try again when it is done."
            ) from error
        if "full" in text or "readonly" in text or "unable to open" in text or "disk I/O" in text:
            raise SparsightError(
                f"the gallery {path} cannot be written ({text}): free some space, or choose a folder that "
                "you may write to."
            ) from error
        raise SparsightError(_damaged(path, text)) from error
    except sqlite3.DatabaseError as error:
        raise SparsightError(_damaged(path, str(error))) from error
    except OSError as error:
        raise SparsightError(f"the gallery {path} cannot be opened ({error.strerror or error}).") from error


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the migrations that the file has not been through, all or none.

    Raises:
        SparsightError: the file has been through migrations that this version does not know.
    """
    if _user_version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _user_version(connection)
        if version > len(MIGRATIONS):
            raise SparsightError(
                f"{path} was made by a later version of sparsight: upgrade with pip install -U sparsight."
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


def _damaged(path: Path, detail: str) -> str:
    return (
        f"the gallery {path} is damaged ({detail}): restore it from a copy, or name another with --gallery."
    )


def _foreign(path: Path, what: str) -> SparsightError:
    return SparsightError(f"{path} is {what}, not a sparsight gallery: name another file with --gallery.")


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connect(path: Path, timeout: float, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=timeout, isolation_level=None
    )
    # What a file's schema says is not trusted: https://www.sqlite.org/security.html.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _create(path: Path) -> None:
    """Make the whole file under another name, then give it its own: it is never seen half made."""
    if not path.parent.is_dir():
        raise SparsightError(f"there is no folder {path.parent} for the gallery: make it, or choose another.")
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)  # mode 0600
    os.close(handle)
    temporary = Path(name)
    try:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        try:
            # Unlike a rename, a link fails if another process was faster, whose gallery is then used.
            path.hardlink_to(temporary)
        except FileExistsError:
            return
        except OSError:
            temporary.rename(path)  # a file system without links
    finally:
        temporary.unlink(missing_ok=True)


def _check_header(path: Path) -> None:
    """Look at the file's first bytes without SQLite, which might recover, and so change, a foreign one."""
    if not path.is_file():
        raise _foreign(path, "a folder" if path.is_dir() else "no regular file")
    with path.open("rb") as stream:
        header = stream.read(_HEADER)
    if not header:
        raise _foreign(path, "an empty file")
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise _foreign(path, "no SQLite database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise _foreign(path, "the database of another program")
    # Where a log is at hand, the header may be ahead of the file: a checkpoint was cut short.
    log = path.with_name(path.name + "-wal")
    if not (log.exists() and log.stat().st_size):
        page = int.from_bytes(header[16:18], "big")
        size = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
        if path.stat().st_size < size:
            raise SparsightError(_damaged(path, f"{path.stat().st_size} of {size} bytes are there"))


def _check_pages(path: Path, timeout: float) -> None:
    """Read every page once. A read-only connection never writes the log back into the file."""
    with contextlib.closing(_connect(path, timeout, "ro")) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise SparsightError(_damaged(path, str(found).splitlines()[-1]))


def _make_private(path: Path) -> None:
    """Let nobody but the owner read it; SQLite gives its log the same bits."""
    with contextlib.suppress(PermissionError):  # somebody else's file, shared with us on purpose
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
