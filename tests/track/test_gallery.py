from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.track import gallery_file
from sparsight.track.gallery import MAX_VECTORS, Gallery
from sparsight.track.gallery_file import APPLICATION_ID, MIGRATIONS

MODEL = "network-0123"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def gallery(path: Path) -> Iterator[Gallery]:
    with Gallery(path) as opened:
        yield opened


def unit(seed: int, count: int, dimension: int = 16) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sight(
    gallery: Gallery, person: int, vectors: NDArray[np.float32], camera: str = "door", at: float = 100.0
) -> int:
    tracklet = gallery.add_tracklet(
        person, camera=camera, run="run", track=1, first_seen=at, last_seen=at + 5, frames=50
    )
    quality = np.linspace(0.5, 1, len(vectors), dtype=np.float32)
    gallery.set_embeddings(tracklet, MODEL, vectors, quality, np.full(len(vectors), at))
    gallery.set_crop(tracklet, b"\xff\xd8picture %d" % tracklet, 0.5 + tracklet / 100)
    return tracklet


def raw(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


# What is stored


def test_people_and_sights_come_back_as_they_went_in(gallery: Gallery, path: Path) -> None:
    anna = gallery.add_person(90.0, "Anna")
    other = gallery.add_person(95.0)
    first = sight(gallery, anna, unit(0, 4), "door", 100)
    second = sight(gallery, anna, unit(1, 4), "attic", 300)
    gallery.saw([(second, 400.0, 70), (10**6, 1.0, 1)])
    for reader in (gallery, Gallery(path)):
        people = reader.people()
        assert [person.id for person in people] == [anna, other]
        assert people[0] == reader.person(anna) == reader.find("anna") == reader.find(str(anna))
        assert people[0].cameras == ("attic", "door")
        assert (people[0].first_seen, people[0].last_seen) == (100.0, 400.0)
        assert (people[0].tracklets, people[0].frames, people[0].label) == (2, 120, "Anna")
        assert (people[1].first_seen, people[1].tracklets, people[1].label) == (95.0, 0, f"person {other}")
        assert [one.id for one in reader.tracklets(anna)] == [first, second]
        assert [one.id for one in reader.tracklets_of("run")] == [first, second]
        assert reader.thumbnail(anna) == reader.crop(second) == b"\xff\xd8picture %d" % second
        assert reader.thumbnail(other) is None
        reader.close()


def test_distances_are_the_mean_of_the_three_nearest(gallery: Gallery) -> None:
    known = {}
    for seed, count in ((1, 2), (2, 3), (3, 9), (4, 1)):
        person = gallery.add_person(0)
        known[person] = unit(seed, count)
        for part in np.array_split(known[person], min(count, 2)):
            sight(gallery, person, part)
    queries = unit(9, 5)
    persons, distance = gallery.distances(MODEL, queries)
    assert persons.tolist() == sorted(known)
    for row, query in enumerate(queries):
        for column, person in enumerate(persons.tolist()):
            every = sorted(1 - float(query @ vector) for vector in known[person])
            assert distance[row, column] == pytest.approx(np.mean(every[:3]), abs=2e-3)


def test_nobody_is_known_by_another_network(gallery: Gallery) -> None:
    sight(gallery, gallery.add_person(0), unit(0, 4))
    persons, distance = gallery.distances("network-4567", unit(1, 2, 8))
    assert len(persons) == 0
    assert distance.shape == (2, 0)
    with pytest.raises(SparsightError, match="16 numbers, not 8"):
        Gallery(gallery.path).distances(MODEL, unit(1, 2, 8))


def test_the_sight_that_looked_most_alike(gallery: Gallery) -> None:
    person = gallery.add_person(0)
    vectors = unit(0, 8)
    first, second = sight(gallery, person, vectors[:4]), sight(gallery, person, vectors[4:])
    assert gallery.most_alike(MODEL, vectors[1], person) == first
    assert gallery.most_alike(MODEL, vectors[6], person) == second
    assert gallery.most_alike(MODEL, vectors[6], person + 1) is None


def test_setting_embeddings_again_replaces_them(gallery: Gallery, path: Path) -> None:
    person = gallery.add_person(0)
    tracklet = sight(gallery, person, unit(0, 4))
    later = unit(5, 3)
    gallery.set_embeddings(tracklet, MODEL, later, np.ones(3, np.float32), np.zeros(3))
    for reader in (gallery, Gallery(path)):
        _, distance = reader.distances(MODEL, later)
        expected = [np.mean([1 - float(a @ b) for b in later]) for a in later]
        np.testing.assert_allclose(distance[:, 0], expected, atol=2e-3)


def test_a_person_keeps_a_bounded_number_of_different_vectors(gallery: Gallery, path: Path) -> None:
    person = gallery.add_person(0)
    rare = unit(0, 3, 64)
    common = unit(1, 1, 64) + unit(2, 4 * MAX_VECTORS, 64) / 100
    common /= np.linalg.norm(common, axis=1, keepdims=True)
    sight(gallery, person, rare)
    for part in np.split(common, 32):
        sight(gallery, person, part)
    with contextlib.closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT count(*) FROM embedding").fetchone() == (MAX_VECTORS,)
    for reader_ in (gallery, Gallery(path)):
        # All that is different is still there.
        _, distance = reader_.distances(MODEL, rare)
        expected = [np.mean(sorted(1 - float(a @ b) for b in rare)) for a in rare]
        assert (distance[:, 0] <= np.array(expected) + 2e-3).all()
        _, own = reader_.distances(MODEL, common[:1])
        assert own[0, 0] < 0.01


def test_a_block_that_raises_leaves_nothing(gallery: Gallery) -> None:
    sight(gallery, gallery.add_person(0), unit(0, 4))
    with pytest.raises(RuntimeError), gallery.transaction():
        person = gallery.add_person(0)
        sight(gallery, person, unit(1, 4))
        assert len(gallery.distances(MODEL, unit(1, 1))[0]) == 2
        raise RuntimeError
    assert len(gallery.people()) == 1
    assert len(gallery.distances(MODEL, unit(1, 1))[0]) == 1


def test_a_sight_taken_back_is_gone(gallery: Gallery) -> None:
    person = gallery.add_person(0)
    tracklet = sight(gallery, person, unit(0, 4))
    gallery.remove_tracklet(tracklet)
    gallery.remove_tracklet(tracklet)
    assert gallery.tracklets(person) == []
    assert len(gallery.distances(MODEL, unit(0, 1))[0]) == 0


# Names


def test_names_are_unique_whatever_their_case(gallery: Gallery) -> None:
    anna, bert = gallery.add_person(0), gallery.add_person(0)
    gallery.rename(anna, " Anna ")
    assert gallery.find("ANNA").id == anna
    with pytest.raises(SparsightError, match=f"person {anna} is called Anna already"):
        gallery.rename(bert, "anna")
    gallery.rename(anna, None)
    gallery.rename(bert, "anna")
    assert gallery.find("anna").id == bert


@pytest.mark.parametrize("name", ["", "  ", "12", "two\nlines", "\x1b[31m"])
def test_what_is_no_name(gallery: Gallery, name: str) -> None:
    with pytest.raises(SparsightError, match="is no name"):
        gallery.rename(gallery.add_person(0), name)


@pytest.mark.parametrize("who", ["nobody", "7", "-1", "9" * 30, "²"])
def test_who_is_not_there(gallery: Gallery, who: str) -> None:
    with pytest.raises(SparsightError, match="nobody in"):
        gallery.find(who)
    with pytest.raises(SparsightError, match="nobody in"):
        gallery.rename(7, "Anna")
    with pytest.raises(SparsightError, match="nobody in"):
        sight(gallery, 7, unit(0, 1))


# Forgetting


def test_forgetting_leaves_no_byte_of_a_person(gallery: Gallery, path: Path) -> None:
    anna, bert = gallery.add_person(0, "Anna Unforgettable"), gallery.add_person(0, "Bert")
    vectors, others = unit(0, 40, 512), unit(1, 4, 512)
    picture = os.urandom(5000)
    for part in np.split(vectors, 5):
        gallery.set_crop(sight(gallery, anna, part), picture, 1)
    sight(gallery, bert, others)
    blobs = [vector.astype("<f2").tobytes() for vector in vectors]
    before = raw(path)
    assert all(blob in before for blob in blobs)
    assert picture[2000:2050] in before
    gallery.forget(anna)
    after = raw(path)
    assert not any(blob[at : at + 64] in after for blob in blobs for at in range(0, 1024 - 64, 64))
    assert not any(picture[at : at + 50] in after for at in range(0, 4950, 50))
    assert b"Unforgettable" not in after
    assert others[0].astype("<f2").tobytes() in after
    assert [person.name for person in gallery.people()] == ["Bert"]
    assert gallery.distances(MODEL, vectors[:1])[0].tolist() == [bert]
    with pytest.raises(SparsightError, match="nobody in"):
        gallery.forget(anna)


def test_the_number_of_somebody_forgotten_is_not_given_again(gallery: Gallery, path: Path) -> None:
    gone = [gallery.add_person(0) for _ in range(3)]
    for person in gone:
        gallery.forget(person)
    with Gallery(path) as again:
        assert again.add_person(0) > max(gone)


def test_what_another_process_writes_and_forgets_is_seen(gallery: Gallery, path: Path) -> None:
    vectors = unit(0, 12)
    with Gallery(path) as other:
        anna, bert = gallery.add_person(0), gallery.add_person(0)
        followed = sight(gallery, anna, vectors[:4])
        assert other.distances(MODEL, vectors[:1])[0].tolist() == [anna]
        sight(gallery, bert, vectors[4:8])
        assert other.distances(MODEL, vectors[:1])[0].tolist() == [anna, bert]
        gallery.forget(anna)
        assert other.distances(MODEL, vectors[:1])[0].tolist() == [bert]
        # Somebody is still being followed there who was forgotten here.
        other.saw([(followed, 1.0, 1)])
        other.set_embeddings(followed, MODEL, vectors[:4], np.ones(4, np.float32), np.zeros(4))
        other.set_crop(followed, b"picture", 1)
        assert other.crop(followed) is None
        assert gallery.distances(MODEL, vectors[:1])[0].tolist() == [bert]


# The file


def test_only_the_owner_can_read_it(gallery: Gallery, path: Path) -> None:
    gallery.add_person(0)
    files = list(path.parent.iterdir())
    assert {file.name for file in files} == {path.name, path.name + "-wal", path.name + "-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    gallery.close()
    path.chmod(0o644)
    with Gallery(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_settings(gallery: Gallery, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as reader:
        assert reader.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert reader.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_older_gallery_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Gallery(path) as old:
        person = old.add_person(0, "Anna")
    more = (*MIGRATIONS, ("ALTER TABLE person ADD COLUMN shoe_size REAL", "UPDATE person SET shoe_size = 38"))
    monkeypatch.setattr(gallery_file, "MIGRATIONS", more)
    for _ in range(2):
        with Gallery(path) as new:
            assert new.person(person).name == "Anna"
    with contextlib.closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT shoe_size FROM person").fetchall() == [(38,)]


def a_foreign_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT)")
        writer.execute("INSERT INTO person VALUES (1, 'Anna')")
        writer.commit()


def a_foreign_database_with_a_log(path: Path) -> None:
    """As a program leaves it that was killed."""
    source = path.with_name("source")
    with contextlib.closing(sqlite3.connect(source)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT)")
        writer.commit()
        path.write_bytes(source.read_bytes())
        path.with_name(path.name + "-wal").write_bytes(source.with_name("source-wal").read_bytes())
    source.unlink()


def a_full_gallery(path: Path) -> bytes:
    with Gallery(path) as gallery:
        for seed in range(20):
            sight(gallery, gallery.add_person(0), unit(seed, 8, 512))
    return path.read_bytes()


def a_truncated_gallery(path: Path) -> None:
    path.write_bytes(a_full_gallery(path)[:-5000])


def a_gallery_with_a_torn_page(path: Path) -> None:
    data = bytearray(a_full_gallery(path))
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    path.write_bytes(data)


def a_gallery_of_a_later_version(path: Path) -> None:
    Gallery(path).close()
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def a_corrupt_header(path: Path) -> None:
    path.write_bytes(b"\0" * 30 + a_full_gallery(path)[30:])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("shopping list\n" * 50), "no SQLite database"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "no SQLite database"),
        (lambda path: path.write_bytes(os.urandom(10_000)), "no SQLite database"),
        (lambda path: path.mkdir(), "a folder"),
        (a_foreign_database, "another program"),
        (a_foreign_database_with_a_log, "another program"),
        (a_truncated_gallery, "damaged"),
        (a_gallery_with_a_torn_page, "damaged"),
        (a_corrupt_header, "no SQLite database"),
        (a_gallery_of_a_later_version, "later version"),
    ],
)
def test_what_is_no_gallery_is_left_as_it_is(path: Path, make, says: str) -> None:  # type: ignore[no-untyped-def]
    make(path)

    def state() -> dict[str, bytes]:
        return {
            file.name: file.read_bytes()
            for file in path.parent.iterdir()
            if file.is_file() and (not file.name.endswith(("-shm", "-wal")) or file.stat().st_size)
        }

    before = state()
    with pytest.raises(SparsightError, match=says) as caught:
        Gallery(path)
    assert "\n" not in str(caught.value)
    assert {name: data for name, data in state().items() if not name.endswith("-shm")} == before


def test_there_is_no_folder_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="there is no folder"):
        Gallery(tmp_path / "missing" / "gallery.sqlite")
    with pytest.raises(SparsightError, match="there is no gallery"):
        Gallery(tmp_path / "gallery.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []


def test_vectors_of_the_wrong_length_or_not_finite(path: Path) -> None:
    for blob in (b"\0" * 30, np.full(16, np.nan, "<f2").tobytes()):
        with Gallery(path) as gallery:
            sight(gallery, gallery.add_person(0), unit(0, 4))
        with contextlib.closing(sqlite3.connect(path)) as writer:
            writer.execute(
                "UPDATE embedding SET vector = ? WHERE id = (SELECT max(id) FROM embedding)", (blob,)
            )
            writer.commit()
        with Gallery(path) as gallery, pytest.raises(SparsightError, match="damaged"):
            gallery.distances(MODEL, unit(0, 1))
        path.unlink()


def test_a_lock_held_too_long_is_said(gallery: Gallery, path: Path) -> None:
    with gallery.transaction():
        with Gallery(path, timeout=0.05) as other:
            assert other.people() == []
            with pytest.raises(SparsightError, match="another process"):
                other.add_person(0)
        gallery.add_person(0)
    assert len(gallery.people()) == 1


def test_a_full_disk_is_said_and_loses_nothing(gallery: Gallery) -> None:
    person = gallery.add_person(0)
    sight(gallery, person, unit(0, 4))
    pages = gallery.store.rows("PRAGMA page_count")[0][0]
    gallery.store.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SparsightError, match="full"):
        gallery.set_crop(sight(gallery, person, unit(1, 4)), bytes(50_000), 1)
    assert gallery.store.rows("PRAGMA integrity_check") == [("ok",)]
    assert len(gallery.tracklets(person)) >= 1


def test_the_thumbnail_is_of_whoever_most_of_it_is_of(gallery: Gallery) -> None:
    """The best picture of a sight that was taken for this person by mistake is not their thumbnail."""
    person = gallery.add_person(0)
    looks, others = np.eye(16, dtype=np.float32)[:2]
    first = sight(gallery, person, np.tile(looks, (6, 1)))
    mistaken = sight(gallery, person, np.tile(others, (2, 1)), at=200.0)
    again = sight(gallery, person, np.tile(looks, (3, 1)), at=300.0)
    gallery.set_crop(first, b"\xff\xd8first", 0.6)
    gallery.set_crop(mistaken, b"\xff\xd8mistaken", 0.9)
    gallery.set_crop(again, b"\xff\xd8again", 0.7)
    assert gallery.thumbnail(person) == b"\xff\xd8again"


# Several processes


def write_some(path: Path, count: int, seed: int) -> None:
    with Gallery(path, timeout=60) as gallery:
        for _ in range(count):
            with gallery.transaction():
                sight(gallery, gallery.add_person(0), unit(seed, 4))


def test_several_processes_make_and_write_one_gallery(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_some, args=(path, 20, seed)) for seed in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    with Gallery(path) as gallery:
        assert len(gallery.people()) == 60
        assert len(gallery.distances(MODEL, unit(0, 1))[0]) == 60
    assert [file.name for file in path.parent.iterdir()] == [path.name]


KILLS = 20


def write_for_ever(path: Path) -> None:
    vectors = unit(0, 8, 512)
    with Gallery(path, timeout=60) as gallery:
        while True:
            with gallery.transaction():
                person = gallery.add_person(0)
                tracklet = gallery.add_tracklet(
                    person, camera="c", run="r", track=1, first_seen=0, last_seen=0, frames=1
                )
                gallery.set_embeddings(tracklet, "m", vectors, np.ones(8, np.float32), np.zeros(8))
                gallery.set_crop(tracklet, bytes(3000), 1)
            gallery.saw([(tracklet, 1.0, 2)])
            if person % 10 == 0:
                gallery.forget(person)


def progress_since(path: Path, people: int) -> bool:
    """Whether the gallery holds more than ``people``."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)) as reader:
        return bool(reader.execute("SELECT count(*) FROM person").fetchone()[0] > people)


def test_killing_a_writer_at_any_moment_leaves_whole_transactions(path: Path) -> None:
    """One writer after the other; each is killed at a random moment after its first transaction."""
    moments = random.Random(7)
    people = 0
    for _ in range(KILLS):
        writer = os.fork()
        if writer == 0:
            with contextlib.suppress(BaseException):
                write_for_ever(path)
            os._exit(1)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not progress_since(path, people):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.1))
        os.kill(writer, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGKILL
        with Gallery(path) as gallery:
            assert gallery.store.rows("PRAGMA integrity_check") == [("ok",)]
            assert gallery.store.rows("PRAGMA foreign_key_check") == []
            now = gallery.people()
            people = len(now)
            assert all(person.tracklets == 1 for person in now)
            assert gallery.store.rows("SELECT count(*) FROM embedding") == [(8 * people,)]
            assert gallery.store.rows("SELECT count(*) FROM crop") == [(people,)]
            assert len(gallery.distances("m", unit(0, 1, 512))[0]) == people
    assert people > KILLS


def test_killing_whoever_makes_it_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    moments = random.Random(3)
    maker = "import sys; from sparsight.track.gallery import Gallery; print('go', flush=True)\n"
    maker += "for n in range(10**6): Gallery(f'{sys.argv[1]}/{n}').close()"
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        made = subprocess.Popen([sys.executable, "-c", maker, str(folder)], stdout=subprocess.PIPE)
        assert made.stdout is not None
        made.stdout.readline()
        time.sleep(moments.uniform(0.05, 0.3))
        made.kill()
        made.wait()
        made.stdout.close()
        for file in folder.glob("[0-9]*"):
            if file.suffix == "" and "-" not in file.name:
                Gallery(file).close()
