"""Data sets that mark fixated pixels on a map of the image: MIT1003, CAT2000, Toronto; and MIT300."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media import read_image
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.fixations import NOBODY, Run, gather, gather_each
from sparsight.saliency.datasets.listing import all_matching, names_of, one_file, pictures, subfolder
from sparsight.saliency.datasets.matlab import read_variable, reading

_HALF = 127
"""JPEG leaves a halo around a white dot: only what is brighter is a fixation."""


def mit1003(root: Path) -> Dataset:
    """MIT1003: ``ALLSTIMULI/*.jpeg`` and ``ALLFIXATIONMAPS/*_fixPts.jpg``.

    T. Judd, K. Ehinger, F. Durand, A. Torralba, "Learning to predict where humans look" (ICCV 2009): 15
    viewers, 3 s; one degree is about 35 pixels. The maps do not tell who looked, nor of two fixations on one
    pixel; the gaze of each viewer in ``DATA`` is raw and needs the authors' MATLAB code.
    """
    files = pictures(subfolder(root, "ALLSTIMULI"))
    names = names_of(files, files[0].parent)
    maps = all_matching(names, subfolder(root, "ALLFIXATIONMAPS", "ALLFIXATIONS"), "_fixPts.jpg")
    fixations, unread = gather_each(
        names, lambda image: [_marked(image, read_image(maps[image])[..., 0] > _HALF)]
    )
    return Dataset("mit1003", tuple(files), names, fixations, sigma=35.0, unread=unread)


def mit300(root: Path) -> Dataset:
    """MIT300: ``BenchmarkIMAGES/*.jpg``; its fixations are not published, so models can only be run on it.

    T. Judd, F. Durand, A. Torralba, "A benchmark of computational models of saliency to predict human
    fixations" (MIT-CSAIL-TR-2012-001). One degree is about 35 pixels.
    """
    files = pictures(subfolder(root, "BenchmarkIMAGES", "."))
    return Dataset("mit300", tuple(files), names_of(files, files[0].parent), sigma=35.0)


def cat2000(root: Path) -> Dataset:
    """CAT2000's training part: ``trainSet/Stimuli/CATEGORY/*.jpg``, ``trainSet/FIXATIONLOCS/CATEGORY/*.mat``.

    A. Borji, L. Itti, "CAT2000: A large scale fixation dataset for boosting saliency research" (CVPR 2015
    workshop): 18 viewers an image, 5 s. The maps (``fixLocs``) do not tell who looked. The folders ``Output``
    beside the images, which hold drawings of the fixations, are left out.
    """
    inside = root / "trainSet" if (root / "trainSet").is_dir() else root
    folder = subfolder(inside, "Stimuli")
    files = pictures(folder, deep=True, leave_out="output")
    names = names_of(files, folder)
    maps = all_matching(names, subfolder(inside, "FIXATIONLOCS"), ".mat")
    fixations, unread = gather_each(
        names, lambda image: [_marked(image, read_variable(maps[image], "fixLocs"))]
    )
    return Dataset("cat2000", tuple(files), names, fixations, unread=unread)


def toronto(root: Path) -> Dataset:
    """Toronto: ``Original Image Set/N.jpg`` and ``origfixdata.mat``, as ``eyetrackingdata.zip`` holds them.

    N. Bruce, J. Tsotsos, "Saliency, attention, and visual search: An information theoretic approach" (Journal
    of Vision 2009): 120 images, 20 viewers, 4 s. Entry N of ``white`` is the map of image N; it does not tell
    who looked.
    """
    inside = next(
        (root / part for part in ("eyetrackingdata/fixdens", "fixdens") if (root / part).is_dir()), root
    )
    files = pictures(subfolder(inside, "Original Image Set"), suffixes={".jpg"})
    path = one_file(inside, "origfixdata.mat")
    cells = read_variable(path, "white").reshape(-1)
    if len(cells) != len(files):
        raise SparsightError(
            f"{path} holds {len(cells)} maps for {len(files)} images: copy all files of the data set."
        )
    with reading(path):
        fixations = gather([_marked(image, np.asarray(cell)) for image, cell in enumerate(cells)])
    return Dataset("toronto", tuple(files), names_of(files, files[0].parent), fixations)


def _marked(image: int, values: NDArray[Any]) -> Run:
    """One fixation for each pixel that is not zero."""
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise SparsightError(
            f"the map of fixations of image {image + 1} is {values.dtype} {values.shape}, not H×W "
            "numbers: download it again."
        )
    y, x = np.nonzero(values)
    return image, x, y, np.nan, NOBODY
