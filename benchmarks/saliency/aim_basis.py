"""Computes the basis of the model ``aim``: independent components of patches of photographs.

Patches of random places of Caltech-101's pictures (Li, Andreeto, Ranzato and Perona, CC BY 4.0) are projected
on the principal components that hold 95% of their variance, and FastICA (scikit-learn) turns those into
independent ones. Each row of the unmixing matrix is a filter; it is scaled to length one, its sign is chosen
so that its largest weight is positive, and the rows are sorted by the variance that their responses have.

    python benchmarks/saliency/aim_basis.py PATH/caltech101_128px_imagefolder.tar.gz \
        src/sparsight/saliency/classic/aim_basis.npy
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FastICA

from sparsight.media import decode_image

SIDE = 11
PICTURES = 3000
PATCHES = 30  # of each picture
VARIANCE = 0.95


def patches(archive: Path, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 3·SIDE²) patches of RGB in [0, 1]."""
    with tarfile.open(archive) as tar:
        members = sorted(
            (
                member
                for member in tar.getmembers()
                if member.name.endswith(".jpg") and "BACKGROUND_Google" not in member.name
            ),
            key=lambda member: member.name,
        )
        chosen = {members[i].name for i in rng.choice(len(members), PICTURES, replace=False)}
        taken = []
        for member in members:
            stream = tar.extractfile(member) if member.name in chosen else None
            if stream is None:
                continue
            image = decode_image(stream.read(), member.name)
            for _ in range(PATCHES):
                top, left = (int(rng.integers(side - SIDE + 1)) for side in image.shape[:2])
                taken.append(image[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1).ravel())
    return np.array(taken) / 255


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    data = patches(arguments.archive, np.random.default_rng(0))
    data -= data.mean(axis=0)
    variance, axes = np.linalg.eigh(data.T @ data / len(data))
    variance, axes = variance[::-1], axes[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(variance) / variance.sum(), VARIANCE)) + 1
    white = data @ axes[:, :kept] / np.sqrt(variance[:kept])
    ica = FastICA(whiten=False, fun="logcosh", max_iter=1000, tol=1e-4, random_state=0).fit(white)
    filters = ica.components_ / np.sqrt(variance[:kept]) @ axes[:, :kept].T
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    filters *= np.sign(filters[np.arange(kept), np.abs(filters).argmax(axis=1)])[:, None]
    filters = filters[np.argsort(-(data @ filters.T).var(axis=0))]
    np.save(arguments.out, filters.reshape(kept, 3, SIDE, SIDE).astype(np.float16))
    print(f"{kept} filters of {SIDE}×{SIDE} from {len(data)} patches")


if __name__ == "__main__":
    main()
