"""Everyone ever seen, in one file: people, where and when they were seen, and what they look like."""

from __future__ import annotations

import contextlib
import json
import time as clock_time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.gallery_file import SqliteStore
from sparsight.track.gallery_index import EXACT, VectorIndex, most_telling
from sparsight.track.gallery_places import seen_together
from sparsight.track.gallery_records import BY_HAND, MERGE, SPLIT, Correction, Person, Tracklet
from sparsight.track.gallery_store import HALF, Store

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_VECTORS = 64
"""Vectors kept per person and embedder: what tells least that others do not goes first."""
MAX_CROPS = 32
"""Pictures kept per person: the best one, and the newest."""
CHANGES = 20_000
"""Vectors removed or given to somebody else that are remembered, for other processes to follow."""


class Gallery:
    """People, their tracklets, embeddings and pictures.

    They are kept in an SQLite file that only its owner can read, or, for several machines, on a PostgreSQL
    server.

    Several cameras and processes may have the same gallery open; each sees what the others have written. All
    writing is done in transactions: a process that is killed leaves a gallery that opens, without the
    transaction in flight. A gallery belongs to the thread that opened it.

    Args:
        path: the file, or ``postgresql://user@host/database``
            (see :mod:`sparsight.track.gallery_postgres`).
        create: make the file if there is none; else that is an error.
        timeout: seconds to wait while another process writes.

    Raises:
        SparsightError: no gallery, a damaged one, or one of a later version; the file is left as it was.
    """

    def __init__(self, path: str | Path, *, create: bool = True, timeout: float = 10.0) -> None:
        self.store = _store(path, create, timeout)
        self.path = self.store.address
        self._depth = 0
        self._indexes: dict[str, VectorIndex] = {}
        self._seen: tuple[object, int] = (None, 0)  # what others committed, and the last change followed
        self._changed = False  # whether this transaction has noted a change

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the gallery cannot be used afterwards. Closing twice does no harm."""
        for index in self._indexes.values():
            index.close()
        with self.store.translated():
            self.store.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written in the block is kept, or, if it raises, nothing. Blocks may be nested."""
        with self.store.translated():
            if self._depth == 0:
                self._begin()
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._commit()
            except BaseException:
                if self._depth == 1:
                    self._roll_back()
                raise
            finally:
                self._depth -= 1

    # What was seen

    def add_person(self, time: float, name: str | None = None) -> int:
        """Somebody new, first seen at ``time`` (unix seconds). Returns their number."""
        with self.transaction():
            person = self.store.insert("INSERT INTO person (created) VALUES (?)", (time,))
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
        clock: str | None = None,
    ) -> int:
        """A new sight of ``person``; arguments as in :class:`~sparsight.track.gallery_records.Tracklet`.

        By default the run has a clock of its own. Returns the row number.

        Raises:
            SparsightError: there is no such person (any more).
        """
        with self.transaction():
            self._require(person)
            self.store.rows("INSERT INTO camera (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (camera,))
            ((place,),) = self.store.rows("SELECT id FROM camera WHERE name = ?", (camera,))
            return self.store.insert(
                "INSERT INTO tracklet "
                "(person, camera, run, track, first_seen, last_seen, frames, distance, matched, clock) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (person, place, run, track, first_seen, last_seen, frames, distance, matched, clock or run),
            )

    def saw(self, rows: Iterable[tuple[int, float, int]]) -> None:
        """Lengthen tracklets: (row number, last seen in unix seconds, frames) of each that is still there."""
        with self.transaction():
            self.store.many(
                "UPDATE tracklet SET last_seen = ?, frames = ? WHERE id = ?",
                [(last, frames, tracklet) for tracklet, last, frames in rows],
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
            found = self.store.rows("SELECT person FROM tracklet WHERE id = ?", (tracklet,))
            if not found:
                return
            number = self._model(model, vectors.shape[1])
            # Most are there already: a track that goes on changes one at a time.
            here = self.store.rows(
                f"SELECT embedding.id, quality, time, {self.store.vector} FROM embedding "
                "WHERE tracklet = ? AND model = ?",
                (tracklet, number),
            )
            old = self.unpacked([row[3] for row in here], index.dimension)
            rounded = vectors.astype(HALF).astype(np.float32)
            same = (rounded[:, None] == old).all(2)
            same &= np.abs(time[:, None] - np.array([row[2] for row in here])) < 1e-6
            same &= np.abs(quality[:, None] - np.array([row[1] for row in here])) < 1e-6
            self._remove(index, [row[:1] for row in (here[n] for n in np.flatnonzero(~same.any(0)))])
            new = ~same.any(1)
            if not new.any():
                return
            rows = zip(quality[new].tolist(), time[new].tolist(), vectors[new], strict=True)
            self.store.many(
                "INSERT INTO embedding (tracklet, model, quality, time, vector) VALUES (?, ?, ?, ?, ?)",
                [(tracklet, number, q, t, self.store.pack(vector)) for q, t, vector in rows],
            )
            self._append(model, index)
            self._thin(index, found[0][0])

    def set_crop(self, tracklet: int, jpeg: bytes, quality: float) -> None:
        """Let a JPEG picture stand for a tracklet; nothing happens if the tracklet is gone.

        Of each person the best picture is kept, and of the others the newest, ``MAX_CROPS`` in all.
        """
        with self.transaction():
            found = self.store.rows("SELECT person FROM tracklet WHERE id = ?", (tracklet,))
            if not found:
                return
            before = self.store.rows("SELECT 1 FROM crop WHERE tracklet = ?", (tracklet,))
            self.store.rows(
                "INSERT INTO crop (tracklet, jpeg, quality) VALUES (?, ?, ?) "
                "ON CONFLICT (tracklet) DO UPDATE SET jpeg = excluded.jpeg, quality = excluded.quality",
                (tracklet, jpeg, quality),
            )
            if not before:
                self._thin_crops(found[0][0], MAX_CROPS)

    # Who is it?

    def distances(
        self, model: str, queries: NDArray[np.float32], among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How far each of ``queries`` (Q, D), unit vectors made by ``model``, is from everyone known by it.

        Args:
            model: name of the embedder.
            queries: the vectors.
            among: persons (N,) to compare with; by default everyone.

        Returns:
            The persons (P,) ascending, and (Q, P) float32: the mean cosine distance, in [0, 2], to the three
            vectors of that person that are nearest.

        Raises:
            SparsightError: vectors of that embedder have another length.
        """
        with self.store.translated():
            return self._index(model, queries.shape[1]).distances(queries, among)

    def most_alike(self, model: str, query: NDArray[np.float32], person: int) -> int | None:
        """Row number of the tracklet of ``person`` with the vector nearest to ``query`` (D,), if any."""
        with self.store.translated():
            row = self._index(model, len(query)).nearest(query, person)
        found = self._rows("SELECT tracklet FROM embedding WHERE id = ?", row)
        return int(found[0][0]) if found else None

    def vectors(self, model: str, person: int, dimension: int) -> NDArray[np.float32]:
        """The vectors (N, ``dimension``) of ``person`` that ``model`` made."""
        with self.store.translated():
            return self._index(model, dimension).of(person)

    def sides(
        self, model: str, tracklet: int, dimension: int
    ) -> tuple[int, NDArray[np.float32], NDArray[np.float32]] | None:
        """Whose sight ``tracklet`` is, its vectors (N, ``dimension``), and those of their other sights.

        None if there is no such sight (any more).
        """
        with self.store.translated():
            index = self._index(model, dimension)
            found = self.store.rows("SELECT person FROM tracklet WHERE id = ?", (tracklet,))
            if not found:
                return None
            rows, vectors, _ = index.rows_of(found[0][0])
            of_sight = self.store.rows("SELECT id FROM embedding WHERE tracklet = ?", (tracklet,))
        own = np.isin(rows, np.array(of_sight, np.int64).reshape(-1))
        return int(found[0][0]), vectors[own], vectors[~own]

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
        found = self._people("WHERE lower(person.name) = lower(?)", who)
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
        """The JPEG picture that shows ``person`` best, if there is one.

        The best one among the half of the sights that is most like all that is known of them: the picture of
        a sight that was taken for this person by mistake may be better.
        """
        rows = self._rows(
            "SELECT tracklet, quality FROM crop JOIN tracklet ON tracklet.id = crop.tracklet "
            "WHERE person = ? ORDER BY tracklet.id",
            person,
        )
        if not rows:
            return None
        likeness = self._likeness(person)
        alike = sorted(rows, key=lambda row: -likeness.get(row[0], 0.0))[: -(-len(rows) // 2)]
        return self.crop(max(alike, key=lambda row: row[1])[0])

    def _likeness(self, person: int) -> dict[int, float]:
        """How alike the mean of each sight of ``person`` with vectors is to the mean of all, in [0, 1]."""
        rows = self._rows(
            f"SELECT model, dimension, tracklet, {self.store.vector} FROM embedding "
            "JOIN tracklet ON tracklet.id = tracklet JOIN model ON model.id = model WHERE person = ?",
            person,
        )
        if not rows:
            return {}
        counts: dict[tuple[int, int], int] = {}
        for model, dimension, *_ in rows:
            counts[model, dimension] = counts.get((model, dimension), 0) + 1
        model, dimension = max(counts, key=lambda one: counts[one])
        rows = [row for row in rows if row[0] == model]
        vectors = self.unpacked([row[3] for row in rows], dimension)
        sights, which = np.unique(np.array([row[2] for row in rows]), return_inverse=True)
        means = np.zeros((len(sights), dimension), np.float32)
        np.add.at(means, which, vectors)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        whole = vectors.sum(0)
        likeness = np.maximum(means @ whole / max(float(np.linalg.norm(whole)), 1e-12), 0)
        return dict(zip(sights.tolist(), likeness.tolist(), strict=True))

    # Changing it

    def remove_tracklet(self, tracklet: int) -> None:
        """Take back a sight, with its vectors and picture; nothing happens if it is gone already."""
        with self.transaction():
            self._gone("tracklet = ?", tracklet)
            self.store.rows("DELETE FROM tracklet WHERE id = ?", (tracklet,))

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
            for other, called in self.store.rows(
                "SELECT id, name FROM person WHERE lower(name) = lower(?) AND id <> ?", (name, person)
            ):
                raise SparsightError(f"person {other} is called {called} already: choose another name.")
            self.store.rows("UPDATE person SET name = ? WHERE id = ?", (name, person))

    def forget(self, person: int) -> None:
        """Remove a person with every tracklet, embedding and picture, and wipe what they took up in the file.

        Raises:
            SparsightError: there is no such person; or they are removed, but another process is reading the
                gallery and old bytes may linger in its log.
        """
        with self.transaction():
            self._require(person)
            self._gone("tracklet IN (SELECT id FROM tracklet WHERE person = ?)", person)
            self.store.rows("DELETE FROM person WHERE id = ?", (person,))
            self.store.rows("DELETE FROM correction WHERE source = ? OR target = ?", (person, person))
            # That vectors were given to a number says nothing once it is nobody's; others read who is there.
            self.store.rows("UPDATE change SET person = NULL WHERE person = ?", (person,))
        self._shred(f"person {person} is forgotten")

    def merge(self, target: int, source: int, reason: str = BY_HAND) -> Correction:
        """Let all sights of ``source`` be sights of ``target``; nobody is ``source`` any more.

        ``target`` keeps its name, or takes that of ``source`` if it has none.

        Raises:
            SparsightError: there is no such person, they are one already, or one camera saw both at once.
        """
        with self.transaction():
            one, other = self.person(target), self.person(source)
            if target == source:
                raise SparsightError(f"person {target} cannot be merged with themselves: name two people.")
            moved = self.tracklets(source)
            both = seen_together(self.tracklets(target), moved)
            if both is not None:
                raise SparsightError(
                    f"{one.label} and {other.label} were seen at once (sights {both[0]} and {both[1]}), so "
                    "they are two people: split off the sight that is wrong first."
                )
            self._hand_over(moved, target)
            self.store.rows("DELETE FROM person WHERE id = ?", (source,))
            if one.name is None and other.name is not None:
                self.rename(target, other.name)
            return self._correct(MERGE, source, target, reason, moved)

    def split(self, person: int, tracklets: Sequence[int], reason: str = BY_HAND) -> Correction:
        """Let some sights of ``person``, by their row numbers, be those of somebody new (the ``target``).

        Raises:
            SparsightError: there is no such person, a sight is not theirs, or none or all of them are given.
        """
        with self.transaction():
            self._require(person)
            every = self.tracklets(person)
            wanted = set(tracklets)
            moved = [one for one in every if one.id in wanted]
            foreign = wanted - {one.id for one in moved}
            if foreign:
                raise SparsightError(
                    f"sight {min(foreign)} is not one of person {person}: sparsight identity show lists "
                    "theirs."
                )
            if not 0 < len(moved) < len(every):
                raise SparsightError(
                    f"{len(moved)} of the {len(every)} sights of person {person} cannot be split off: name "
                    "some, and leave some."
                )
            target = self.add_person(min(one.first_seen for one in moved))
            self._hand_over(moved, target)
            return self._correct(SPLIT, person, target, reason, moved)

    def corrections(self, after: int = 0) -> list[Correction]:
        """Every merge and split with a number above ``after``, in order."""
        rows = self._rows(
            "SELECT id, time, kind, source, target, reason, tracklets FROM correction "
            "WHERE id > ? ORDER BY id",
            after,
        )
        return [
            Correction(number, time, kind, source, target, reason, tuple(json.loads(moved)))
            for number, time, kind, source, target, reason, moved in rows
        ]

    def prune(self, keep_days: float | None = None, keep_crops: int | None = None) -> tuple[int, int]:
        """Drop pictures and vectors, and wipe what they took up in the file; people and sights stay.

        Args:
            keep_days: drop those of sights that ended, and vectors that were made, more days ago.
            keep_crops: keep so many pictures of each person: the best one, and the newest.

        Returns:
            Number of pictures and of vectors that went.

        Raises:
            SparsightError: a number is negative; or all is done, but another process is reading the gallery.
        """
        if (keep_days is not None and not keep_days >= 0) or (keep_crops is not None and keep_crops < 0):
            raise SparsightError(
                f"cannot keep {keep_days} days and {keep_crops} pictures: give 0 or more of each."
            )
        crops = vectors = 0
        with self.transaction():
            if keep_days is not None:
                before = clock_time.time() - 86400 * keep_days
                rows = self.store.rows(
                    "SELECT tracklet FROM crop JOIN tracklet ON tracklet.id = crop.tracklet "
                    "WHERE last_seen < ?",
                    (before,),
                )
                self.store.many("DELETE FROM crop WHERE tracklet = ?", rows)
                ((vectors,),) = self.store.rows("SELECT count(*) FROM embedding WHERE time < ?", (before,))
                self._gone("time < ?", before)
                self.store.rows("DELETE FROM embedding WHERE time < ?", (before,))
                crops += len(rows)
            if keep_crops is not None:
                crops += sum(self._thin_crops(one.id, keep_crops) for one in self.people())
        self._shred(f"{crops} pictures and {vectors} vectors are gone")
        return crops, int(vectors)

    def _hand_over(self, tracklets: Sequence[Tracklet], person: int) -> None:
        self.store.many(
            "UPDATE tracklet SET person = ? WHERE id = ?", [(person, one.id) for one in tracklets]
        )
        self.store.many(
            "INSERT INTO change (embedding, person) SELECT id, ? FROM embedding WHERE tracklet = ?",
            [(person, one.id) for one in tracklets],
        )
        moved = [
            row[0]
            for one in tracklets
            for row in self.store.rows("SELECT id FROM embedding WHERE tracklet = ?", (one.id,))
        ]
        self._note()
        for index in self._indexes.values():
            index.move(np.array(moved, np.int64), np.full(len(moved), person))
        for model, dimension in self.store.rows("SELECT name, dimension FROM model"):
            self._thin(self._index(model, dimension), person)
        self._thin_crops(person, MAX_CROPS)

    def _correct(
        self, kind: str, source: int, target: int, reason: str, tracklets: Sequence[Tracklet]
    ) -> Correction:
        moved = tuple(one.id for one in tracklets)
        now = clock_time.time()
        number = self.store.insert(
            "INSERT INTO correction (time, kind, source, target, reason, tracklets) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (now, kind, source, target, reason, json.dumps(moved)),
        )
        return Correction(number, now, kind, source, target, reason, moved)

    # In memory

    def _begin(self) -> None:
        self.store.begin()
        try:
            self._follow()  # afterwards nobody else writes: what can be undone is ours alone
        except BaseException:
            self.store.rollback()
            raise
        self._changed = False
        for index in self._indexes.values():
            index.mark()

    def _commit(self) -> None:
        if self._changed:
            newest = self._newest_change()
            self.store.rows("DELETE FROM change WHERE id <= ?", (newest - CHANGES,))
        self.store.commit()
        if self._changed:
            self._seen = self._seen[0], newest
        for index in self._indexes.values():
            index.keep()

    def _roll_back(self) -> None:
        self.store.rollback()
        for index in self._indexes.values():
            index.undo()

    def _index(self, model: str, dimension: int) -> VectorIndex:
        """The vectors of ``model``, as they are in the file now."""
        if self._depth == 0:
            self._follow()
        if model not in self._indexes:
            known = self.store.rows("SELECT dimension FROM model WHERE name = ?", (model,))
            if known and known[0][0] != dimension:
                raise SparsightError(
                    f"{self.path} holds vectors of {model} with {known[0][0]} numbers, not {dimension}: "
                    "give the other network another name."
                )
            if not self._indexes:
                self._seen = self.store.others(), self._newest_change()
            index = VectorIndex(dimension, EXACT)
            self._append(model, index)
            if self._depth:
                index.mark()
            self._indexes[model] = index
        return self._indexes[model]

    def _follow(self) -> None:
        """Take in what other connections have written."""
        if not self._indexes:
            return
        commits = self.store.others()
        if commits == self._seen[0]:
            return
        after = self._seen[1]
        made = self.store.rows("SELECT id, embedding, person FROM change WHERE id > ? ORDER BY id", (after,))
        ((oldest,),) = self.store.rows("SELECT min(id) FROM change")
        if oldest is not None and oldest > after + 1:
            for model, index in self._indexes.items():
                self._compare(model, index)
        else:
            latest = {embedding: person for _, embedding, person in made}
            gone = np.array([row for row, person in latest.items() if person is None], np.int64)
            moved = [(row, person) for row, person in latest.items() if person is not None]
            rows, people = np.array(moved, np.int64).reshape(-1, 2).T
            for index in self._indexes.values():
                index.drop(gone)
                index.move(rows, people)
        self._seen = commits, made[-1][0] if made else after
        for model, index in self._indexes.items():
            self._append(model, index)

    def _compare(self, model: str, index: VectorIndex) -> None:
        """Let go of what is no more, and follow what has changed hands, by what there is."""
        rows = self.store.rows(
            "SELECT embedding.id, person FROM embedding JOIN tracklet ON tracklet.id = tracklet "
            "JOIN model ON model.id = model WHERE model.name = ? ORDER BY embedding.id",
            (model,),
        )
        numbers, people = np.array(rows, np.int64).reshape(-1, 2).T
        index.match(numbers, people)

    def _newest_change(self) -> int:
        ((number,),) = self.store.rows("SELECT max(id) FROM change")
        return int(number or 0)

    def _append(self, model: str, index: VectorIndex) -> None:
        """Take in the vectors that were written since the last time."""
        rows = self.store.rows(
            f"SELECT embedding.id, person, quality, {self.store.vector} FROM embedding "
            "JOIN tracklet ON tracklet.id = tracklet JOIN model ON model.id = model "
            "WHERE model.name = ? AND embedding.id > ? ORDER BY embedding.id",
            (model, index.last),
        )
        if rows:
            numbers, person, quality, blobs = zip(*rows, strict=True)
            index.extend(
                np.array(numbers),
                np.array(person),
                self.unpacked(blobs, index.dimension),
                np.array(quality, np.float32),
            )

    def unpacked(self, blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
        """Vectors (N, ``dimension``) as they were read from the table ``embedding``.

        Raises:
            SparsightError: they have another length, or are not finite.
        """
        vectors = self.store.unpack(blobs, dimension)
        if vectors is None:
            raise SparsightError(f"the gallery {self.path} is damaged (vectors of the wrong length).")
        if not np.isfinite(vectors).all():
            raise SparsightError(f"the gallery {self.path} is damaged (vectors that are not finite).")
        return vectors

    def _thin(self, index: VectorIndex, person: int) -> None:
        """Keep a person's vectors at ``MAX_VECTORS``: of good crops that are different from one another."""
        # What is in memory says whether anything is to be done, however many sights the person has.
        numbers, vectors, quality = index.rows_of(person)
        if len(numbers) > MAX_VECTORS:
            kept = most_telling(vectors, quality, MAX_VECTORS)
            self._remove(index, [(number,) for number in np.delete(numbers, kept).tolist()])

    def _thin_crops(self, person: int, most: int) -> int:
        """Keep a person's best picture and the newest others, ``most`` in all. Returns how many went."""
        rows = self.store.rows(
            "SELECT tracklet, quality FROM crop JOIN tracklet ON tracklet.id = crop.tracklet "
            "WHERE person = ? ORDER BY last_seen, tracklet.id",
            (person,),
        )
        if len(rows) <= most:
            return 0
        best = max(rows, key=lambda row: row[1])
        gone = [row[:1] for row in rows if row is not best][: len(rows) - most] if most else rows
        self.store.many("DELETE FROM crop WHERE tracklet = ?", [row[:1] for row in gone])
        return len(gone)

    def _remove(self, index: VectorIndex, rows: list[tuple[int]]) -> None:
        """Delete vectors by their rows, each ``(number,)``, here and in the file."""
        if rows:
            self.store.many("DELETE FROM embedding WHERE id = ?", rows)
            self.store.many("INSERT INTO change (embedding, person) VALUES (?, NULL)", rows)
            self._note()
            index.drop(np.array(rows)[:, 0])

    def _gone(self, where: str, *values: object) -> None:
        """Note that vectors are about to be deleted, and let go of them here."""
        rows = self.store.rows(f"SELECT id FROM embedding WHERE {where}", values)
        if rows:
            self.store.rows(
                f"INSERT INTO change (embedding, person) SELECT id, NULL FROM embedding WHERE {where}", values
            )
            self._note()
            for index in self._indexes.values():
                index.drop(np.array(rows)[:, 0])

    def _note(self) -> None:
        """This transaction has removed vectors, or given them to somebody else."""
        self._changed = True

    def _shred(self, done: str) -> None:
        with self.store.translated():
            clean = self.store.shred()
        if not clean:
            raise SparsightError(
                f"{done}, but another process is reading {self.path} and bytes of what is gone may linger in "
                "its log: they go when that process ends."
            )

    # SQL

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self.store.translated():
            return self.store.rows(sql, values)

    def _model(self, name: str, dimension: int) -> int:
        self.store.rows(
            "INSERT INTO model (name, dimension) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
            (name, dimension),
        )
        ((number,),) = self.store.rows("SELECT id FROM model WHERE name = ?", (name,))
        return int(number)

    def _require(self, person: int) -> None:
        if not self.store.rows("SELECT 1 FROM person WHERE id = ?", (person,)):
            raise SparsightError(self._nobody(str(person)))

    def _nobody(self, who: str) -> str:
        return f"nobody in {self.path} is called {who!r}: sparsight identity list shows who is there."

    def _tracklets(self, where: str, *values: object) -> list[Tracklet]:
        rows = self._rows(
            "SELECT tracklet.id, person, camera.name, run, track, first_seen, last_seen, frames, distance, "
            f"matched, clock FROM tracklet JOIN camera ON camera.id = tracklet.camera {where} "
            "ORDER BY first_seen, tracklet.id",
            *values,
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
            "SELECT DISTINCT person, name FROM tracklet JOIN camera ON camera.id = tracklet.camera"
        ):
            cameras.setdefault(person, []).append(camera)
        return [
            Person(number, name, first, last, tuple(sorted(cameras.get(number, ()))), tracklets, int(frames))
            for number, name, first, last, tracklets, frames in rows
        ]


def on_server(path: str | Path) -> bool:
    """Whether a gallery's address is that of a PostgreSQL server, not a file."""
    return str(path).startswith(("postgresql://", "postgres://"))


def _store(path: str | Path, create: bool, timeout: float) -> Store:
    if on_server(path):
        from sparsight.track.gallery_postgres import PostgresStore

        return PostgresStore(str(path), timeout)
    if not create and not Path(path).exists():
        raise SparsightError(f"there is no gallery {path}: name the file with --gallery.")
    return SqliteStore(Path(path), timeout)
