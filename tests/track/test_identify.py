from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.track import Gallery, Identifier, Tracks
from sparsight.track.evidence import CROPS, Evidence, crop_quality
from sparsight.track.identify import KNOWN_AGAIN, NEW, UNKNOWN, assign_people

FPS = 10
LOOKS = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0].astype(np.float32)


class ByColour:
    """Everybody wears one shade of red; what they look like follows from it, with a little noise."""

    name = "by-colour"
    dimension = 64
    max_distance = 0.4

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked.append(len(xyxy))
        centre = ((xyxy[:, :2] + xyxy[:, 2:]) / 2).astype(int)
        noise = np.stack([np.random.default_rng(np.abs(box).astype(int)).normal(size=64) for box in xyxy])
        vectors = LOOKS[image[centre[:, 1], centre[:, 0], 0] // 4] + 0.05 * noise
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Scene:
    """One camera before which people stand on places, 60 pixels apart."""

    def __init__(
        self, gallery: Gallery, camera: str = "door", start: float = 1000.0, **options: object
    ) -> None:
        self.embedder = ByColour()
        self.identifier = Identifier(gallery, self.embedder, camera, **options)  # type: ignore[arg-type]
        self.now = start
        self.step = 0
        self.seen: dict[int, list[int]] = {}

    def show(self, frames: int, *people: tuple[int, int, int]) -> dict[int, int]:
        """Let each (track, looks, place) be seen for some frames. Returns track → person at the end."""
        who: dict[int, int] = {}
        for _ in range(frames):
            image = np.zeros((200, 800, 3), np.uint8)
            box = np.zeros((len(people), 4), np.float32)
            for row, (_, looks, place) in enumerate(people):
                left = 10 + 60 * place + self.step % 5
                box[row] = left, 20, left + 40, 170
                image[20:170, left : left + 40, 0] = 4 * looks
            ids = np.array([track for track, _, _ in people], np.int64)
            tracks = Tracks(box, ids, np.ones(len(people), np.float32))
            found = self.identifier.update(image, tracks, self.now)
            assert len(found) == len(people)
            known = found.person[found.person != UNKNOWN]
            assert len(np.unique(known)) == len(known), "two people in one frame have one identity"
            who = dict(zip(ids.tolist(), found.person.tolist(), strict=True))
            for track, person in who.items():
                self.seen.setdefault(track, []).append(person)
            self.now += 1 / FPS
            self.step += 1
        return who

    def wait(self, seconds: float) -> None:
        self.show(round(seconds * FPS))


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite") as opened:
        yield opened


def test_somebody_new_gets_a_number_once_seen_long_enough(gallery: Gallery) -> None:
    scene = Scene(gallery, min_frames=12)
    assert scene.show(11, (1, 5, 0)) == {1: UNKNOWN}
    who = scene.show(5, (1, 5, 0))[1]
    assert who != UNKNOWN
    assert gallery.person(who).first_seen == 1000.0
    assert gallery.thumbnail(who) is not None


def test_a_track_of_a_few_frames_never_becomes_a_person(gallery: Gallery) -> None:
    scene = Scene(gallery)
    for track in range(1, 6):
        scene.show(8, (track, 10 + track, track))
        scene.wait(1)
    assert scene.identifier.finish() == {}
    assert gallery.people() == []


def test_whoever_returns_is_known_again(gallery: Gallery) -> None:
    scene = Scene(gallery)
    first = scene.show(30, (1, 5, 0), (2, 6, 3))
    scene.wait(60)
    again = scene.show(10, (3, 6, 1), (4, 5, 4), (5, 7, 7))
    assert again == {3: first[2], 4: first[1], 5: UNKNOWN}
    again = scene.show(10, (3, 6, 1), (4, 5, 4), (5, 7, 7))
    assert again[5] not in {UNKNOWN, *first.values()}
    scene.identifier.finish()
    decisions = {match.tracklet.track: match for match in scene.identifier.matches()}
    assert {track: match.decision for track, match in decisions.items()} == {
        1: NEW, 2: NEW, 3: KNOWN_AGAIN, 4: KNOWN_AGAIN, 5: NEW
    }  # fmt: skip
    match = decisions[4]
    assert match.tracklet.distance is not None
    assert 0 < match.tracklet.distance < 0.2
    assert match.crop is not None
    assert match.matched_crop == decisions[1].crop
    picture = cv2.imdecode(np.frombuffer(match.crop, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert abs(int(picture[64, 32, 2]) - 20) < 5  # BGR
    assert decisions[5].matched_crop is None
    assert gallery.person(first[1]).last_seen == pytest.approx(decisions[4].tracklet.last_seen)


def test_across_runs_and_cameras(gallery: Gallery, tmp_path: Path) -> None:
    scene = Scene(gallery)
    first = scene.show(30, (1, 5, 0), (2, 6, 3))
    scene.identifier.finish()
    gallery.close()
    with Gallery(tmp_path / "gallery.sqlite") as again:
        attic = Scene(again, "attic", start=90_000)
        assert attic.show(12, (1, 6, 0), (2, 5, 3)) == {1: first[2], 2: first[1]}
        attic.identifier.finish()
        assert again.person(first[1]).cameras == ("attic", "door")
        assert again.person(first[1]).last_seen > 90_000


def test_two_cameras_may_see_one_person_at_once(gallery: Gallery) -> None:
    door, attic = Scene(gallery, "door"), Scene(gallery, "attic")
    who = door.show(30, (1, 5, 0))[1]
    attic.now = door.now
    for _ in range(10):
        attic.show(1, (1, 5, 0))
        door.show(1, (1, 5, 0))
    assert attic.seen[1][-1] == door.seen[1][-1] == who


def test_people_seen_together_are_never_one_however_alike(gallery: Gallery) -> None:
    scene = Scene(gallery)
    twins = scene.show(40, (1, 5, 0), (2, 5, 5))
    assert UNKNOWN not in twins.values()
    assert twins[1] != twins[2]
    scene.wait(20)
    again = scene.show(20, (3, 5, 0), (4, 5, 5))
    assert set(again.values()) == set(twins.values())


def test_nobody_is_taken_for_somebody_who_stood_beside_them(gallery: Gallery) -> None:
    scene = Scene(gallery)
    scene.show(40, (1, 5, 0))
    # Beside the first for a moment, then alone, also after the first one's track has ended.
    scene.show(4, (1, 5, 0), (2, 5, 5))
    scene.wait(1)
    who = scene.show(200, (2, 5, 5))
    assert who[2] != scene.seen[1][-1]
    assert UNKNOWN not in (who[2], scene.seen[1][-1])


def test_a_track_that_comes_back_takes_its_person_back(gallery: Gallery) -> None:
    scene = Scene(gallery)
    who = scene.show(30, (1, 5, 0))[1]
    # The tracker loses the person, begins another track on them, and finds the first one again.
    assert scene.show(12, (2, 5, 1))[2] == who
    both = scene.show(1, (1, 5, 0), (2, 5, 5))
    assert both[1] == who
    assert both[2] != who
    both = scene.show(40, (1, 5, 0), (2, 5, 5))
    assert both[1] == who
    assert both[2] not in (who, UNKNOWN)


def test_a_track_that_changes_hands_is_identified_afresh(gallery: Gallery) -> None:
    scene = Scene(gallery)
    first = scene.show(40, (1, 5, 0), (2, 6, 4))
    # The tracker swaps the two; then its first track jumps to somebody who was never there.
    swapped = scene.show(60, (1, 6, 0), (2, 5, 4))
    assert swapped == {1: first[2], 2: first[1]}
    stranger = scene.show(80, (1, 7, 0), (2, 5, 4))
    assert stranger[2] == first[1]
    assert stranger[1] not in {UNKNOWN, *first.values()}
    scene.identifier.finish()
    # What they look like has stayed apart.
    persons, distance = gallery.distances("by-colour", LOOKS[[5, 6, 7]])
    assert persons[distance.argmin(1)].tolist() == [first[1], first[2], stranger[1]]
    assert (distance < 0.2).sum() == 3


def textured(looks: int, sharp: bool) -> NDArray[np.uint8]:
    """A crop whose red says who it is, and whose other colours are in focus or not."""
    rng = np.random.default_rng(looks)
    pixels = rng.integers(0, 255, (150, 40, 3)).astype(np.uint8)
    if not sharp:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 4)
    pixels[..., 0] = 4 * looks
    return pixels


def look(
    identifier: Identifier, now: float, looks: int, sharp: bool = True, height: int = 150
) -> NDArray[np.int64]:
    image = np.zeros((200, 400, 3), np.uint8)
    left = 50 + round(10 * now) % 100  # the noise of the vectors comes from the place
    image[20 : 20 + height, left : left + height // 4] = cv2.resize(
        textured(looks, sharp), (height // 4, height)
    )
    box = np.array([[left, 20, left + height // 4, 20 + height]], np.float32)
    return identifier.update(image, Tracks(box, np.array([1]), np.ones(1, np.float32)), now).person


def test_a_moment_on_somebody_else_never_becomes_the_picture(gallery: Gallery) -> None:
    """The box is on somebody larger for two looks; that crop is the better one, but not of this person."""
    identifier = Identifier(gallery, ByColour())
    for step in range(40):
        here = 20 <= step < 22
        who = look(identifier, step / 2, 9 if here else 5, height=160 if here else 80)
    identifier.finish()
    assert who[0] != UNKNOWN
    jpeg = gallery.thumbnail(int(who[0]))
    assert jpeg is not None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert abs(float(picture[..., 2].mean()) - 20) < 8  # 36 would be the other one
    (jpeg,) = [gallery.crop(sight.id) for sight in gallery.tracklets(int(who[0]))]


def test_the_picture_is_of_whoever_is_seen_longest() -> None:
    """A track that begins on one person and slides to another; most crops are of its first second."""
    evidence = Evidence(3)
    early, between, late = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 1, 0]], np.float32)
    for number, (now, vector) in enumerate(
        [(0.0, early), (0.2, early), (0.4, early), (2.0, between), (6.0, late), (20.0, late)]
    ):
        slots = evidence.see(np.array([7]), now)
        quality = np.array([0.6 if now > 1 else 0.9], np.float32)
        picture = np.full((1, 128, 64, 3), number, np.uint8)
        assert not len(evidence.take(slots, vector[None], quality, picture, now, 0.5))
    best = evidence.best(int(slots[0]))
    assert best is not None
    assert best[0][0, 0, 0] in (3, 4, 5)


def test_sharp_crops_are_kept_and_shown(gallery: Gallery) -> None:
    identifier = Identifier(gallery, ByColour(), every=0.1)
    for step in range(80):
        who = look(identifier, step / 5, 5, sharp=step % 10 == 3)
    identifier.finish()
    step = np.rint(5 * np.array(gallery.store.rows("SELECT time FROM embedding")).ravel())
    assert len(step) == CROPS
    assert (step % 10 == 3).sum() >= 4, "a tenth of the crops is in focus, and most of what is kept"
    jpeg = gallery.thumbnail(int(who[0]))
    assert jpeg is not None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert cv2.Laplacian(picture, cv2.CV_64F).var() > 1000  # 20 of a blurred one


def test_vectors_are_read_before_anything_is_decided(gallery: Gallery, tmp_path: Path) -> None:
    """Decisions are transactions: reading a large gallery in one would keep everybody else from writing."""
    Scene(gallery).show(40, (1, 5, 0))
    with Gallery(tmp_path / "gallery.sqlite") as other:
        Identifier(other, ByColour())
        assert len(other._indexes["by-colour"]) >= 4


def test_late_decisions_are_told_at_the_end(gallery: Gallery) -> None:
    scene = Scene(gallery, min_frames=20, patience=1.0)
    scene.show(40, (1, 5, 0))
    # Four good crops, then hidden behind somebody else: not enough to become somebody while it is seen.
    scene.show(6, (1, 5, 0), (2, 9, 5))
    image = np.zeros((200, 800, 3), np.uint8)
    box = np.array([[310, 20, 350, 170], [305, 25, 355, 190]], np.float32)
    for _ in range(30):
        tracks = Tracks(box, np.array([2, 1]), np.ones(2, np.float32))
        found = scene.identifier.update(image, tracks, scene.now)
        scene.now += 0.1
    assert found.person[0] == UNKNOWN
    assert scene.identifier.finish()[2] != UNKNOWN


def test_the_result_is_the_same_every_time(tmp_path: Path) -> None:
    results = []
    for turn in range(2):
        with Gallery(tmp_path / f"{turn}.sqlite") as gallery:
            scene = Scene(gallery)
            scene.show(30, (1, 5, 0), (2, 6, 3))
            scene.wait(10)
            scene.show(30, (3, 6, 1), (4, 5, 4), (5, 8, 7))
            scene.identifier.finish()
            people = gallery.people()
            sights = [gallery.tracklets(person.id) for person in people]
            results.append(
                (scene.seen, people, [[(s.track, s.distance, s.matched) for s in one] for one in sights])
            )
    assert results[0] == results[1]


def test_the_budget_holds_and_known_tracks_are_looked_at_now_and_then(gallery: Gallery) -> None:
    scene = Scene(gallery, budget=3, every=1.0)
    scene.show(100, *((track, track, track - 1) for track in range(1, 9)))
    assert max(scene.embedder.asked) == 3
    assert len({one[-1] for one in scene.seen.values()} - {UNKNOWN}) == 8
    scene.embedder.asked.clear()
    scene.show(100, *((track, track, track - 1) for track in range(1, 9)))
    assert 70 <= sum(scene.embedder.asked) <= 90  # eight tracks, ten seconds


def test_many_tracks_at_once_and_one_after_another(gallery: Gallery) -> None:
    scene = Scene(gallery, budget=100, patience=0.5)
    people = [(track, track, 0) for track in range(1, 41)]
    image = np.zeros((200, 4000, 3), np.uint8)
    box = np.array([[20 + 90 * n, 20, 60 + 90 * n, 170] for n in range(40)], np.float32)
    for (_, looks, _), (x1, y1, x2, y2) in zip(people, box.astype(int), strict=True):
        image[y1:y2, x1:x2, 0] = 4 * looks
    for turn in range(3):
        for _ in range(20):
            tracks = Tracks(box, np.arange(40) + 1 + 40 * turn, np.ones(40, np.float32))
            found = scene.identifier.update(image, tracks, scene.now)
            scene.now += 0.1
        assert (np.sort(found.person) == np.arange(1, 41)).all()
        scene.wait(2)
    assert len(scene.identifier._evidence.track) < 200
    assert len(scene.identifier._evidence.used()) == 0
    assert len(scene.identifier._beside) == 0


def test_killing_after_a_decision_loses_none_of_it(gallery: Gallery, tmp_path: Path) -> None:
    scene = Scene(gallery)
    who = scene.show(40, (1, 5, 0))[1]
    # What another process reads now is what would be left.
    with Gallery(tmp_path / "gallery.sqlite") as reader:
        person = reader.person(who)
        assert person.last_seen >= scene.now - 1.2
        assert person.frames >= 28
        assert reader.thumbnail(who) is not None
        assert len(reader.distances("by-colour", LOOKS[[5]])[0]) == 1


def test_somebody_forgotten_while_in_view(gallery: Gallery, tmp_path: Path) -> None:
    scene = Scene(gallery)
    who = scene.show(40, (1, 5, 0))[1]
    with Gallery(tmp_path / "gallery.sqlite") as other:
        other.forget(who)
    scene.show(40, (1, 5, 0))
    scene.identifier.finish()
    assert gallery.people() == []
    scene.wait(10)
    assert scene.show(40, (2, 5, 0))[2] not in (who, UNKNOWN)


def test_frames_without_anybody_and_boxes_outside(gallery: Gallery) -> None:
    scene = Scene(gallery)
    found = scene.identifier.update(np.zeros((10, 10, 3), np.uint8), Tracks.empty(), 0.0)
    assert found.person.shape == found.distance.shape == (0,)
    boxes = np.array([[-50, -50, -10, -10], [5, 5, 5, 5], [0, 0, 1, 1], [90, 90, 95, 99]], np.float32)
    tracks = Tracks(boxes, np.arange(1, 5), np.ones(4, np.float32))
    for _ in range(20):
        scene.identifier.update(np.zeros((10, 10, 3), np.uint8), tracks, 0.0)
    assert scene.identifier.finish() == {}
    assert scene.embedder.asked == []


def test_bad_arguments(gallery: Gallery) -> None:
    with pytest.raises(SparsightError, match="timestamp"):
        Scene(gallery).identifier.update(np.zeros((10, 10, 3), np.uint8), Tracks.empty(), np.nan)
    for options in (
        {"max_distance": 0.0},
        {"max_distance": 3.0},
        {"min_frames": 0},
        {"false_accept": 0.0},
        {"false_accept": 1.0},
    ):
        with pytest.raises(SparsightError):
            Identifier(gallery, ByColour(), **options)  # type: ignore[arg-type]


# Parts


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 5), st.integers(0, 5)),
        elements=st.sampled_from([0.1, 0.15, 0.25, 0.31, 0.39, 0.45, 0.8, np.inf]).map(np.float32),
    )
)
def test_assignment_is_the_best_of_all(distance: NDArray[np.float32]) -> None:
    chosen = assign_people(distance, 0.4)
    pairs = [(row, column) for row, column in enumerate(chosen.tolist()) if column >= 0]
    assert len({column for _, column in pairs}) == len(pairs)
    assert all(distance[pair] <= 0.4 for pair in pairs)
    tracks, people = distance.shape
    best = (0, 0.0)
    for columns in itertools.permutations(range(-tracks, people), tracks):
        taken = [(r, c) for r, c in enumerate(columns) if c >= 0 and distance[r, c] <= 0.4]
        best = min(best, (-len(taken), sum(float(distance[pair]) for pair in taken)))
    assert -len(pairs) == best[0]
    assert sum(float(distance[pair]) for pair in pairs) == pytest.approx(best[1], abs=1e-5)


def quality(*boxes: tuple[float, float, float, float]) -> list[float]:
    tracks = Tracks(np.array(boxes, np.float32), np.arange(len(boxes)), np.ones(len(boxes), np.float32))
    return crop_quality(np.zeros((400, 600, 3), np.uint8), tracks).tolist()


def test_the_quality_of_crops() -> None:
    assert quality((100, 100, 150, 228)) == [1]
    assert quality((100, 100, 125, 164)) == [pytest.approx(np.sqrt(0.5))]
    assert quality((100, 100, 250, 228)) == [0.25]
    # The one further down stands before the other and covers a half of it.
    assert quality((100, 100, 150, 228), (125, 100, 175, 240)) == [pytest.approx(0.5), 1]
    assert quality((100, 100, 150, 228), (100, 100, 150, 228)) == [1, 1]
    # A fifth lies outside the image on the left.
    assert quality((-10, 100, 40, 228)) == [pytest.approx(0.4)]
    assert quality((100, 300, 150, 428)) == [pytest.approx(100 / 128 * np.sqrt(100 / 128))]
    assert quality((700, 100, 750, 228)) == [0]
    assert CROPS >= 4
