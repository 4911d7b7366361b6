"""What each track of a camera looks like so far: one set of arrays for all tracks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.track import boxes
from sparsight.track.gallery_index import least_telling
from sparsight.track.types import Image, Tracks

CROPS = 8
"""Vectors kept per track: of good crops that are different from one another."""
DOUBTS = 3
"""Crops in a row that look like somebody else before a track is taken to have changed hands."""

_START = 16


class Evidence:
    """The tracks of one camera, each in a slot; the arrays have one row per slot and grow by doubling.

    Attributes:
        track: int64 track number, -1 in a free slot.
        person: int64 who it is, -1 while unknown.
        tracklet: int64 row number in the gallery, -1 while unwritten.
        distance: float32 how far it was from that person, NaN for somebody new or unknown.
        first, last: float64 seconds of the first and last sight.
        frames: int64 frames seen.
        asked: float64 seconds at which it was last embedded, minus infinity before.
        count: int64 vectors held; they are ``vectors[slot, :count]``.
        vectors, quality, time: float32 (CROPS, D), float32 (CROPS,), float64 (CROPS,) of each slot.
        doubts: int64 crops in a row that did not fit, the vectors of which are ``doubtful[slot]``.
        turned: bool whether it began where a track changed hands.
        changed: bool whether vectors came that the gallery doesn't have yet.
        together: bool (slots, slots) which were seen in one frame.
        picture: object (CROPS,) of each slot, the pictures that the vectors were made of; None where there is
            none; and ``shown``, the one that the gallery has.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._allocate(_START)
        self.track[:] = -1

    def _allocate(self, size: int) -> None:
        dimension = self._dimension
        self.track = np.empty(size, np.int64)
        self.person = np.empty(size, np.int64)
        self.tracklet = np.empty(size, np.int64)
        self.distance = np.empty(size, np.float32)
        self.first = np.empty(size)
        self.last = np.empty(size)
        self.frames = np.empty(size, np.int64)
        self.asked = np.empty(size)
        self.count = np.empty(size, np.int64)
        self.vectors = np.zeros((size, CROPS, dimension), np.float32)
        self.quality = np.zeros((size, CROPS), np.float32)
        self.time = np.zeros((size, CROPS))
        self.doubts = np.empty(size, np.int64)
        self.doubtful = np.zeros((size, DOUBTS, dimension), np.float32)
        self.turned = np.zeros(size, np.bool_)
        self.changed = np.zeros(size, np.bool_)
        self.together = np.zeros((size, size), np.bool_)
        self.picture = np.full((size, CROPS), None, np.object_)
        self.shown = np.full(size, None, np.object_)

    def used(self) -> NDArray[np.int64]:
        """Slots that hold a track."""
        return np.flatnonzero(self.track >= 0)

    def see(self, track: NDArray[np.int64], now: float) -> NDArray[np.int64]:
        """The slots of the tracks seen in the frame at ``now`` seconds, new ones in free slots."""
        order = np.argsort(self.track, kind="stable")
        place = np.minimum(np.searchsorted(self.track, track, sorter=order), len(order) - 1)
        slots = order[place]
        new = self.track[slots] != track
        if new.any():
            slots[new] = self._claim(int(new.sum()))
            self.track[slots[new]] = track[new]
            self.begin(slots[new], now)
        self.last[slots] = now
        self.frames[slots] += 1
        self.together[np.ix_(slots, slots)] = True
        return slots

    def begin(self, slots: NDArray[np.int64], now: float) -> None:
        """Start the tracks in ``slots`` afresh, unknown and without evidence."""
        self.person[slots] = self.tracklet[slots] = -1
        self.distance[slots] = np.nan
        self.first[slots] = now
        self.frames[slots] = self.count[slots] = self.doubts[slots] = 0
        self.asked[slots] = -np.inf
        self.changed[slots] = self.turned[slots] = False
        self.together[slots] = False
        self.together[:, slots] = False
        self.picture[slots] = self.shown[slots] = None

    def free(self, slots: NDArray[np.int64]) -> None:
        """Let go of the tracks in ``slots``."""
        self.track[slots] = self.person[slots] = -1
        self.picture[slots] = self.shown[slots] = None
        self.together[slots] = False
        self.together[:, slots] = False

    def take(
        self,
        slots: NDArray[np.int64],
        vectors: NDArray[np.float32],
        quality: NDArray[np.float32],
        pictures: NDArray[np.uint8],
        now: float,
        max_distance: float,
    ) -> NDArray[np.int64]:
        """Add one vector to each of ``slots``; one far from all that a track looked like counts as a doubt.

        Args:
            slots: (M,) different slots.
            vectors: (M, D) unit vectors.
            quality: (M,) of their crops.
            pictures: (M, H, W, 3) the crops.
            now: seconds.
            max_distance: cosine distance from the nearest vector of a track up to which a vector fits.

        Returns:
            The slots whose doubts are complete: what is seen there now is somebody else.
        """
        self.asked[slots] = now
        held = np.arange(CROPS) < self.count[slots, None]
        likeness = np.einsum("md,mkd->mk", vectors, self.vectors[slots])
        nearest = np.where(held, 1 - likeness, np.inf).min(1)
        fits = (nearest <= max_distance) | (self.count[slots] == 0)
        doubted = slots[~fits]
        self.doubtful[doubted, self.doubts[doubted]] = vectors[~fits]
        self.doubts[doubted] += 1
        self.doubts[slots[fits]] = 0
        self._keep(slots[fits], vectors[fits], quality[fits], pictures[fits], now)
        turned: NDArray[np.int64] = doubted[self.doubts[doubted] == DOUBTS]
        return turned

    def turn(self, slots: NDArray[np.int64], now: float) -> None:
        """Start the tracks in ``slots`` afresh from the crops that did not fit."""
        vectors, together = self.doubtful[slots].copy(), self.together[slots] & (self.last == now)
        self.begin(slots, now)
        self.together[slots] = together
        self.together[:, slots] = together.T
        self.turned[slots] = True
        self.frames[slots] = self.count[slots] = DOUBTS
        self.vectors[slots, :DOUBTS] = vectors
        self.quality[slots, :DOUBTS] = 0
        self.time[slots, :DOUBTS] = now

    def mean(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """The mean vectors (M, D) of ``slots``, of length one."""
        held = np.arange(CROPS) < self.count[slots, None]
        total = np.einsum("mk,mkd->md", held.astype(np.float32), self.vectors[slots])
        length = np.linalg.norm(total, axis=1, keepdims=True)
        mean: NDArray[np.float32] = total / np.maximum(length, np.float32(1e-12))
        return mean

    def best(self, slot: int) -> tuple[NDArray[np.uint8], float] | None:
        """The picture that shows best what a track looks like, and its quality; None if there is none.

        Of the crops that are kept, the best one among the half that is most like their mean: the others may
        show more of what stands beside or before the person, which can be sharp, too. In the mean, each
        counts for the time to which it is nearest: most are of a track's first seconds, when it was unknown.
        """
        count = int(self.count[slot])
        shown = np.array([n for n in range(count) if self.picture[slot, n] is not None], np.int64)
        if not len(shown):
            return None
        order = shown[np.argsort(self.time[slot, shown], kind="stable")]
        time = self.time[slot, order]
        between = (time[1:] + time[:-1]) / 2
        stretch = np.diff(np.concatenate([self.first[slot, None], between, self.last[slot, None]]))
        mean = np.maximum(stretch, 1e-3).astype(np.float32) @ self.vectors[slot, order]
        likeness = self.vectors[slot, shown] @ mean
        alike = shown[np.argsort(-likeness, kind="stable")[: -(-len(shown) // 2)]]
        best = int(alike[self.quality[slot, alike].argmax()])
        return self.picture[slot, best], float(self.quality[slot, best])

    def _keep(
        self,
        slots: NDArray[np.int64],
        vectors: NDArray[np.float32],
        quality: NDArray[np.float32],
        pictures: NDArray[np.uint8],
        now: float,
    ) -> None:
        place = self.count[slots]
        full = place == CROPS
        if full.any():
            crowded = slots[full]
            every = np.concatenate([self.vectors[crowded], vectors[full, None]], axis=1)
            worth = np.concatenate([self.quality[crowded], quality[full, None]], axis=1)
            place[full] = least_telling(every, worth)
        wanted = place < CROPS
        slots, place = slots[wanted], place[wanted]
        self.vectors[slots, place] = vectors[wanted]
        self.quality[slots, place] = quality[wanted]
        self.time[slots, place] = now
        for slot, at, picture in zip(slots.tolist(), place.tolist(), pictures[wanted], strict=True):
            self.picture[slot, at] = picture.copy()
        self.count[slots] = np.maximum(self.count[slots], place + 1)
        self.changed[slots] = True

    def _claim(self, wanted: int) -> NDArray[np.int64]:
        free = np.flatnonzero(self.track < 0)
        if len(free) < wanted:
            old, size = dict(vars(self)), len(self.track)
            self._allocate(2 * size + wanted)
            for name, value in old.items():
                if name == "together":
                    self.together[:size, :size] = value
                elif isinstance(value, np.ndarray):
                    getattr(self, name)[:size] = value
            self.track[size:] = self.person[size:] = -1
            free = np.flatnonzero(self.track < 0)
        return free[:wanted]


def crop_quality(image: Image, tracks: Tracks) -> NDArray[np.float32]:
    """How much the crop of each track can tell, in [0, 1].

    The product of: the part of the box that no box nearer to the camera covers (nearer: its lower edge is
    lower); the part inside the image, halved at the left or right border, where a person may be cut; the
    square root of the height over 128 pixels, up to 1; and 1/4 for a box that isn't upright.
    """
    height, width = image.shape[:2]
    box = boxes.clip(tracks.xyxy, width, height)
    size = box[:, 2:] - box[:, :2]
    area = np.maximum(size.prod(1), 1e-6)
    whole = boxes.area(tracks.xyxy)
    part = np.where(whole > 0, boxes.area(box) / np.maximum(whole, 1e-6), 0)
    part[(tracks.xyxy[:, 0] < 2) | (tracks.xyxy[:, 2] > width - 2)] /= 2
    hidden = np.zeros(len(box), np.float32)
    behind, front = boxes.overlapping(box, box)
    nearer = box[front, 3] > box[behind, 3]
    behind, front = behind[nearer], front[nearer]
    shared = np.minimum(box[behind, 2:], box[front, 2:]) - np.maximum(box[behind, :2], box[front, :2])
    np.maximum.at(hidden, behind, shared.clip(0).prod(1) / area[behind])
    upright = (size[:, 1] > 1.2 * size[:, 0]) & (size[:, 1] < 6 * size[:, 0])
    quality = (1 - hidden) * part * np.sqrt(np.minimum(size[:, 1] / 128, 1)) * np.where(upright, 1, 0.25)
    usable = (size.round() >= 2).all(1)
    return np.where(usable, quality, 0).astype(np.float32)


def sharpness(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How sharp crops (N, H, W, 3) of one size are, (N,) float32 in [0, 1); a blurred copy is less.

    The mean square of the Laplacian over the variance of the grey values, q, as q / (q + 0.06): the ratio
    to the variance keeps plain clothes from passing for blur; 0.06 is the median of TUD-Stadtmitte's crops at
    128 pixels, of which a blur by one pixel leaves 0.016.
    """
    grey = pixels.astype(np.float32).mean(axis=3)
    laplacian = (grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]) - 4 * grey[
        :, 1:-1, 1:-1
    ]
    edges = np.square(laplacian).mean(axis=(1, 2))
    # Half a grey level squared, so that a crop of one colour has a sharpness at all: none.
    ratio = edges / (grey.var(axis=(1, 2)) + 0.25)
    sharp: NDArray[np.float32] = np.float32(ratio / (ratio + 0.06))
    return sharp
