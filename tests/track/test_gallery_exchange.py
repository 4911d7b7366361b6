from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.track.gallery import Gallery
from sparsight.track.gallery_exchange import export_people, import_people

MODELS = "network-0123", "other-4567"


def unit(seed: int, count: int, dimension: int = 16) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(gallery: Gallery) -> list[int]:
    people = [gallery.add_person(10.0 * n, name) for n, name in enumerate(("Anna", None, "Çelik ☂"))]
    before = None
    for person in people[:2]:
        for turn in range(3):
            at = 100.0 * person + 10 * turn
            before = gallery.add_tracklet(
                person,
                camera=("door", "attic")[turn % 2],
                run="r",
                track=turn,
                first_seen=at,
                last_seen=at + 5.25,
                frames=7,
                distance=None if turn == 0 else 0.125,
                matched=before,
                clock="wall",
            )
            for number, model in enumerate(MODELS):
                vectors = unit(10 * before + number, 3, 16 + number)
                gallery.set_embeddings(before, model, vectors, np.full(3, 0.5, np.float32), np.full(3, at))
            gallery.set_crop(before, b"\xff\xd8picture %d" % before, 0.75)
    return people


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "full.sqlite") as gallery:
        fill(gallery)
        yield gallery


@pytest.fixture
def exported(full: Gallery, tmp_path: Path) -> Path:
    file = tmp_path / "people.zip"
    assert export_people(full, file) == 3
    return file


def everything(gallery: Gallery) -> list[Any]:
    """All that is told about people, without the numbers that are a gallery's own."""
    told = []
    for person in gallery.people():
        sights = gallery.tracklets(person.id)
        told.append(
            (
                person.name,
                person.first_seen,
                person.cameras,
                [(s.run, s.track, s.first_seen, s.last_seen, s.frames, s.distance, s.clock) for s in sights],
                [gallery.crop(s.id) for s in sights],
                [s.matched is None or gallery.crop(s.matched) for s in sights],
            )
        )
    return told


def test_people_come_over_whole_under_new_numbers(full: Gallery, exported: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    with Gallery(tmp_path / "new.sqlite") as new:
        new.forget(new.add_person(0))
        numbers = import_people(new, exported)
        assert numbers == {1: 2, 2: 3, 3: 4}
        assert everything(new) == everything(full)
        for number, model in enumerate(MODELS):
            queries = unit(77, 4, 16 + number)
            persons, distance = new.distances(model, queries)
            assert persons.tolist() == [2, 3]
            np.testing.assert_array_equal(distance, full.distances(model, queries)[1])


def test_names_that_are_taken_get_a_number(exported: Path, full: Gallery) -> None:
    import_people(full, exported)
    import_people(full, exported)
    assert [one.name for one in full.people() if one.name and one.name.startswith("Anna")] == [
        "Anna",
        "Anna (2)",
        "Anna (3)",
    ]


def test_some_people_only(full: Gallery, tmp_path: Path) -> None:
    export_people(full, tmp_path / "two.zip", [2, 3])
    with Gallery(tmp_path / "new.sqlite") as new:
        assert import_people(new, tmp_path / "two.zip") == {2: 1, 3: 2}
        assert new.distances(MODELS[0], unit(0, 1))[0].tolist() == [1]
        # The sight that it matched was another person's, and stayed behind.
        assert new.tracklets(1)[0].matched is None
    with pytest.raises(SparsightError, match="nobody"):
        export_people(full, tmp_path / "none.zip", [9])
    assert not (tmp_path / "none.zip").exists()


def test_an_empty_gallery(tmp_path: Path) -> None:
    with Gallery(tmp_path / "empty.sqlite") as empty:
        assert export_people(empty, tmp_path / "empty.zip") == 0
        assert import_people(empty, tmp_path / "empty.zip") == {}


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def changed(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda book: book.update(more)


def sight_of(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda book: book["sights"][1].update({key: value})


def model_of(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda book: book["models"][0].update({key: value})


@pytest.mark.parametrize(
    "spoil",
    [
        {"gallery.json": None},
        {"gallery.json": b"{"},
        {"gallery.json": b"[" * 100_000},
        {"gallery.json": b"[]"},
        {"vectors/0.npy": None},
        {"vectors/0.npy": npy(np.array([{}] * 18), allow_pickle=True)},
        {"vectors/0.npy": npy(np.zeros((18, 15), "<f2"))},
        {"vectors/0.npy": npy(np.zeros((18, 16), "<f2"))},
        {"vectors/0.npy": npy(np.full((18, 16), np.nan, "<f2"))},
        {"vectors/0.npy": npy(np.zeros((18, 16), "<f8"))},
        {"vectors/0.npy": npy(np.zeros((18, 16), "<f2"))[:100]},
        {"vectors/0.npy": b"\0" * 1_000_000},
        {"crops/2.jpg": None},
        {"crops/2.jpg": b"#!/bin/sh"},
        {"crops/2.jpg": b"\xff\xd8" + b"\0" * (5 << 20)},
        changed(format=2),
        changed(people=7),
        changed(people=[{"id": 1, "name": "Eve", "created": float("nan")}]),
        changed(people=[{"id": 1, "name": ["Eve"], "created": 1}]),
        changed(people=[{"id": True, "name": "Eve", "created": 1}]),
        changed(sights="many"),
        changed(crops=[]),
        changed(crops={"7000": 1}),
        changed(crops={"../../etc/passwd": 1}),
        sight_of("person", 99),
        sight_of("camera", None),
        sight_of("matched", 99),
        sight_of("frames", 1.5),
        sight_of("last_seen", 10**400),
        sight_of("last_seen", float("inf")),
        model_of("sight", [0] * 17),
        model_of("sight", [99] * 18),
        model_of("dimension", 10**9),
        model_of("time", ["now"] * 18),
    ],
)
def test_what_is_no_export_changes_nothing(exported: Path, tmp_path: Path, spoil: Any) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(exported) as good, zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as worse:
        members = {name: good.read(name) for name in good.namelist()}
        if callable(spoil):
            book = json.loads(members["gallery.json"])
            spoil(book)
            members["gallery.json"] = json.dumps(book).encode()
        else:
            members |= spoil
        for name, data in members.items():
            if data is not None:
                worse.writestr(name, data)
    with Gallery(tmp_path / "new.sqlite") as new:
        with pytest.raises(SparsightError) as caught:
            import_people(new, bad)
        assert "\n" not in str(caught.value) and "bad.zip" in str(caught.value)
        assert new.people() == []


@pytest.mark.parametrize("data", [b"", b"shopping list", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.zip").write_bytes(data)
    with Gallery(tmp_path / "new.sqlite") as new, pytest.raises(SparsightError, match="is no gallery export"):
        import_people(new, tmp_path / "bad.zip")
