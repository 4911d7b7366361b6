"""Data sets whose MATLAB files hold a struct for each viewer: OSIE, SALICON, FIGRIM."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparsight.errors import SparsightError
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.fixations import Run, gather, gather_each
from sparsight.saliency.datasets.listing import (
    all_matching,
    names_of,
    one_file,
    optional_subfolder,
    pictures,
    subfolder,
)
from sparsight.saliency.datasets.matlab import column, read_variable, reading, rows, table, text

_MILLISECONDS = 1e-3


def osie(root: Path) -> Dataset:
    """OSIE: ``stimuli/*.jpg`` and ``eye/fixations.mat``, 15 viewers an image, free viewing for 3 s.

    J. Xu, M. Jiang, S. Wang, M. Kankanhalli, Q. Zhao, "Predicting human gaze beyond pixels" (Journal of
    Vision 2014). One degree is 24 pixels. Coordinates are taken as they stand in the file.
    """
    files = pictures(subfolder(root, "stimuli", "data/stimuli"))
    path = one_file(root, "eye/fixations.mat", "data/eye/fixations.mat")
    index = {file.name: number for number, file in enumerate(files)}
    runs = []
    records = read_variable(path, "fixations")
    with reading(path):
        for record in rows(records):
            name = text(record["img"])
            if name not in index:
                raise SparsightError(
                    f"{files[0].parent} has no {name}, which {path} tells of: copy the images again."
                )
            for subject, viewer in enumerate(rows(record["subjects"])):
                x, y = column(viewer["fix_x"]), column(viewer["fix_y"])
                runs.append((index[name], x, y, column(viewer["fix_duration"]) * _MILLISECONDS, subject))
        fixations = gather(runs)
    return Dataset("osie", tuple(files), names_of(files, files[0].parent), fixations, sigma=24.0)


def salicon(root: Path) -> Dataset:
    """SALICON, the training or validation part: ``images/PART/*.jpg`` and ``fixations/PART/*.mat``.

    M. Jiang, S. Huang, J. Duan, Q. Zhao, "SALICON: Saliency in Context" (CVPR 2015). Viewers moved a mouse;
    taken are the fixations inferred from it, from which 1 is subtracted for MATLAB's counting. The validation
    part is read where both are there, since scores are published on it.
    """
    part = next((part for part in ("val", "train") if (root / "images" / part).is_dir()), None)
    if part is None:
        raise SparsightError(f"{root} has no images/val or images/train: unpack SALICON's images there.")
    folder = root / "images" / part
    files = pictures(folder)
    names = names_of(files, folder)
    mats = all_matching(names, subfolder(root, f"fixations/{part}"), ".mat")

    def read(image: int) -> list[Run]:
        gaze = read_variable(mats[image], "gaze")
        with reading(mats[image]):
            viewers = [table(viewer["fixations"], 2)[:, :2].T - 1 for viewer in rows(gaze)]
        return [(image, x, y, np.nan, subject) for subject, (x, y) in enumerate(viewers)]

    fixations, unread = gather_each(names, read)
    return Dataset(f"salicon_{part}", tuple(files), names, fixations, unread=unread)


def figrim(root: Path) -> Dataset:
    """FIGRIM: ``Targets/CATEGORY/*.jpg`` and ``Fillers/CATEGORY/*.jpg``, each with its own MATLAB file.

    Z. Bylinskii, P. Isola, C. Bainbridge, A. Torralba, A. Oliva, "Intrinsic and extrinsic effects on image
    memorability" (Vision Research 2015). Viewers had to tell repeated images; taken is their first sight of
    an image. The MATLAB files are ``allImages_release.mat`` (targets) and ``allImages_fillers.mat``, beside
    the images or in ``targetData`` and ``fillerData``; one part may be missing.
    """
    parts = [
        (folder, f"allImages_{kind}.mat", place)
        for folder, kind, place in (
            (optional_subfolder(root, "Targets"), "release", "targetData"),
            (optional_subfolder(root, "Fillers"), "fillers", "fillerData"),
        )
        if folder is not None
    ]
    if not parts:
        raise SparsightError(f"{root} has neither Targets nor Fillers: unpack FIGRIM's images there.")
    files = [path for folder, _, _ in parts for path in pictures(folder, deep=True)]
    names = names_of(files, root)
    index = {file.name: number for number, file in enumerate(files)}
    runs = []
    for _, file, place in parts:
        path = one_file(root, file, f"{place}/{file}")
        records = read_variable(path, "allImages")
        with reading(path):
            for record in rows(records):
                image = index.get(text(record["filename"]))
                if image is None:
                    continue  # the files tell of more images than are published
                for subject, viewer in enumerate(rows(record["userdata"])):
                    for sight in rows(viewer["fixations"]) if viewer["fixations"].size else ():
                        x, y = table(sight["enc"], 2)[:, :2].T
                        runs.append((image, x, y, np.nan, subject))
    return Dataset("figrim", tuple(files), names, gather(runs))
