"""Who is it? Tracks of one camera become people of a gallery, known again or new."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.embed import Embedder, crops
from sparsight.track.evidence import CROPS, Evidence, crop_quality, sharpness
from sparsight.track.gallery import Gallery
from sparsight.track.gallery_places import moments
from sparsight.track.gallery_records import Correction, Tracklet, resolve
from sparsight.track.gallery_revise import merge_alike, split_misplaced
from sparsight.track.gallery_strangers import known_again, tail
from sparsight.track.types import Image, Tracks

UNKNOWN = -1
"""The person of a track that is not known yet, or never will be."""

KNOWN_AGAIN, NEW = "known again", "new"
"""The two decisions about a track."""

_GAP = 0.1  # seconds between two crops of an unknown track: neighbouring frames tell little
_MIN_QUALITY = 0.3  # a worse crop shows more of other things than of the person
_MIN_CROPS = 4  # fewer do not speak for a person
_SURE = 1.25  # up to so many times the greatest distance, a track waits for more evidence
_WAIT = 3.0  # seconds that it waits at most, and that one waits that changed hands: it may be an occlusion
_DOUBT = 1.3  # beyond so many times the greatest distance from all that a track showed, it's somebody else
_WRITE = 1.0  # seconds between two writings of when people were last seen
_SIZE = 128, 64  # height and width of a picture


@dataclass(frozen=True, eq=False)
class Identities:
    """Who the tracks of one frame are, row by row.

    Attributes:
        person: (N,) int64 number in the gallery, -1 while unknown.
        distance: (N,) float32 cosine distance at which the person was known again; NaN for unknown and new.
        since: (N,) float64 seconds at which the stretch of the track began that this person stands for: its
            first frame, or the one in which it was found to have changed hands.
    """

    person: NDArray[np.int64]
    distance: NDArray[np.float32]
    since: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True)
class Match:
    """A decision about a track, and what it was made on.

    Attributes:
        tracklet: the sight it was about; ``tracklet.distance`` is how far it was from the person.
        decision: ``"known again"`` or ``"new"``.
        crop: JPEG picture of it, or None.
        matched_crop: JPEG picture of the earlier sight that looked most alike, or None.
    """

    tracklet: Tracklet
    decision: str
    crop: bytes | None
    matched_crop: bytes | None


class Identifier:
    """Gives the tracks of one camera the numbers of people in a gallery.

    A new track gathers crops: good ones (see :func:`sparsight.track.evidence.crop_quality`), some time apart,
    of which the best and most different are kept. From four on, their mean is compared with everyone known.
    It is known again if it is near to somebody who wasn't seen beside it, and so much nearer than to the
    others that of all strangers only ``false_accept`` would be
    (:func:`sparsight.track.gallery_strangers.stranger_chance`); of the tracks of one frame, two are never one
    person. It is somebody new if it has been seen long enough and is not known again. In between it waits. A
    track that is too short never becomes anybody. Two tracks that one camera has at the same time are never
    the same person; nor are tracks of two cameras by one clock, unless something else was said about them
    (see :mod:`sparsight.track.gallery_places`). If the crops of a track no longer look like those before, the
    tracker has jumped to somebody else, and the track is identified afresh.

    When a track has ended, all that is known is looked at once more: it may be split off from the person it
    was taken for, or two people may turn out to be one (:mod:`sparsight.track.gallery_revise`).

    What is decided is written at once, and when somebody was last seen every second, each in a transaction.

    Args:
        gallery: who is known; several identifiers may share one.
        embedder: makes the vectors.
        camera: name of the camera.
        clock: what the timestamps are measured by; cameras of one clock see nobody at two places at once. By
            default a clock of its own.
        max_distance: cosine distance up to which a track may be taken for a known person; by default the
            embedder's.
        false_accept: share of people never seen before that may be taken for anybody known, in (0, 1).
        min_frames: frames that somebody must have been followed in to become a new person.
        every: seconds between two looks at a track that is identified.
        budget: crops embedded per frame at most, unknown tracks first.
        patience: seconds unseen after which a track has ended.

    Raises:
        SparsightError: a number is out of its range, or the gallery holds vectors of that embedder of another
            length.

    Attributes:
        camera, clock, max_distance, false_accept: as given, or by default.
        run: what marks the tracklets of this identifier in the gallery.
    """

    def __init__(
        self,
        gallery: Gallery,
        embedder: Embedder,
        camera: str = "camera",
        *,
        clock: str | None = None,
        max_distance: float | None = None,
        false_accept: float = 0.1,
        min_frames: int = 12,
        every: float = 1.0,
        budget: int = 16,
        patience: float = 5.0,
    ) -> None:
        self.camera = camera
        self.run = uuid.uuid4().hex
        self.clock = clock or self.run
        self._gallery = gallery
        self._embedder = embedder
        self.max_distance = embedder.max_distance if max_distance is None else max_distance
        if not 0 < self.max_distance <= 2:
            raise SparsightError(f"max_distance is {max_distance}, but a cosine distance lies in (0, 2].")
        self.false_accept = false_accept
        if not 0 < false_accept < 1:
            raise SparsightError(f"false_accept is {false_accept}, but a share of strangers lies in (0, 1).")
        if min_frames < 1 or every < 0 or budget < 1 or patience < 0:
            raise SparsightError(
                f"min_frames {min_frames} and budget {budget} must be 1 or more, every {every} and patience "
                f"{patience} not negative."
            )
        self._min_frames, self._every, self._budget, self._patience = min_frames, every, budget, patience
        # All vectors are read now: later it would be in a transaction, and keep others from writing.
        gallery.distances(embedder.name, np.zeros((0, embedder.dimension), np.float32))
        self._evidence = Evidence(embedder.dimension)
        # Pairs (slot, person): whom a track was seen beside, where the other track is no more.
        self._beside = np.zeros((0, 2), np.int64)
        self._late: dict[int, int] = {}
        self._corrections: list[Correction] = []  # made since the beginning, and applied
        self._corrected = max((one.id for one in gallery.corrections()), default=0)
        self._now = -np.inf
        self._written = -np.inf

    def update(self, frame: Image, tracks: Tracks, timestamp: float) -> Identities:
        """Look at the tracks of the next frame.

        Args:
            frame: H×W×3 uint8 RGB.
            tracks: the tracks seen in it.
            timestamp: when it was taken, in unix seconds; one that lies before the last counts as the last.

        Returns:
            Who they are, row by row.

        Raises:
            SparsightError: the timestamp is not finite, or the gallery cannot be written.
        """
        if not np.isfinite(timestamp):
            raise SparsightError(f"the timestamp is {timestamp}, but it must be a number of seconds.")
        now = self._now = max(self._now, float(timestamp))
        evidence = self._evidence
        slots = evidence.see(tracks.id, now)
        self._part(slots)
        looked = self._look(frame, tracks, slots)
        self._decide(looked[evidence.person[looked] == UNKNOWN])
        used = evidence.used()
        self._end(used[evidence.last[used] < now - self._patience])
        if now >= self._written + _WRITE:
            self._write()
            self._reconsider()
        return Identities(evidence.person[slots], evidence.distance[slots], evidence.first[slots])

    def finish(self) -> dict[int, int]:
        """Decide about the tracks that are left, and write everything.

        Returns:
            Track number → person, for all tracks that were decided about after they were last reported.
        """
        self._end(self._evidence.used())
        self._reconsider()
        late, self._late = self._late, {}
        return late

    def corrected(self) -> list[Correction]:
        """Corrections made since the last call, by whomever: some reported earlier are somebody else now."""
        made, self._corrections = self._corrections, []
        return made

    def tracklets(self) -> list[Tracklet]:
        """Every sight that this identifier has written and that is still there, as it is now."""
        return self._gallery.tracklets_of(self.run)

    def matches(self) -> list[Match]:
        """Every decision that still stands, in the order in which the tracks began."""
        gallery = self._gallery
        return [
            Match(
                tracklet,
                NEW if tracklet.distance is None else KNOWN_AGAIN,
                gallery.crop(tracklet.id),
                None if tracklet.matched is None else gallery.crop(tracklet.matched),
            )
            for tracklet in self.tracklets()
        ]

    # Looking

    def _look(self, frame: Image, tracks: Tracks, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Embed the tracks whose turn it is; their slots."""
        evidence, now = self._evidence, self._now
        quality = crop_quality(frame, tracks)
        waited = now - evidence.asked[slots]
        unknown = evidence.person[slots] == UNKNOWN
        doubted = evidence.doubts[slots] > 0
        due = np.flatnonzero(
            (quality >= _MIN_QUALITY) & (waited >= np.where(unknown | doubted, _GAP, self._every) - 1e-6)
        )
        if not len(due):
            return slots[due]
        if len(due) > self._budget:
            due = due[np.lexsort((-waited[due], ~unknown[due]))[: self._budget]]
        vectors = self._embedder(frame, tracks.xyxy[due])
        looked = slots[due]
        pictures = crops(frame, tracks.xyxy[due], *_SIZE)
        worth = quality[due] * sharpness(pictures)
        turned = evidence.take(looked, vectors, worth, pictures, now, _DOUBT * self.max_distance)
        if len(turned):
            self._release(turned)
            evidence.turn(turned, now)
        return looked

    def _part(self, slots: NDArray[np.int64]) -> None:
        """Where a person shows up twice in one frame, the later track is not that person."""
        evidence = self._evidence
        known = slots[evidence.person[slots] != UNKNOWN]
        known = known[np.lexsort((evidence.first[known], evidence.person[known]))]
        again = known[1:][evidence.person[known[1:]] == evidence.person[known[:-1]]]
        self._take_back(again)

    def _take_back(self, slots: NDArray[np.int64]) -> None:
        """Let the tracks in ``slots`` be nobody known again."""
        evidence = self._evidence
        for slot in slots.tolist():
            self._gallery.remove_tracklet(int(evidence.tracklet[slot]))
        evidence.person[slots] = evidence.tracklet[slots] = UNKNOWN
        evidence.distance[slots] = np.nan
        evidence.asked[slots] = -np.inf

    # Deciding

    def _decide(self, slots: NDArray[np.int64], last: bool = False) -> None:
        """Decide about the unknown tracks in ``slots``; ``last``: there will be no more evidence."""
        evidence = self._evidence
        slots = slots[evidence.count[slots] >= _MIN_CROPS]
        if not len(slots):
            return
        means = evidence.mean(slots)
        # One transaction: nobody is forgotten, or made by another process, between question and answer.
        with self._gallery.transaction():
            persons, distance = self._gallery.distances(self._embedder.name, means)
            distance[self._excluded(slots, persons)] = np.inf
            power = tail(self._embedder.name)
            known, allowed = known_again(distance, self.max_distance, self.false_accept, power)
            chosen = assign_people(allowed, self.max_distance)
            nearest = distance.min(1, initial=np.inf)
            seen = self._now - evidence.first[slots]
            enough = evidence.count[slots] >= (_MIN_CROPS if last else CROPS)
            enough &= evidence.frames[slots] >= self._min_frames
            clear = (nearest > _SURE * self.max_distance) & ~evidence.turned[slots]
            clear |= (seen >= _WAIT) | last
            # Known again, but another track of this frame is nearer to that person: that one goes first.
            new = enough & clear & ~known
            for row in np.flatnonzero((chosen >= 0) | new).tolist():
                slot, column = int(slots[row]), int(chosen[row])
                if column >= 0:
                    self._settle(slot, int(persons[column]), float(distance[row, column]), means[row], last)
                else:
                    self._settle(slot, None, None, means[row], last)

    def _excluded(self, slots: NDArray[np.int64], persons: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``persons`` each of ``slots`` was seen beside and so cannot be: (slots, persons)."""
        evidence = self._evidence
        rows, others = np.nonzero(evidence.together[slots] & (evidence.person != UNKNOWN))
        gone_rows, pairs = np.nonzero(slots[:, None] == self._beside[:, 0])
        rows = np.concatenate([rows, gone_rows])
        beside = np.concatenate([evidence.person[others], self._beside[pairs, 1]])
        excluded = np.zeros((len(slots), len(persons)), np.bool_)
        if len(persons):
            column = np.minimum(np.searchsorted(persons, beside), len(persons) - 1)
            there = persons[column] == beside
            excluded[rows[there], column[there]] = True
            first, last = evidence.first[slots], evidence.last[slots]
            seen = moments(self._gallery, self.camera, self.clock, first.min(), last.max())
            rows, barred = np.nonzero(seen.bar(first, last))
            column = np.minimum(np.searchsorted(persons, seen.person[barred]), len(persons) - 1)
            there = persons[column] == seen.person[barred]
            excluded[rows[there], column[there]] = True
        return excluded

    def _settle(
        self,
        slot: int,
        person: int | None,
        distance: float | None,
        mean: NDArray[np.float32],
        late: bool,
    ) -> None:
        """Make a track a sight of ``person`` (None: somebody new) and write it; ``late``: it has ended."""
        evidence, gallery, name = self._evidence, self._gallery, self._embedder.name
        matched = None if person is None else gallery.most_alike(name, mean, person)
        if person is None:
            person = gallery.add_person(float(evidence.first[slot]))
        evidence.tracklet[slot] = gallery.add_tracklet(
            person,
            camera=self.camera,
            run=self.run,
            track=int(evidence.track[slot]),
            first_seen=float(evidence.first[slot]),
            last_seen=float(evidence.last[slot]),
            frames=int(evidence.frames[slot]),
            distance=distance,
            matched=matched,
            clock=self.clock,
        )
        evidence.shown[slot] = None
        self._keep(slot)
        evidence.person[slot] = person
        evidence.distance[slot] = np.nan if distance is None else distance
        if late:
            self._late[int(evidence.track[slot])] = person

    # Ending and writing

    def _end(self, slots: NDArray[np.int64]) -> None:
        """Decide about tracks that have ended, write them, and let go of them."""
        if not len(slots):
            return
        evidence = self._evidence
        unknown = slots[evidence.person[slots] == UNKNOWN]
        # One after the other, because a later one may be the same person as an earlier one.
        for slot in unknown[np.lexsort((evidence.track[unknown], evidence.first[unknown]))]:
            self._decide(np.array([slot]), last=True)
        self._release(slots)
        self._revise(slots[evidence.person[slots] != UNKNOWN])
        evidence.free(slots)

    def _revise(self, slots: NDArray[np.int64]) -> None:
        """Have second thoughts about the tracks in ``slots``, which have ended."""
        gallery, embedder, evidence = self._gallery, self._embedder, self._evidence
        means = evidence.mean(slots)
        for slot, mean in zip(slots.tolist(), means, strict=True):
            if not np.isnan(evidence.distance[slot]):
                split_misplaced(gallery, embedder.name, int(evidence.tracklet[slot]), mean, self.max_distance)
            self._follow()
            person = int(evidence.person[slot])
            merged = merge_alike(
                gallery, embedder.name, person, embedder.dimension, self.max_distance, self.false_accept
            )
            if merged is not None:
                self._follow()

    def _reconsider(self) -> None:
        """Follow what others have corrected, and take back what cannot be by what they have written."""
        self._follow()
        evidence = self._evidence
        slots = evidence.used()
        slots = slots[evidence.person[slots] != UNKNOWN]
        if not len(slots):
            return
        first, last = evidence.first[slots], evidence.last[slots]
        seen = moments(self._gallery, self.camera, self.clock, first.min(), last.max())
        clash = seen.bar(first, last) & (seen.person == evidence.person[slots, None])
        # The one that began later gives way; of two that began at once, the one written later.
        later = first[:, None] > seen.first
        later |= (first[:, None] == seen.first) & (evidence.tracklet[slots, None] > seen.tracklet)
        self._take_back(slots[(clash & later & (seen.tracklet != evidence.tracklet[slots, None])).any(1)])

    def _follow(self) -> None:
        """Give the tracks at hand the numbers of people that corrections gave them."""
        made = self._gallery.corrections(self._corrected)
        if not made:
            return
        evidence = self._evidence
        self._corrected = made[-1].id
        self._corrections += made
        evidence.person = resolve(evidence.person, made, evidence.tracklet)
        self._beside[:, 1] = resolve(self._beside[:, 1], made)
        tracks = np.array(list(self._late.items()), np.int64).reshape(-1, 2)
        tracks[:, 1] = resolve(tracks[:, 1], made)
        self._late = dict(zip(tracks[:, 0].tolist(), tracks[:, 1].tolist(), strict=True))

    def _release(self, slots: NDArray[np.int64]) -> None:
        """Write the tracks in ``slots`` a last time, and remember whom the others were seen beside."""
        evidence = self._evidence
        known = slots[evidence.person[slots] != UNKNOWN]
        if len(known):
            self._write(known)
        others, index = np.nonzero(evidence.together[:, known])
        pairs = np.stack([others, evidence.person[known[index]]], axis=1)
        pairs = np.concatenate([self._beside, pairs])
        self._beside = np.unique(pairs[~np.isin(pairs[:, 0], slots)], axis=0)

    def _write(self, slots: NDArray[np.int64] | None = None) -> None:
        """Write when the people in ``slots`` (by default, all) were last seen, and what they look like."""
        evidence = self._evidence
        if slots is None:
            slots = evidence.used()
            slots = slots[evidence.person[slots] != UNKNOWN]
            self._written = self._now
        if not len(slots):
            return
        rows = zip(
            evidence.tracklet[slots].tolist(),
            evidence.last[slots].tolist(),
            evidence.frames[slots].tolist(),
            strict=True,
        )
        with self._gallery.transaction():
            self._gallery.saw(rows)
            for slot in slots[evidence.changed[slots]].tolist():
                self._keep(slot)

    def _keep(self, slot: int) -> None:
        """Write what a track looks like."""
        import cv2

        evidence, count = self._evidence, int(self._evidence.count[slot])
        tracklet = int(evidence.tracklet[slot])
        self._gallery.set_embeddings(
            tracklet,
            self._embedder.name,
            evidence.vectors[slot, :count],
            evidence.quality[slot, :count],
            evidence.time[slot, :count],
        )
        best = evidence.best(slot)
        if best is not None and best[0] is not evidence.shown[slot]:
            picture, quality = best
            evidence.shown[slot] = picture
            jpeg = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
            self._gallery.set_crop(tracklet, jpeg, quality)
        evidence.changed[slot] = False


def assign_people(distance: NDArray[np.float32], max_distance: float) -> NDArray[np.int64]:
    """Give tracks to people, one to one: as many as are within reach, then with the least sum of distances.

    Args:
        distance: (T, P) of each track from each person; infinity where it cannot be.
        max_distance: greatest distance within reach.

    Returns:
        (T,) the column of each track's person, -1 for none.
    """
    from scipy.optimize import linear_sum_assignment

    chosen = np.full(len(distance), -1, np.int64)
    within = distance <= max_distance
    rows, columns = within.any(1).nonzero()[0], within.any(0).nonzero()[0]
    # Two is the greatest cosine distance: nothing out of reach is worth giving up a pair within.
    cost = np.where(within, distance, 2.0 * (1 + len(rows)))[np.ix_(rows, columns)]
    picked, at = linear_sum_assignment(cost)
    good = within[rows[picked], columns[at]]
    chosen[rows[picked[good]]] = columns[at[good]]
    return chosen
