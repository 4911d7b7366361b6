"""Where people looked: all fixations of a data set in aligned arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError

Floats = NDArray[np.float64]

Run: TypeAlias = tuple[int, ArrayLike, ArrayLike, ArrayLike, ArrayLike]
"""Fixations on an image: its index, x, y, duration, subject; the last two may be one number for all."""

NOBODY = -1
"""The subject of a fixation whose viewer the data set does not tell."""


@dataclass(frozen=True, eq=False)
class Fixations:
    """Fixations, one an entry, sorted by image; those of one viewer on an image stay in their order.

    Attributes:
        x: (N,) float64, pixels from the left; a fixation lies in the pixel of column ``floor(x)``.
        y: (N,) float64, pixels from the top.
        duration: (N,) float64, seconds; NaN where the data set does not tell.
        subject: (N,) int32, number of the viewer; -1 where the data set does not tell.
        image: (N,) int64, index of the image, ascending.
    """

    x: Floats
    y: Floats
    duration: Floats
    subject: NDArray[np.int32]
    image: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def of(self, image: int) -> slice:
        """Where in the arrays the fixations on the image of this index are."""
        first, last = np.searchsorted(self.image, [image, image + 1])
        return slice(int(first), int(last))

    def xy(self, image: int) -> Floats:
        """The places of the fixations on one image, (n, 2) float64 of (x, y)."""
        here = self.of(image)
        return np.stack([self.x[here], self.y[here]], axis=1)

    def counts(self, images: int) -> NDArray[np.int64]:
        """How many fixations each of so many images has, (images,) int64."""
        return np.bincount(self.image, minlength=images)

    def keep(self, chosen: NDArray[np.bool_]) -> Fixations:
        """Those where ``chosen``, (N,), is true."""
        return Fixations(
            self.x[chosen],
            self.y[chosen],
            self.duration[chosen],
            self.subject[chosen],
            self.image[chosen],
        )

    def inside(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which fixations lie on their image, (N,); one without a place (NaN) does not.

        Args:
            sizes: (images, 2) height and width of each image in pixels.
        """
        height, width = sizes[self.image].T
        within: NDArray[np.bool_] = (self.x >= 0) & (self.x < width) & (self.y >= 0) & (self.y < height)
        return within


def gather(runs: Sequence[Run]) -> Fixations:
    """Fixations from runs."""
    if not runs:
        none = np.zeros(0)
        return Fixations(none, none, none, none.astype(np.int32), none.astype(np.int64))
    lengths = [np.size(x) for _, x, _, _, _ in runs]
    parts = [
        [np.broadcast_to(np.asarray(part, np.float64).reshape(-1), (length,)) for part in run[1:]]
        for run, length in zip(runs, lengths, strict=True)
    ]
    x, y, duration, subject = (np.concatenate(column) for column in zip(*parts, strict=True))
    image = np.repeat(np.array([run[0] for run in runs], np.int64), lengths)
    return in_order(x, y, duration, subject, image)


def gather_each(
    names: Sequence[str], read: Callable[[int], Sequence[Run]]
) -> tuple[Fixations, dict[str, str]]:
    """Fixations of images that have a file of them each; one that cannot be read costs that image only.

    Args:
        names: of the images.
        read: from the index of an image to its runs, see ``gather``.

    Returns:
        The fixations, and image → what is wrong with its file, for those that cannot be read.

    Raises:
        SparsightError: none can be read; the sentence is that of the first.
    """
    runs: list[Run] = []
    unread: dict[str, str] = {}
    for image, name in enumerate(names):
        try:
            runs += read(image)
        except SparsightError as error:
            unread[name] = str(error)
    if unread and len(unread) == len(names):
        raise SparsightError(next(iter(unread.values())))
    return gather(runs), unread


def in_order(x: Floats, y: Floats, duration: Floats, subject: ArrayLike, image: ArrayLike) -> Fixations:
    """Fixations from arrays (N,) in any order of images."""
    image = np.asarray(image, np.int64)
    order = np.argsort(image, kind="stable")
    people = np.asarray(subject).astype(np.int32)[order]
    return Fixations(x[order], y[order], duration[order], people, image[order])
