"""What people are called in a run: by a trained classifier, by the gallery, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.app.sights import UNIDENTIFIED_FROM
from sparsight.files import replacing
from sparsight.track import Embedder, build_embedder
from sparsight.track.classify import Classifier
from sparsight.track.classify_file import load_classifier
from sparsight.track.classify_tracks import check_embedder
from sparsight.track.formats import pyppbox
from sparsight.track.formats.table import UNKNOWN, Table
from sparsight.track.motchallenge import TrackWriter
from sparsight.track.types import Tracks

_BREAKS = str.maketrans("\t\r\n", "   ")


@dataclass(frozen=True)
class Known:
    """People that a classifier knows.

    Attributes:
        classifier: what ``sparsight identity train`` made.
        embedder: makes the vectors that it was trained on.
    """

    classifier: Classifier
    embedder: Embedder


def known_people(path: Path, embedder: Embedder | None, device: str) -> Known:
    """Load a classifier, and its embedder unless ``embedder`` has the same weights.

    Raises:
        SparsightError: the file cannot be read, or its weights are not to be had.
    """
    classifier = load_classifier(path)
    if embedder is None or embedder.name != classifier.weights:
        embedder = build_embedder(classifier.embedder, device=device)
        check_embedder(classifier, embedder)
    return Known(classifier, embedder)


def names_of(
    number: NDArray[np.int64],
    called: NDArray[np.int64] | None,
    people: Sequence[str],
    given: Mapping[int, str],
) -> list[str | None]:
    """Who each of the tracks of one frame is said to be.

    Args:
        number: (N,) what stands for each in result files: a person, or from a million on nobody known.
        called: (N,) row of ``people``, -1 for unknown; None where no classifier was asked.
        people: the names that the classifier knows.
        given: names in the gallery, by person.

    Returns:
        For each the classifier's name; else the gallery's, unless somebody else in the frame is called so;
        else ``Unknown``, or None for a person who has a number and no name, where no classifier was asked.
        All fit into a field of PoseTReID's text.
    """
    numbers = number.tolist()
    hand = {who: clean(given[who]) for who in numbers if who in given}
    if called is None:
        return [hand.get(who, UNKNOWN if who >= UNIDENTIFIED_FROM else None) for who in numbers]
    first = [clean(people[row]) if row >= 0 else None for row in called.tolist()]
    taken = {name for name in first if name is not None}
    return [
        name or (UNKNOWN if hand.get(who, UNKNOWN) in taken else hand.get(who, UNKNOWN))
        for name, who in zip(first, numbers, strict=True)
    ]


def whole_pixels(tracks: Tracks) -> NDArray[np.float64]:
    """(N, 4) boxes in whole pixels, as PoseTReID's text holds them."""
    boxes: NDArray[np.float64] = tracks.xyxy.astype(np.float64).round()
    return boxes


class PeopleWriter:
    """Appends the people of one frame after another, by name, to a file in PoseTReID's text.

    Whenever the process is killed, the file ends with a whole line.
    """

    def __init__(self, path: Path) -> None:
        """Start the file anew.

        Raises:
            SparsightError: it cannot be written.
        """
        self.path = path
        self._file = TrackWriter(path)

    def write(self, frame: int, xyxy: NDArray[np.float64], names: Sequence[str]) -> None:
        """Append the people of frame number ``frame``, from 0.

        Args:
            frame: its number.
            xyxy: (N, 4) boxes in whole pixels.
            names: (N,) who they are said to be.

        Raises:
            SparsightError: the file cannot be written to.
        """
        count = len(names)
        xywh = np.concatenate((xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]), axis=1)
        # Two names, as in the toolbox's own results: the second is that of another re-identifier.
        said = {"name": np.array(names, object)}
        said["second_name"] = np.full(count, UNKNOWN, object)
        table = Table(np.full(count, frame), np.zeros(count, np.int64), xywh, said)
        self._file.append(pyppbox.write(table).encode())

    def finish(self) -> Path:
        """Close the file and take out what kept its lines whole: blanks at the ends of pages.

        Raises:
            OSError: it cannot be written.
        """
        self.close()
        with self.path.open("rb") as lines, replacing(self.path) as temporary, temporary.open("wb") as tidy:
            for line in lines:
                if text := line.rstrip():
                    tidy.write(text + b"\n")
        return self.path

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def clean(name: str) -> str:
    """A name that fits into a field: without tabs and line breaks, and of letters that UTF-8 has."""
    return name.translate(_BREAKS).encode("utf-8", "replace").decode()
