"""Everyone ever seen, in one file: people, where and when they were seen, and what they look like."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.gallery_file import open_gallery, translated
from sparsight.track.gallery_index import VectorIndex, most_redundant

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_VECTORS = 64
"""Vectors kept per person and embedder: what says least that others do not goes first."""

_VECTOR = np.dtype("<f2")  # half precision moves a cosine by less than 0.001


@dataclass(frozen=True)
class Person:
    """Somebody in the gallery.

    Attributes:
        id: their number, never given to anybody else.
        name: the name they were given, or None.
        first_seen, last_seen: unix seconds.
        cameras: names of the cameras that saw them, in alphabetical order.
        tracklets: number of times that they were followed.
        frames: number of frames they were seen in.
    """

    id: int
    name: str | None
    first_seen: float
    last_seen: float
    cameras: tuple[str, ...]
    tracklets: int
    frames: int

    @property
    def label(self) -> str:
        """The name, or ``person 7``."""
        return self.name or f"person {self.id}"


@dataclass(frozen=True)
class Tracklet:
    """One unbroken sight of a person.

    Attributes:
        id: row number in the gallery.
        person: whose sight it is.
        camera: name of the camera.
        run: which run of the program saw it.
        track: the tracker's number in that run.
        first_seen, last_seen: unix seconds.
        frames: number of frames.
        distance: how far it was from the person it was taken for, or None for somebody new.
        matched: row number of the tracklet of that person that looked most alike, or None.
    """

    id: int
    person: int
    camera: str
    run: str
    track: int
    first_seen: float
    last_seen: float
    frames: int
    distance: float | None
    matched: int | None


class Gallery:
    """People, their tracklets, embeddings and pictures, in an SQLite file that only its owner can read.

    Several cameras and processes may have the same gallery open; each sees what the others have written. All
    writing is done in transactions: a process that is killed leaves a gallery that opens, without the
    transaction in flight. A gallery belongs to the thread that opened it.

    Args:
        path: the file.
        create: make the file if there is none; else that is an error.
        timeout: seconds to wait while another process writes.

    Raises:
        SparsightError: no gallery, a damaged one, or one of a later version; the file is left as it was.
    """

    def __init__(self, path: str | Path, *, create: bool = True, timeout: float = 10.0) -> None:
        self.path = Path(path)
        if not create and not self.path.exists():
            raise SparsightError(f"there is no gallery {self.path}: name the file with --gallery.")
        self._connection = open_gallery(self.path, timeout)
        self._depth = 0
        self._indexes: dict[str, VectorIndex] = {}
        self._seen = (-1, -1)  # SQLite's counter of others' commits, and the generation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the gallery cannot be used afterwards. Closing twice does no harm."""
        with translated(self.path):
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written in the block is kept, or, if it raises, nothing. Blocks may be nested."""
        with translated(self.path):
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    # A full disk may have rolled back already.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    self._forget_indexes()
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    # What was seen

    def add_person(self, time: float, name: str | None = None) -> int:
        """Somebody new, first seen at ``time`` (unix seconds). Returns their number."""
        with self.transaction():
            person = self._insert("INSERT INTO person (created) VALUES (?)", time)
            if name is not None:
                self.rename(person, name)
            return person

    def add_tracklet(
        self,
        person: int,
        *,
        camera: str,
        run: str,
        track: int,
        first_seen: float,
        last_seen: float,
        frames: int,
        distance: float | None = None,
        matched: int | None = None,
    ) -> int:
        """A new sight of ``person``; arguments as in :class:`Tracklet`. Returns its row number.

        Raises:
            SparsightError: there is no such person (any more).
        """
        with self.transaction():
            self._require(person)
            self._connection.execute("INSERT OR IGNORE INTO camera (name) VALUES (?)", (camera,))
            return self._insert(
                "INSERT INTO tracklet "
                "(person, camera, run, track, first_seen, last_seen, frames, distance, matched) "
                "SELECT ?, id, ?, ?, ?, ?, ?, ?, ? FROM camera WHERE name = ?",
                person, run, track, first_seen, last_seen, frames, distance, matched, camera,
            )  # fmt: skip

    def saw(self, rows: Iterable[tuple[int, float, int]]) -> None:
        """Lengthen tracklets: (row number, last seen in unix seconds, frames) of each that is still there."""
        with self.transaction():
            self._connection.executemany(
                "UPDATE tracklet SET last_seen = ?2, frames = ?3 WHERE id = ?1", list(rows)
            )

    def set_embeddings(
        self,
        tracklet: int,
        model: str,
        vectors: NDArray[np.float32],
        quality: NDArray[np.float32],
        time: NDArray[np.float64],
    ) -> None:
        """Let ``vectors`` stand for a tracklet, in place of those that did.

        Args:
            tracklet: its row number; nothing happens if it is gone, because its person was forgotten.
            model: name of the embedder, which says which weights made the vectors.
            vectors: (N, D) unit vectors.
            quality: (N,) how good each crop was, in [0, 1].
            time: (N,) unix seconds.

        Raises:
            SparsightError: vectors of that embedder have another length.
        """
        with self.transaction():
            index = self._index(model, vectors.shape[1])
            found = self._connection.execute(
                "SELECT person FROM tracklet WHERE id = ?", (tracklet,)
            ).fetchone()
            if found is None:
                return
            number = self._model(model, vectors.shape[1])
            self._remove(
                index,
                self._connection.execute(
                    "SELECT id FROM embedding WHERE tracklet = ? AND model = ?", (tracklet, number)
                ).fetchall(),
            )
            stored = vectors.astype(_VECTOR)
            rows = zip(quality.tolist(), time.tolist(), stored, strict=True)
            self._connection.executemany(
                "INSERT INTO embedding (tracklet, model, quality, time, vector) VALUES (?, ?, ?, ?, ?)",
                [(tracklet, number, q, t, vector.tobytes()) for q, t, vector in rows],
            )
            self._append(model, index)
            self._thin(index, found[0], number)

    def set_crop(self, tracklet: int, jpeg: bytes, quality: float) -> None:
        """Let a JPEG picture stand for a tracklet; nothing happens if the tracklet is gone."""
        with self.transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO crop (tracklet, jpeg, quality) "
                "SELECT id, ?, ? FROM tracklet WHERE id = ?",
                (jpeg, quality, tracklet),
            )

    # Who is it?

    def distances(
        self, model: str, queries: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How far each of ``queries`` (Q, D), unit vectors made by ``model``, is from everyone known by it.

        Returns:
            The persons (P,) ascending, and (Q, P) float32: the mean cosine distance, in [0, 2], to the three
            vectors of that person that are nearest.

        Raises:
            SparsightError: vectors of that embedder have another length.
        """
        with translated(self.path):
            return self._index(model, queries.shape[1]).distances(queries)

    def most_alike(self, model: str, query: NDArray[np.float32], person: int) -> int | None:
        """Row number of the tracklet of ``person`` with the vector nearest to ``query`` (D,), if any."""
        with translated(self.path):
            row = self._index(model, len(query)).nearest(query, person)
        found = self._rows("SELECT tracklet FROM embedding WHERE id = ?", row)
        return int(found[0][0]) if found else None

    # Who is in it?

    def people(self) -> list[Person]:
        """Everyone, by number."""
        return self._people("")

    def person(self, number: int) -> Person:
        """The person with that number.

        Raises:
            SparsightError: there is none.
        """
        found = self._people("WHERE person.id = ?", number)
        if not found:
            raise SparsightError(self._nobody(str(number)))
        return found[0]

    def find(self, who: str) -> Person:
        """The person with that name (in upper or lower case) or, if nobody has it, that number.

        Raises:
            SparsightError: there is none.
        """
        found = self._people("WHERE person.name = ?", who)
        if not found and who.isascii() and who.isdecimal() and len(who) < 19:
            found = self._people("WHERE person.id = ?", int(who))
        if not found:
            raise SparsightError(self._nobody(who))
        return found[0]

    def tracklets(self, person: int) -> list[Tracklet]:
        """Every sight of ``person``, from the first to the last."""
        return self._tracklets("WHERE person = ?", person)

    def tracklets_of(self, run: str) -> list[Tracklet]:
        """Every sight that one run of the program had of anybody, from the first to the last."""
        return self._tracklets("WHERE run = ?", run)

    def crop(self, tracklet: int) -> bytes | None:
        """The JPEG picture of a tracklet, if it has one."""
        rows = self._rows("SELECT jpeg FROM crop WHERE tracklet = ?", tracklet)
        return bytes(rows[0][0]) if rows else None

    def thumbnail(self, person: int) -> bytes | None:
        """The best JPEG picture of ``person``, if there is one."""
        rows = self._rows(
            "SELECT jpeg FROM crop JOIN tracklet ON tracklet.id = crop.tracklet "
            "WHERE person = ? ORDER BY quality DESC, tracklet.id LIMIT 1",
            person,
        )
        return bytes(rows[0][0]) if rows else None

    # Changing it

    def remove_tracklet(self, tracklet: int) -> None:
        """Take back a sight, with its vectors and picture; nothing happens if it is gone already."""
        with self.transaction():
            self._connection.execute("DELETE FROM tracklet WHERE id = ?", (tracklet,))
            self._bump()
            self._forget_indexes()

    def rename(self, person: int, name: str | None) -> None:
        """Give ``person`` a name, or with None take it away.

        Raises:
            SparsightError: there is no such person, the name is empty or a number, or somebody else has it.
        """
        if name is not None:
            name = name.strip()
            if not name or name.isdecimal() or not name.isprintable():
                raise SparsightError(f"{name!r} is no name: give one with a letter in it, on one line.")
        with self.transaction():
            self._require(person)
            try:
                self._connection.execute("UPDATE person SET name = ? WHERE id = ?", (name, person))
            except sqlite3.IntegrityError:
                other = self.find(str(name))
                raise SparsightError(
                    f"person {other.id} is called {other.name} already: choose another name."
                ) from None

    def forget(self, person: int) -> None:
        """Remove a person with every tracklet, embedding and picture, and wipe what they took up in the file.

        Raises:
            SparsightError: there is no such person; or they are removed, but another process is reading the
                gallery and old bytes may linger in its log.
        """
        with self.transaction():
            self._require(person)
            self._connection.execute("DELETE FROM person WHERE id = ?", (person,))
            self._bump()
            self._forget_indexes()
        with translated(self.path):
            self._connection.execute("VACUUM")
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise SparsightError(
                f"person {person} is forgotten, but another process is reading {self.path} and bytes of them "
                "may linger in its log: they go when that process ends."
            )

    # In memory

    def _index(self, model: str, dimension: int) -> VectorIndex:
        """The vectors of ``model``, as they are in the file now."""
        # The counter changes when another connection commits, the generation when vectors were taken away.
        (commits,) = self._connection.execute("PRAGMA data_version").fetchone()
        if commits != self._seen[0]:
            (generation,) = self._connection.execute("SELECT number FROM generation").fetchone()
            if generation != self._seen[1]:
                self._indexes.clear()
            self._seen = commits, generation
            for name, index in self._indexes.items():
                self._append(name, index)
        if model not in self._indexes:
            known = self._connection.execute(
                "SELECT dimension FROM model WHERE name = ?", (model,)
            ).fetchone()
            if known is not None and known[0] != dimension:
                raise SparsightError(
                    f"{self.path} holds vectors of {model} with {known[0]} numbers, not {dimension}: "
                    "give the other network another name."
                )
            index = VectorIndex(dimension)
            self._append(model, index)
            self._indexes[model] = index
        return self._indexes[model]

    def _append(self, model: str, index: VectorIndex) -> None:
        """Take in the vectors that were written since the last time."""
        rows = self._connection.execute(
            "SELECT embedding.id, person, vector FROM embedding "
            "JOIN tracklet ON tracklet.id = tracklet JOIN model ON model.id = model "
            "WHERE model.name = ? AND embedding.id > ? ORDER BY embedding.id",
            (model, index.last),
        ).fetchall()
        if not rows:
            return
        numbers, person, blobs = zip(*rows, strict=True)
        raw = b"".join(blobs)
        if {len(blob) for blob in blobs} != {index.dimension * _VECTOR.itemsize}:
            raise SparsightError(f"the gallery {self.path} is damaged (vectors of the wrong length).")
        vectors = np.frombuffer(raw, _VECTOR).reshape(len(rows), -1).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise SparsightError(f"the gallery {self.path} is damaged (vectors that are not finite).")
        index.extend(np.array(numbers), np.array(person), vectors)

    def _thin(self, index: VectorIndex, person: int, model: int) -> None:
        """Keep a person's vectors at ``MAX_VECTORS``, as different from one another as can be."""
        rows = self._connection.execute(
            "SELECT embedding.id, vector, quality FROM embedding JOIN tracklet ON tracklet.id = tracklet "
            "WHERE person = ? AND model = ? ORDER BY embedding.id",
            (person, model),
        ).fetchall()
        if len(rows) <= MAX_VECTORS:
            return
        vectors = np.stack([np.frombuffer(row[1], _VECTOR) for row in rows]).astype(np.float32)
        quality = np.array([row[2] for row in rows], np.float32)
        kept = np.arange(len(rows))
        while len(kept) > MAX_VECTORS:
            kept = np.delete(kept, most_redundant(vectors[None, kept], quality[None, kept])[0])
        gone = set(range(len(rows))) - set(kept.tolist())
        self._remove(index, [rows[i][:1] for i in sorted(gone)])

    def _remove(self, index: VectorIndex, rows: list[tuple[int]]) -> None:
        """Delete vectors by their rows, each ``(number,)``, here and in the file."""
        if rows:
            self._connection.executemany("DELETE FROM embedding WHERE id = ?", rows)
            self._bump()
            index.drop(np.array(rows)[:, 0])

    def _bump(self) -> None:
        self._connection.execute("UPDATE generation SET number = number + 1")
        (generation,) = self._connection.execute("SELECT number FROM generation").fetchone()
        # Our own indexes follow what we write; only others have to read afresh.
        self._seen = self._seen[0], generation

    def _forget_indexes(self) -> None:
        self._indexes.clear()
        self._seen = (-1, -1)

    # SQL

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def _insert(self, sql: str, *values: object) -> int:
        row = self._connection.execute(sql, values).lastrowid
        assert row is not None
        return row

    def _model(self, name: str, dimension: int) -> int:
        self._connection.execute(
            "INSERT OR IGNORE INTO model (name, dimension) VALUES (?, ?)", (name, dimension)
        )
        (number,) = self._connection.execute("SELECT id FROM model WHERE name = ?", (name,)).fetchone()
        return int(number)

    def _require(self, person: int) -> None:
        if self._connection.execute("SELECT 1 FROM person WHERE id = ?", (person,)).fetchone() is None:
            raise SparsightError(self._nobody(str(person)))

    def _nobody(self, who: str) -> str:
        return f"nobody in {self.path} is called {who!r}: sparsight identity list shows who is there."

    def _tracklets(self, where: str, value: object) -> list[Tracklet]:
        rows = self._rows(
            "SELECT tracklet.id, person, camera.name, run, track, first_seen, last_seen, frames, distance, "
            f"matched FROM tracklet JOIN camera ON camera.id = tracklet.camera {where} "
            "ORDER BY first_seen, tracklet.id",
            value,
        )
        return [Tracklet(*row) for row in rows]

    def _people(self, where: str, *values: object) -> list[Person]:
        rows = self._rows(
            "SELECT person.id, person.name, coalesce(min(first_seen), created), "
            "coalesce(max(last_seen), created), count(tracklet.id), coalesce(sum(frames), 0) FROM person "
            f"LEFT JOIN tracklet ON tracklet.person = person.id {where} "
            "GROUP BY person.id ORDER BY person.id",
            *values,
        )
        cameras: dict[int, list[str]] = {}
        for person, camera in self._rows(
            "SELECT DISTINCT person, name FROM tracklet JOIN camera ON camera.id = tracklet.camera "
            "ORDER BY name"
        ):
            cameras.setdefault(person, []).append(camera)
        return [
            Person(number, name, first, last, tuple(cameras.get(number, ())), tracklets, frames)
            for number, name, first, last, tracklets, frames in rows
        ]
