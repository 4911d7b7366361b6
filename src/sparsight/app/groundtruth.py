"""Running figures while ``watch`` runs: PoseTReID's scores, frame by frame, against ground truth."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.app.outputs import SCORE
from sparsight.files import write_text
from sparsight.track.metrics.pyppbox import ONLINE_SPREAD, Online

PRESET = "pyppbox4"
"""The arithmetic of the running figures, unless another is asked for."""


class RunningScore:
    """Compares the people of each frame with the true ones.

    Somebody without a name is called after the true person beside whom they first stood, unless another is
    called so already: then, and wherever else they turn up, they count as wrong. So numbers can be scored
    against names.

    Attributes:
        online: the counts so far.
    """

    def __init__(self, path: Path, preset: str = PRESET, spread: float = ONLINE_SPREAD) -> None:
        """Read the ground truth.

        Args:
            path: a file in any of ``sparsight.track.formats.FORMATS``.
            preset, spread: see :class:`sparsight.track.metrics.pyppbox.Online`.

        Raises:
            SparsightError: it cannot be read, or is malformed, or there is no such preset or spread.
        """
        self.online = Online.on(path, preset=preset, spread=spread)
        self._called: dict[int, str] = {}

    def update(
        self,
        frame: int,
        xyxy: NDArray[np.float64],
        number: NDArray[np.int64],
        names: Sequence[str | None],
        given: Collection[str] = (),
    ) -> list[str]:
        """Count frame number ``frame``, from 0.

        Args:
            frame: its number.
            xyxy: (N, 4) boxes.
            number: (N,) what stands for each person.
            names: (N,) who each is said to be; None for somebody who has no name.
            given: all names that somebody has, whether they are there or not.

        Returns:
            (N,) what each was taken to be called.
        """
        self._call(frame, xyxy, number, names, given)
        said = [
            self._called.get(who, str(who)) if name is None else name
            for who, name in zip(number.tolist(), names, strict=True)
        ]
        self.online.update(frame, xyxy, said)
        return said

    def _call(
        self,
        frame: int,
        xyxy: NDArray[np.float64],
        number: NDArray[np.int64],
        names: Sequence[str | None],
        given: Collection[str],
    ) -> None:
        """Find names for people seen for the first time."""
        truth = self.online.truth_at(frame)
        for row, (who, said) in enumerate(zip(number.tolist(), names, strict=True)):
            if said is not None or who in self._called or not len(truth):
                continue
            apart = np.abs(truth.xyxy - xyxy[row]).max(axis=1)
            nearest = int(apart.argmin())
            taken = {*self._called.values(), *(name.lower() for name in given)}
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
