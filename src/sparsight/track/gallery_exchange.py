"""A gallery, or some people of it, as one plain file: to carry to another machine, or to keep.

The file is a ZIP of ``gallery.json`` (people, sights, names of networks), ``vectors/N.npy`` (the vectors of
the Nth network, half precision, their sights and qualities in the JSON) and ``crops/N.jpg`` (the picture of
sight N). Nothing in it is executed, and every size is checked before it is read.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.track.gallery import Gallery
from sparsight.track.gallery_store import HALF

FORMAT = 1
_MOST_JSON = 256 << 20
_MOST_VECTORS = 8 << 30
_MOST_CROP = 4 << 20
_MOST_NUMBER = 2**62


def export_people(gallery: Gallery, path: Path, people: Sequence[int] | None = None) -> int:
    """Write ``people`` (numbers; by default everyone) with all that is known of them to ``path``, mode 0600.

    Corrections stay behind: they tell how results written beside this gallery are to be read.

    Returns:
        How many people were written.

    Raises:
        SparsightError: there is no such person.
        OSError: the file cannot be written.
    """
    with gallery.transaction():  # nobody changes anything between one table and the next
        chosen = gallery.people() if people is None else [gallery.person(one) for one in people]
        sights = [sight for one in chosen for sight in gallery.tracklets(one.id)]
        rows = {sight.id: number for number, sight in enumerate(sights)}
        with replacing(path, mode=0o600) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            models = []
            every = gallery.store.rows("SELECT id, name, dimension FROM model ORDER BY id")
            for number, (model, name, dimension) in enumerate(every):
                found = [
                    row
                    for row in gallery.store.rows(
                        f"SELECT tracklet, quality, time, {gallery.store.vector} FROM embedding "
                        "WHERE model = ? ORDER BY embedding.id",
                        (model,),
                    )
                    if row[0] in rows
                ]
                buffer = io.BytesIO()
                vectors = gallery.unpacked([row[3] for row in found], dimension)
                np.save(buffer, vectors.astype(HALF), allow_pickle=False)
                archive.writestr(f"vectors/{number}.npy", buffer.getvalue())
                models.append(
                    {
                        "name": name,
                        "dimension": dimension,
                        "sight": [rows[row[0]] for row in found],
                        "quality": [row[1] for row in found],
                        "time": [row[2] for row in found],
                    }
                )
            pictures = {}
            for sight in sights:
                found = gallery.store.rows("SELECT jpeg, quality FROM crop WHERE tracklet = ?", (sight.id,))
                for jpeg, quality in found:
                    archive.writestr(f"crops/{rows[sight.id]}.jpg", bytes(jpeg))
                    pictures[str(rows[sight.id])] = quality
            book = {
                "format": FORMAT,
                "people": [{"id": one.id, "name": one.name, "created": one.first_seen} for one in chosen],
                "sights": [
                    {
                        "person": sight.person,
                        "camera": sight.camera,
                        "run": sight.run,
                        "track": sight.track,
                        "first_seen": sight.first_seen,
                        "last_seen": sight.last_seen,
                        "frames": sight.frames,
                        "distance": sight.distance,
                        "matched": rows.get(sight.matched) if sight.matched is not None else None,
                        "clock": sight.clock,
                    }
                    for sight in sights
                ],
                "models": models,
                "crops": pictures,
            }
            archive.writestr("gallery.json", json.dumps(book), zipfile.ZIP_DEFLATED)
    return len(chosen)


def import_people(gallery: Gallery, path: Path) -> dict[int, int]:
    """Take everyone in a file of :func:`export_people` into ``gallery``, all or nobody, as new people.

    Names that somebody here has already get a number behind them. Whoever is in both galleries is two people
    afterwards: merge them.

    Returns:
        Number in the file → number here.

    Raises:
        SparsightError: the file is missing, no such export, or damaged; the gallery is left as it was.
    """
    try:
        with zipfile.ZipFile(path) as archive, gallery.transaction():
            return _take_in(gallery, _Reader(archive, path))
    except zipfile.BadZipFile as error:
        raise _bad(path, str(error)) from error
    except (OSError, NotImplementedError, RuntimeError) as error:  # packed or locked in a way not known here
        raise SparsightError(
            f"{path} cannot be read ({error}): name a file made by identity export."
        ) from error


def _take_in(gallery: Gallery, file: _Reader) -> dict[int, int]:
    book = file.json("gallery.json")
    if book.get("format") != FORMAT:
        raise file.bad(f"its format is {book.get('format')!r}, not {FORMAT}")
    taken = {(one.name or "").lower() for one in gallery.people()}
    numbers: dict[int, int] = {}
    for one in file.list(book, "people"):
        old, name = file.whole(one, "id"), one.get("name")
        if old in numbers or not (name is None or isinstance(name, str)):
            raise file.bad("two people have one number, or a name is no text")
        new = name
        for count in range(2, 2 + len(taken)):
            if new is None or new.strip().lower() not in taken:
                break
            new = f"{name} ({count})"
        numbers[old] = gallery.add_person(file.number(one, "created"), new)
        taken.add((new or "").strip().lower())
    sights: list[int] = []
    matches: list[tuple[int, int]] = []
    for one in file.list(book, "sights"):
        person, matched = file.whole(one, "person"), one.get("matched")
        if person not in numbers:
            raise file.bad(f"a sight is of person {person}, who is not in it")
        distance = None if one.get("distance") is None else file.number(one, "distance")
        if matched is not None:
            matches.append((len(sights), file.whole(one, "matched")))
        sights.append(
            gallery.add_tracklet(
                numbers[person],
                camera=file.text(one, "camera"),
                run=file.text(one, "run"),
                track=file.whole(one, "track"),
                first_seen=file.number(one, "first_seen"),
                last_seen=file.number(one, "last_seen"),
                frames=file.whole(one, "frames"),
                distance=distance,
                clock=file.text(one, "clock"),
            )
        )
    if any(not 0 <= other < len(sights) for _, other in matches):
        raise file.bad("a sight matched one that is not in it")
    gallery.store.many(
        "UPDATE tracklet SET matched = ? WHERE id = ?", [(sights[b], sights[a]) for a, b in matches]
    )
    for number, model in enumerate(file.list(book, "models")):
        _take_vectors(gallery, file, model, number, sights)
    crops = book.get("crops")
    if not isinstance(crops, dict):
        raise file.bad("it has no list of pictures")
    for key in crops:
        if not (key.isascii() and key.isdecimal() and int(key[:9]) < len(sights)):
            raise file.bad(f"a picture is of sight {key!r}, which is not in it")
        jpeg = file.bytes(f"crops/{int(key)}.jpg", _MOST_CROP)
        if not jpeg.startswith(b"\xff\xd8"):
            raise file.bad(f"crops/{int(key)}.jpg is no JPEG picture")
        gallery.set_crop(sights[int(key)], jpeg, file.number(crops, key))
    return numbers


def _take_vectors(gallery: Gallery, file: _Reader, model: Any, number: int, sights: Sequence[int]) -> None:
    name, dimension = file.text(model, "name"), file.whole(model, "dimension")
    if not 0 < dimension <= 1 << 16:
        raise file.bad(f"the vectors of {name} have {dimension} numbers")
    owner = file.column(model, "sight").astype(np.int64)
    quality, time = file.column(model, "quality"), file.column(model, "time")
    if not len(owner) == len(quality) == len(time) or ((owner < 0) | (owner >= len(sights))).any():
        raise file.bad(f"the vectors of {name} do not belong to its sights")
    vectors = file.array(f"vectors/{number}.npy", len(owner), dimension).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.abs(length - 1) < 0.01).all():  # NaN and infinity, too, are not near to one
        raise file.bad(f"vectors of {name} do not have the length one")
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else []:
        gallery.set_embeddings(
            sights[int(owner[rows[0]])], name, vectors[rows], quality[rows].astype(np.float32), time[rows]
        )


class _Reader:
    """The members of an export, each checked for its size and its kind."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path

    def bad(self, what: str) -> SparsightError:
        return _bad(self._path, what)

    def bytes(self, name: str, most: int) -> bytes:
        try:
            info = self._archive.getinfo(name)
        except KeyError:
            raise self.bad(f"{name} is missing") from None
        if info.file_size > most:
            raise self.bad(f"{name} has {info.file_size} bytes, more than {most}")
        with self._archive.open(info) as stream:
            data = stream.read(most + 1)  # a header may lie about the size
        if len(data) != info.file_size:
            raise self.bad(f"{name} is not as long as it says")
        return data

    def json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self.bytes(name, _MOST_JSON))
        except (ValueError, RecursionError) as error:
            raise self.bad(f"{name} is no JSON") from error
        if not isinstance(value, dict):
            raise self.bad(f"{name} is no table")
        return value

    def array(self, name: str, rows: int, columns: int) -> NDArray[np.float16]:
        data = self.bytes(name, min(_MOST_VECTORS, rows * columns * HALF.itemsize + 4096))
        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise self.bad(f"{name} is no array") from error
        if not isinstance(array, np.ndarray) or array.dtype != HALF or array.shape != (rows, columns):
            raise self.bad(f"{name} is not {rows} × {columns} numbers of half precision")
        return array

    def list(self, table: dict[str, Any], key: str) -> list[dict[str, Any]]:
        value = table.get(key)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.bad(f"its {key} are no list of tables")
        return value

    def column(self, table: dict[str, Any], key: str) -> NDArray[np.float64]:
        value = table.get(key)
        if not isinstance(value, list) or not all(type(one) in (int, float) for one in value):
            raise self.bad(f"{key} is no list of numbers")
        return np.array([self.number({key: one}, key) for one in value], np.float64)

    def number(self, table: dict[str, Any], key: str) -> float:
        value: Any = table.get(key)
        if type(value) not in (int, float) or not abs(value) < _MOST_NUMBER or not math.isfinite(value):
            raise self.bad(f"{key} is {value!r}, not a number")
        return float(value)

    def whole(self, table: dict[str, Any], key: str) -> int:
        value = table.get(key)
        if type(value) is not int or not abs(value) < _MOST_NUMBER:
            raise self.bad(f"{key} is {value!r}, not a whole number")
        return value

    def text(self, table: dict[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str):
            raise self.bad(f"{key} is {value!r}, not a text")
        return value


def _bad(path: Path, what: str) -> SparsightError:
    return SparsightError(f"{path} is no gallery export ({what}): name a file made by identity export.")
