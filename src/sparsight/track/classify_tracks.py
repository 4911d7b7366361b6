"""Names for tracks: a trained classifier over the crops of each track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.classify import UNKNOWN, Classifier, decide, probabilities
from sparsight.track.embed import Embedder, crops
from sparsight.track.evidence import crop_quality, sharpness
from sparsight.track.identify import assign_people
from sparsight.track.types import Image, Tracks

CROPS = 8
"""Crops that speak for a track: the best ones."""

_MIN_QUALITY = 0.3  # as the gallery's: a worse crop shows more of other things than of the person
_SURE = 0.9  # below this probability a track is uncertain
_SIZE = 128, 64  # height and width at which sharpness is judged


@dataclass(frozen=True, eq=False)
class Names:
    """Who the tracks of one frame are, row by row.

    Attributes:
        person: (N,) int64 index into the classifier's ``people``, -1 for unknown.
        probability: (N,) float64 that it is that person; of an unknown, that it is the nearest one.
    """

    person: NDArray[np.int64]
    probability: NDArray[np.float64]


class TrackNamer:
    """Gives tracks the names of people that a classifier knows.

    The scores of a track's best crops are averaged, weighted by quality (size, sharpness, what hides it), and
    the average decided about. In one frame nobody is two tracks: names are assigned so that the product of
    probabilities is greatest among as many named tracks as can be.

    A track is embedded when it is new; while it is uncertain, a fifth as often as frames come in ``every``;
    and else once in ``every`` frames.

    Args:
        classifier: who is known.
        embedder: makes the vectors; the one that the classifier was trained on.
        every: frames between two looks at a track whose name is certain.
        budget: crops embedded per frame at most: new tracks first, then uncertain ones.
        patience: frames unseen after which a track is let go of.

    Raises:
        SparsightError: another embedder, or a number below 1.
    """

    def __init__(
        self,
        classifier: Classifier,
        embedder: Embedder,
        *,
        every: int = 25,
        budget: int = 16,
        patience: int = 250,
    ) -> None:
        check_embedder(classifier, embedder)
        if min(every, budget, patience) < 1:
            raise SparsightError(
                f"every {every}, budget {budget} and patience {patience} must each be 1 or more."
            )
        self._classifier, self._embedder = classifier, embedder
        self._every, self._budget, self._patience = every, budget, patience
        self._frame = 0
        # One row per track, in order of its number.
        self._track = np.zeros(0, np.int64)
        self._asked = np.zeros(0, np.int64)
        self._seen = np.zeros(0, np.int64)
        self._scores = np.zeros((0, CROPS, len(classifier.people)))
        self._quality = np.zeros((0, CROPS))

    def update(self, image: Image, tracks: Tracks) -> Names:
        """Look at the tracks of the next frame (H×W×3 uint8 RGB)."""
        self._frame += 1
        rows = self._rows(tracks.id)
        names, certain = self._names(rows)
        self._look(image, tracks, rows, certain)
        names, _ = self._names(rows)
        return names

    def _rows(self, track: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the tracks seen now, new ones put in, those long unseen taken out."""
        kept = (self._seen >= self._frame - self._patience) | np.isin(self._track, track)
        new = np.setdiff1d(track, self._track)
        merged = np.concatenate([self._track[kept], new])
        order = np.argsort(merged)
        for name in ("_asked", "_seen", "_scores", "_quality"):
            old = getattr(self, name)[kept]
            fresh = np.zeros((len(new), *old.shape[1:]), old.dtype)
            setattr(self, name, np.concatenate([old, fresh])[order])
        self._track = merged[order]
        rows = np.searchsorted(self._track, track)
        self._seen[rows] = self._frame
        return rows

    def _look(
        self, image: Image, tracks: Tracks, rows: NDArray[np.int64], certain: NDArray[np.bool_]
    ) -> None:
        """Embed the tracks whose turn it is and keep the scores of their best crops."""
        new = self._asked[rows] == 0
        waited = self._frame - self._asked[rows]
        often = max(1, self._every // 5)
        quality = crop_quality(image, tracks)
        due = np.flatnonzero(
            (quality >= _MIN_QUALITY) & (new | (waited >= np.where(certain, self._every, often)))
        )
        due = due[np.lexsort((-waited[due], certain[due], ~new[due]))[: self._budget]]
        if not len(due):
            return
        vectors = self._embedder(image, tracks.xyxy[due])
        self._asked[rows[due]] = self._frame
        told: NDArray[np.bool_] = np.any(vectors, axis=1)
        due, vectors = due[told], vectors[told]
        worth = quality[due] * sharpness(crops(image, tracks.xyxy[due], *_SIZE))
        at = rows[due]
        worst = self._quality[at].argmin(axis=1)
        better = worth > self._quality[at, worst]
        at, worst = at[better], worst[better]
        self._quality[at, worst] = worth[better]
        self._scores[at, worst] = self._classifier.machine(vectors[better])

    def _names(self, rows: NDArray[np.int64]) -> tuple[Names, NDArray[np.bool_]]:
        """Names, and which are certain."""
        weight = self._quality[rows]
        told: NDArray[np.bool_] = np.any(weight, axis=1)
        total = np.maximum(weight.sum(axis=1), 1e-12)
        scores = np.einsum("nk,nkp->np", weight, self._scores[rows]) / total[:, None]
        calibration = self._classifier.calibration
        found = decide(scores, calibration)
        likely = probabilities(scores, calibration)
        # Of two tracks that look like one person, the other may be nobody else who passes.
        may = (scores > calibration.threshold) & told[:, None]
        cost = np.where(may, -np.log(np.maximum(likely, 1e-9)) / -np.log(1e-9), np.inf)
        person = assign_people(cost.astype(np.float32), 1.0)
        probability = np.where(
            person == UNKNOWN, found.probability, likely[np.arange(len(rows)), np.maximum(person, 0)]
        )
        probability[~told] = 0
        return Names(person, probability), (person != UNKNOWN) & (probability >= _SURE)


def check_embedder(classifier: Classifier, embedder: Embedder) -> None:
    """Refuse vectors that the classifier does not understand.

    Raises:
        SparsightError: the embedder has other weights than the one that it was trained on.
    """
    if embedder.name != classifier.weights:
        raise SparsightError(
            f"the classifier was trained on vectors of {classifier.weights}, not {embedder.name}: use that "
            "embedder, or train it again."
        )
