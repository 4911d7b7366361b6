"""Data sets of the odd one out, with a mask of it and one of all others: P3 and O3.

I. Kotseruba, C. Wloka, A. Rasouli, J. K. Tsotsos, "Do saliency models detect odd-one-out targets? New
datasets and evaluations" (BMVC 2019).
"""

from __future__ import annotations

from pathlib import Path

from sparsight.errors import SparsightError
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.listing import all_matching, names_of, pictures, subfolder

_KINDS = ("colors", "orientations", "sizes")
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
_TARGETS = ("targ_images", "targ_labels")
_DISTRACTORS = ("dist_images", "dist_labels")


def p3(root: Path) -> Dataset:
    """P3: ``{colors,orientations,sizes}/{images,targ_images,dist_images}/*.png``; of the kinds, any will do.

    2514 arrays of 7 x 7 things, one of which differs.
    """
    kinds = [kind for kind in _KINDS if (root / kind).is_dir()]
    if not kinds:
        raise SparsightError(f"{root} has none of the folders {', '.join(_KINDS)}: unpack P3_data.zip there.")
    parts = [_part("p3", root / kind, root) for kind in kinds]
    return Dataset(
        "p3",
        tuple(path for part in parts for path in part.images),
        tuple(name for part in parts for name in part.names),
        targets=tuple(path for part in parts for path in part.targets or ()),
        distractors=tuple(path for part in parts for path in part.distractors or ()),
    )


def o3(root: Path) -> Dataset:
    """O3: ``{images,targ_images,dist_images}/*``: 2001 photographs of things alike, one of which differs."""
    return _part("o3", root, root)


def _part(name: str, folder: Path, root: Path) -> Dataset:
    images = subfolder(folder, "images")
    files = pictures(images)
    own = names_of(files, images)
    prefix = "" if folder == root else f"{folder.name}/"
    return Dataset(
        name,
        tuple(files),
        tuple(f"{prefix}{each}" for each in own),
        targets=all_matching(own, subfolder(folder, *_TARGETS), *_ENDINGS),
        distractors=all_matching(own, subfolder(folder, *_DISTRACTORS), *_ENDINGS),
    )
