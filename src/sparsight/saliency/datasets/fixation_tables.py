"""Data sets with a table of fixations and a segmented region for each image: PASCAL-S, DUT-OMRON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import resolve
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.fixations import Run, gather, gather_each
from sparsight.saliency.datasets.listing import (
    all_matching,
    matching,
    names_of,
    one_file,
    optional_subfolder,
    pictures,
    subfolder,
)
from sparsight.saliency.datasets.matlab import is_version_73, read_variable, reading, table

_MAX_ROWS = 1_000_000


def pascal_s(root: Path) -> Dataset:
    """PASCAL-S: ``datasets/{imgs,masks}/pascal/N.*``, ``datasets/fixations/pascalFix.mat`` of ``salObj.zip``.

    Y. Li, X. Hou, C. Koch, J. Rehg, A. Yuille, "The secrets of salient object segmentation" (CVPR 2014): 850
    images, 8 viewers, 2 s. Cell N of ``fixCell`` has rows of y, x, viewer, all from 1 on. A mask is the share
    of people who chose a place, of which at least half is the region. The MATLAB file is in format 7.3: it is
    read with h5py, or after it was saved in MATLAB with -v7.
    """
    inside = root / "datasets" if (root / "datasets").is_dir() else root
    files = pictures(subfolder(inside, "imgs/pascal"))
    names = names_of(files, files[0].parent)
    path = one_file(inside, "fixations/pascalFix.mat")
    tables = _cells_73(path, "fixCell") if is_version_73(path) else list(read_variable(path, "fixCell").flat)
    if len(tables) != len(files):
        raise SparsightError(
            f"{path} tells of {len(tables)} images, but there are {len(files)}: copy all of the files."
        )
    with reading(path):
        runs = []
        for image, cell in enumerate(tables):
            y, x, subject = table(cell, 3)[:, :3].T - 1
            runs.append((image, x, y, np.nan, subject))
        fixations = gather(runs)
    masks = matching(names, optional_subfolder(inside, "masks/pascal"), ".png")
    return Dataset("pascal_s", tuple(files), names, fixations, masks)


def dut_omron(root: Path) -> Dataset:
    """DUT-OMRON: images in ``DUT-OMRON-image``, tables in ``DUT-OMRON-eye-fixations/mat``, masks.

    C. Yang, L. Zhang, H. Lu, X. Ruan, M.-H. Yang, "Saliency detection via graph-based manifold ranking" (CVPR
    2013): 5168 images, 5 viewers, 2 s. ``s`` has rows of x, y, viewer from 1 on; the row of viewer 0 is the
    image's size. Masks are in ``pixelwiseGT-new-PNG``. Either fixations or masks may be missing.
    """
    files = pictures(subfolder(root, "DUT-OMRON-image"))
    names = names_of(files, files[0].parent)
    tables = optional_subfolder(root, "DUT-OMRON-eye-fixations/mat")
    masks = matching(names, optional_subfolder(root, "pixelwiseGT-new-PNG"), ".png")
    if tables is None and masks is None:
        raise SparsightError(
            f"{root} has neither DUT-OMRON-eye-fixations/mat nor pixelwiseGT-new-PNG: unpack one there."
        )
    if tables is None:
        return Dataset("dut_omron", tuple(files), names, masks=masks)
    paths = all_matching(names, tables, ".mat")

    def read(image: int) -> list[Run]:
        values = read_variable(paths[image], "s")
        with reading(paths[image]):
            x, y, subject = table(values, 3)[:, :3].T
        looked = subject > 0
        return [(image, x[looked], y[looked], np.nan, subject[looked] - 1)]

    fixations, unread = gather_each(names, read)
    return Dataset("dut_omron", tuple(files), names, fixations, masks, unread=unread)


def _cells_73(path: Path, name: str) -> list[NDArray[Any]]:
    """The matrices in a cell array of a MATLAB 7.3 file."""
    try:
        library = resolve("h5py")
    except ImportError:
        raise SparsightError(
            f"{path} is in MATLAB's format 7.3: pip install h5py, or save it again in MATLAB with -v7."
        ) from None
    with reading(path), library.File(path, "r") as file:
        cells = []
        for reference in file[name][()].reshape(-1):
            matrix = file[reference]
            # MATLAB marks what is empty, and stores its shape where the values would be.
            if "MATLAB_empty" in matrix.attrs:
                cells.append(np.zeros((0, 0)))
            elif matrix.ndim == 2 and matrix.size <= 3 * _MAX_ROWS:
                cells.append(np.asarray(matrix[()]).T)  # MATLAB's columns come first
            else:
                raise ValueError(f"a cell of {name} is {matrix.shape}")
    return cells
