"""BoT-SORT: ByteTrack, the camera's motion taken out, looks added (Aharon et al., arXiv 2206.14651)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.registry import lookup
from sparsight.track import kalman, motion
from sparsight.track.associate import cosine
from sparsight.track.trackers.base import BaseTracker, candidates
from sparsight.track.trackers.core import Arrays, Rows, check_range
from sparsight.track.trackers.looks import given, looks_of, unit
from sparsight.track.trackers.stages import Stages
from sparsight.track.types import Detections, Image, Tracks

_NO_CAMERA = "none"
# Between the published noise and kalman.WALKERS: a first step is expected to be shorter than there.
_MOTION = replace(kalman.WALKERS, value=(1 / 18,) * 4, first_velocity=(1 / 10,) * 4)


class BotSort(BaseTracker):
    """Follows boxes in ByteTrack's stages, in the frame of the world rather than that of the camera.

    Where frames are given, the camera's motion between them is found and tracks are carried along. Where
    detections carry an ``embedding``, a pair that overlaps well and looks alike is worth more than its
    overlap says.
    """

    def __init__(
        self,
        *,
        iou: float = 0.05,
        low_iou: float = 0.55,
        new_iou: float = 0.2,
        appearance: float = 0.3,
        near: float = 0.1,
        memory: float = 0.9,
        camera: str = "flow",
        score: float = 0.1,
        high_score: float = 0.6,
        new_score: float = 0.7,
        max_age: float = 30,
        min_hits: int = 2,
        invalid: str = "refuse",
    ) -> None:
        """Start without tracks.

        Args:
            iou: overlap in [0, 1) above which a sure detection may belong to a confirmed track.
            low_iou: the same for an unsure detection and a track seen in the last frame.
            new_iou: the same for a sure detection and a tentative track.
            appearance: cosine distance in [0, 2] below which a detection looks like a track.
            near: overlap in [0, 1) above which looks count at all.
            memory: share in [0, 1) of a track's looks that is kept when it is seen again.
            camera: how the camera's motion is found: "flow", "ecc", or "none".
            score: detections below are passed over.
            high_score: detections of this score and more are sure, others unsure.
            new_score: detections below begin no tracks.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            invalid: "refuse" boxes and scores that are not finite by an error, or "drop" them.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        for name, value in (
            ("iou", iou),
            ("low_iou", low_iou),
            ("new_iou", new_iou),
            ("near", near),
            ("memory", memory),
        ):
            check_range(name, value, 0, 1, below=True)
        check_range("appearance", appearance, 0, 2)
        lookup("method of camera motion", camera, {**motion.METHODS, _NO_CAMERA: None})
        self._method = camera
        super().__init__(
            _MOTION,
            max_age=max_age,
            min_hits=min_hits,
            invalid=invalid,
            more={"looks": np.zeros((0, 0), np.float32)},
        )
        self._iou, self._low_iou, self._new_iou = iou, low_iou, new_iou
        self._appearance, self._near, self._memory = appearance, near, memory
        self._score = score
        self._high_score = max(score, high_score)
        self._new_score = max(self._high_score, new_score)

    def reset(self) -> None:
        """Forget every track and start again from number 1."""
        super().reset()
        self._camera = None if self._method == _NO_CAMERA else motion.CameraMotion(self._method)

    def state_dict(self) -> Arrays:
        """As :meth:`BaseTracker.state_dict`."""
        return super().state_dict() | (self._camera.state_dict() if self._camera else {})

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As :meth:`BaseTracker.load_state_dict`."""
        super().load_state_dict(state)
        if self._camera:
            self._camera.load_state_dict(state)

    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        tracks = self._tracks
        looks = looks_of(detections, tracks.more["looks"].shape[1])
        expected = tracks.advance(timestamp)
        if frame is not None and self._camera is not None:
            kalman.warp(tracks.state, self._camera(frame, detections.xyxy))
            expected = tracks.expected()
        if looks.shape[1] != tracks.more["looks"].shape[1]:  # the first that are seen
            tracks.more["looks"] = np.zeros((len(tracks), looks.shape[1]), np.float32)

        rows, taken, overlap = candidates(
            tracks, expected, detections, min(self._iou, self._low_iou, self._new_iou)
        )
        confirmed = (tracks.id > 0)[rows]
        high = (detections.score >= self._high_score)[taken]
        alike = self._likeness(rows, taken, overlap, looks)
        found = Stages(len(tracks), len(detections))
        found.match(rows, taken, alike - self._iou, confirmed & high)
        if not high.all():
            low = (detections.score >= self._score)[taken] & ~high
            found.match(rows, taken, overlap - self._low_iou, low & confirmed & tracks.recent()[rows])
        if not confirmed.all():
            found.match(rows, taken, alike - self._new_iou, high & ~confirmed)
        born = (found.free & (detections.score >= self._new_score)).nonzero()[0]
        rows, taken = found.pairs()
        self._remember(rows, looks[taken])
        return tracks.commit(detections, rows, taken, born, {"looks": looks[born]})

    def _likeness(
        self, rows: Rows, taken: Rows, overlap: NDArray[np.float32], looks: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """1 − min(1 − IoU, half the cosine distance of those near and alike), eq. 12 and 13: (P,)."""
        if not looks.any():
            return overlap
        known = self._tracks.more["looks"]
        distance = cosine(known[rows], looks[taken])
        counts = overlap > self._near
        counts &= distance < self._appearance
        counts &= given(known)[rows] & given(looks)[taken]
        return np.where(counts, np.maximum(overlap, 1 - distance / 2), overlap)

    def _remember(self, rows: Rows, looks: NDArray[np.float32]) -> None:
        """Let the looks of tracks follow those of the detections they took, eq. 11."""
        seen = given(looks)
        rows, looks = rows[seen], looks[seen]
        known = self._tracks.more["looks"]
        before = known[rows]
        kept = np.where(given(before), self._memory, 0)[:, None].astype(np.float32)
        known[rows] = unit(kept * before + (1 - kept) * looks)
