"""How bright a model's maps are in their corners, where a network sees its own padding from two sides.

The mean of a map's four corners, each an eighth of either side, over the mean of the whole map: one where
corners are like the rest. Photographs have little there that draws the eye, so less is right; more than that
is what padding adds.

    python benchmarks/saliency/corners.py --root OSIE --models deeprare,deeprare2019,itti,spectral_residual
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sparsight import media, saliency
from sparsight.spelling import split_names

PART = 8
"""A corner is so much of a side."""


def corners(values: NDArray[np.float32]) -> float:
    """The mean of the four corners of a map (H, W) over its own."""
    tall, wide = values.shape[0] // PART, values.shape[1] // PART
    sides = np.concatenate([values[:tall], values[-tall:]])
    return float(np.concatenate([sides[:, :wide], sides[:, -wide:]]).mean() / values.mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of OSIE, with its stimuli")
    parser.add_argument("--models", default="deeprare")
    parser.add_argument("--every", type=int, default=7, help="take every so manieth picture")
    arguments = parser.parse_args()
    files = sorted((arguments.root / "stimuli").iterdir())[:: arguments.every]
    shown = Table(box=None, title=f"Corners over the whole map, {len(files)} pictures")
    for heading in ("", "mean", "half of the pictures below", "nine in ten below"):
        shown.add_column(heading, justify="right")
    for name in split_names(arguments.models):
        model = saliency.build(name)
        maps = (model(media.read_image(file)).map for file in track(files, name, transient=True))
        ratios = np.array([corners(values) for values in maps])
        shown.add_row(name, *(f"{value:.2f}" for value in (ratios.mean(), *np.quantile(ratios, [0.5, 0.9]))))
    Console().print(shown)


if __name__ == "__main__":
    main()
