"""Data sets of segmented salient regions: ECSSD, MSRA-B, SOD; and Jian Li's, with fixations too."""

from __future__ import annotations

from pathlib import Path

from sparsight.errors import SparsightError
from sparsight.saliency.datasets.dataset import Dataset
from sparsight.saliency.datasets.listing import all_matching, matching, names_of, pictures, subfolder

_MASKS = (".png", ".bmp", ".jpg")


def ecssd(root: Path) -> Dataset:
    """ECSSD: ``images/*.jpg`` and ``ground_truth_mask/*.png``.

    Q. Yan, L. Xu, J. Shi, J. Jia, "Hierarchical saliency detection" (CVPR 2013): 1000 images.
    """
    return _paired("ecssd", root, ("images",), ("ground_truth_mask",))


def msra_b(root: Path) -> Dataset:
    """MSRA-B: ``N.jpg`` and its mask ``N.png`` in one folder, as published with the masks of H. Jiang et al.

    T. Liu, J. Sun, N.-N. Zheng, X. Tang, H.-Y. Shum, "Learning to detect a salient object" (CVPR 2007); masks
    of H. Jiang, J. Wang, Z. Yuan, Y. Wu, N. Zheng, S. Li, "Salient object detection: A discriminative
    regional feature integration approach" (CVPR 2013): 5000 images.
    """
    folder = subfolder(root, "MSRA-B", ".")
    files = pictures(folder, suffixes={".jpg"})
    names = names_of(files, folder)
    return Dataset("msra_b", tuple(files), names, masks=all_matching(names, folder, ".png"))


def sod(root: Path) -> Dataset:
    """SOD: ``images/*.jpg`` and ``masks/*.png``.

    V. Movahedi, J. H. Elder, "Design and perceptual validation of performance measures for salient object
    segmentation" (CVPR workshops 2010): 300 images of the Berkeley segmentation data set.
    """
    return _paired("sod", root, ("images", "Imgs"), ("masks", "GT"))


def jian_li(root: Path) -> Dataset:
    """Jian Li's (ImgSal): pictures, maps of fixations and masks of regions, each in a folder of its own.

    J. Li, M. Levine, X. An, X. Xu, H. He, "Visual saliency based on scale-space analysis in the frequency
    domain" (PAMI 2013): 235 images, 21 viewers. The folders are ``images``, ``fixations`` (a grey map of the
    density of fixations for each image) and ``regions``; one of the last two may be missing.
    """
    folder = subfolder(root, "images")
    files = pictures(folder)
    names = names_of(files, folder)
    densities = matching(names, root / "fixations", *_MASKS)
    masks = matching(names, root / "regions", *_MASKS)
    if not any(densities or ()) and not any(masks or ()):
        raise SparsightError(
            f"{root} has no files in fixations or regions that go with images: copy those there."
        )
    return Dataset("jian_li", tuple(files), names, densities=densities, masks=masks)


def _paired(name: str, root: Path, images: tuple[str, ...], masks: tuple[str, ...]) -> Dataset:
    folder = subfolder(root, *images)
    files = pictures(folder, suffixes={".jpg", ".jpeg", ".bmp"})
    names = names_of(files, folder)
    return Dataset(name, tuple(files), names, masks=all_matching(names, subfolder(root, *masks), *_MASKS))
