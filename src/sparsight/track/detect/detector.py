"""What all detectors share, and what those with a network do: fit the image, run, decode, keep the best."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.track import boxes
from sparsight.track.detect.fitting import Placement
from sparsight.track.detect.keeping import Keep
from sparsight.track.detect.nms import nms
from sparsight.track.detect.scale import SURE, common
from sparsight.track.types import Detections, Image

PERSON = 0
"""The class of people, in COCO's 80 classes and in the person detector's one."""

IOU = 0.45
"""The overlap above which the lower of two boxes goes, unless told otherwise: a stray second box makes a
second track, which costs a tracker more than a missed person in a crowd does."""

Prepare: TypeAlias = Callable[[Image, int, int], tuple[NDArray[np.float32], Placement]]
"""(image, height, width of the input) → (C, H, W) input, and where the image lies in it."""

Decode: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Network outputs → (N, A, 4) ``xyxy`` in pixels of the network's input, and (N, A, classes) scores."""


@dataclass(eq=False)
class Detector(ABC):
    """Finds people in images. Call it with one image, or ``batch`` with several.

    Attributes:
        name: what it was built as.
        keep: what is kept of what it finds.
    """

    name: str
    keep: Keep = field(default=Keep(), init=False)

    @property
    @abstractmethod
    def device(self) -> str:
        """Where it runs: ``"cpu"`` or ``"cuda"``."""

    @abstractmethod
    def _find(self, images: Sequence[Image]) -> list[Detections]:
        """What is in each of several images, one at least, all of them checked."""

    def __call__(self, image: Image) -> Detections:
        """Detect in one image: (H, W, 3) uint8 RGB of any size.

        Returns:
            Detections, boxes in the image's pixels.

        Raises:
            SparsightError: ``image`` is no such array.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[Image]) -> list[Detections]:
        """Detect in several images, of any sizes, with one run of the network; as for one image."""
        if not images:
            return []
        found = self._find([_checked(image) for image in images])
        return [self.keep(one, *image.shape[:2]) for one, image in zip(found, images, strict=True)]


@dataclass(eq=False)
class NetworkDetector(Detector):
    """A network with its pre- and post-processing.

    Detections come in falling order of score, boxes clipped to the image.

    Attributes:
        session: the network, ready to run.
        prepare: fits an image to the network's input.
        decode: turns the network's outputs into boxes and scores.
        class_count: how many classes the network tells apart.
        score: the least score of a detection, in [0, 1], on the scale common to all detectors.
        iou: the overlap above which the lower-scoring of two boxes of one class goes.
        classes: the classes looked for; None for all. A box takes the best-scoring of them.
        sure: the network's own score that counts as ``SURE``, see :mod:`sparsight.track.detect.scale`.
    """

    session: Session
    prepare: Prepare
    decode: Decode
    class_count: int
    score: float
    iou: float
    classes: Collection[int] | None = (PERSON,)
    sure: float = SURE

    def __post_init__(self) -> None:
        check_fraction(self.name, "score", self.score)
        check_fraction(self.name, "iou", self.iou)
        if self.classes is None:
            return
        whole = isinstance(self.classes, Collection) and all(
            isinstance(number, (int, np.integer)) and 0 <= number < self.class_count
            for number in self.classes
        )
        if not whole or not self.classes:
            raise SparsightError(
                f"detector {self.name} got classes={self.classes!r}, but numbers from 0 to"
                f" {self.class_count - 1}, or None for all, are needed."
            )

    @property
    def device(self) -> str:
        """Where the network runs: ``"cpu"`` or ``"cuda"``."""
        return self.session.device

    def _find(self, images: Sequence[Image]) -> list[Detections]:
        _, height, width = self.session.input_shape
        fitted = [self.prepare(image, height, width) for image in images]
        xyxy, scores = self.decode(self.session.run(np.stack([x for x, _ in fitted])))
        return [
            self._select(xyxy[i], scores[i], placement, image)
            for i, ((_, placement), image) in enumerate(zip(fitted, images, strict=True))
        ]

    def _select(
        self, xyxy: NDArray[np.float32], scores: NDArray[np.float32], placement: Placement, image: Image
    ) -> Detections:
        """The detections among one image's (A, 4) boxes and (A, classes) scores."""
        wanted = range(self.class_count) if self.classes is None else self.classes
        classes = np.array(sorted(wanted), np.int64)
        best = scores[:, classes].argmax(axis=1)
        score = common(scores[np.arange(len(scores)), classes[best]], self.sure)
        # An untrained or damaged network may give anything; comparisons with NaN are false.
        found = np.flatnonzero((score >= self.score) & np.isfinite(xyxy).all(axis=1))
        xyxy, score, class_id = xyxy[found], score[found], classes[best[found]]
        kept = nms(xyxy, score, class_id, threshold=self.iou)
        height, width = image.shape[:2]
        on_image = boxes.clip(placement.to_image(xyxy[kept]), width, height)
        detections = Detections(on_image, np.clip(score[kept], 0, 1), class_id[kept])
        return detections[boxes.area(detections.xyxy) > 0]


def check_fraction(name: str, option: str, value: float) -> None:
    """Refuse an option of the detector ``name`` that is not in [0, 1].

    Raises:
        SparsightError: it is not.
    """
    if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise SparsightError(f"detector {name} got {option}={value!r}, but 0 to 1 is needed.")


def try_out(session: Session) -> dict[str, NDArray[Any]]:
    """The outputs for one black image, to see whether a network is of the kind that a detector needs."""
    return session.run(np.zeros((1, *session.input_shape), np.float32))


def _checked(image: Image) -> Image:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise SparsightError(f"a detector takes a uint8 image of shape (H, W, 3) in RGB, not {given}.")
    if 0 in image.shape:
        raise SparsightError(f"a detector takes an image of at least one pixel, not one of {image.shape}.")
    return image
