"""Running figures while ``watch`` runs: PoseTReID's scores, frame by frame, against ground truth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sparsight.app.outputs import SCORE
from sparsight.app.sights import UNIDENTIFIED_FROM
from sparsight.files import write_text
from sparsight.track import Tracks
from sparsight.track.formats.table import UNKNOWN
from sparsight.track.metrics.pyppbox import Online


class RunningScore:
    """Compares the people of each frame with the true ones.

    A person of the gallery is called by the name given there. Somebody without one is called after the true
    person beside whom they first stood, unless another is called so already: then, and wherever else they
    turn up, they count as wrong. So numbers can be scored against names.

    Attributes:
        online: the counts so far.
    """

    def __init__(self, path: Path) -> None:
        """Read the ground truth.

        Raises:
            SparsightError: it cannot be read, or is malformed.
        """
        self.online = Online.on(path)
        self._called: dict[int, str] = {}

    def update(self, frame: int, tracks: Tracks, names: Mapping[int, str]) -> None:
        """Count frame number ``frame``, from 0; ``names``: the gallery's, by number (``tracks.id``)."""
        self._call(frame, tracks, names)
        said = [
            UNKNOWN if who >= UNIDENTIFIED_FROM else names.get(who, self._called.get(who, str(who)))
            for who in tracks.id.tolist()
        ]
        self.online.update(frame, tracks.xyxy, said)

    def _call(self, frame: int, tracks: Tracks, names: Mapping[int, str]) -> None:
        """Find names for people seen for the first time."""
        truth = self.online.truth_at(frame)
        for row, who in enumerate(tracks.id.tolist()):
            if who >= UNIDENTIFIED_FROM or who in names or who in self._called or not len(truth):
                continue
            apart = np.abs(truth.xyxy - tracks.xyxy[row]).max(axis=1)
            nearest = int(apart.argmin())
            taken = {*self._called.values(), *(name.lower() for name in names.values())}
            if apart[nearest] <= self.online.spread and str(truth.name[nearest]) not in taken:
                self._called[who] = str(truth.name[nearest])

    def __str__(self) -> str:
        tally = self.online.tally
        score = "-" if math.isnan(tally.score) else f"{tally.score:.3f}"
        counts = f"{tally.wrong} wrong, {tally.missed} missed, {tally.fault} fault of {tally.total}"
        return f"score {score} ({counts})"

    def write(self, out: Path) -> Path:
        """Write ``score.json`` into ``out``; a score of nobody is null."""
        values = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in self.online.tally.as_dict().items()
        }
        path = out / SCORE
        write_text(path, json.dumps(values, indent=2) + "\n")
        return path
