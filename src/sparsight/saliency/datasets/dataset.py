"""A data set: images that are read when they are asked for, and what is known of each."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media import Image, read_image
from sparsight.media.paths import check_file
from sparsight.saliency.datasets.fixations import Fixations
from sparsight.saliency.result import Map

Mask = NDArray[np.bool_]
Paths = tuple[Path | None, ...]

_TURNED = (5, 6, 7, 8)  # EXIF orientations that lay a picture on its side
_EXIF_ORIENTATION = 0x0112
_WHITE = 127


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, and the fixations, densities and regions on them. Files are read when they are asked for.

    Attributes:
        name: what it is called.
        images: the picture files, in the data set's order.
        names: for each image, a name that no other has: its path in the data set without the ending.
        fixations: where people looked; None if it does not tell.
        masks: for each image, the file of its salient region (white), or None.
        densities: for each image, the file of its published density of fixations (the brighter the more), or
            None. Where there is a file it is used, else the density is made of the fixations.
        targets: for each image, the file of the region of the odd one out, or None.
        distractors: for each image, the file of the regions of all others, or None.
        sigma: deviation in pixels of the Gaussian that turns fixations into a density, about one degree of
            the visual field, where it is published; else None.
        unread: image → why, for those whose own file of fixations cannot be read; they have none here, and
            are left out of scores as images are that cannot be read.
    """

    name: str
    images: tuple[Path, ...]
    names: tuple[str, ...]
    fixations: Fixations | None = None
    masks: Paths | None = None
    densities: Paths | None = None
    targets: Paths | None = None
    distractors: Paths | None = None
    sigma: float | None = None
    unread: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image:
        """The picture, H×W×3 uint8 RGB.

        Raises:
            SparsightError: the file is missing, cut short or not a picture.
        """
        return read_image(self.images[index])

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the picture in pixels, from the head of its file.

        Raises:
            SparsightError: the file is missing or not a picture.
        """
        path = self.images[index]
        check_file(path, "picture")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with PIL.Image.open(path) as picture:
                    width, height = picture.size
                    turned = picture.getexif().get(_EXIF_ORIENTATION, 1) in _TURNED
        except Exception as error:  # decoders raise whatever a damaged head makes them trip over
            raise SparsightError(
                f"{path} is not a picture that can be read ({str(error).rstrip('.')}): copy it again."
            ) from None
        return (width, height) if turned else (height, width)

    def mask(self, index: int) -> Mask | None:
        """The salient region of the picture, H×W bool: what is brighter than half; None if there is none.

        Raises:
            SparsightError: the file is missing, cut short or not a picture.
        """
        return _region(self.masks, index)

    def target(self, index: int) -> Mask | None:
        """The region of the odd one out, H×W bool, or None; errors as for ``mask``."""
        return _region(self.targets, index)

    def distractor(self, index: int) -> Mask | None:
        """The regions of all but the odd one out, H×W bool, or None; errors as for ``mask``."""
        return _region(self.distractors, index)

    def density(self, index: int) -> Map | None:
        """The published density of fixations, H×W float32 from 0 upwards, of no particular sum; or None.

        Raises:
            SparsightError: the file is missing, cut short or not a picture.
        """
        path = None if self.densities is None else self.densities[index]
        return None if path is None else read_image(path)[..., 0].astype(np.float32)


def _region(paths: Paths | None, index: int) -> Mask | None:
    path = None if paths is None else paths[index]
    if path is None:
        return None
    return cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY) > _WHITE
