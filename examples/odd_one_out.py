"""Draw pictures with an odd item, and count how often a model's first fixation lands on it.

python examples/odd_one_out.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sparsight import media, saliency
from sparsight.saliency.popouts import KINDS, popouts

COUNT = 10


def main(folder: str) -> None:
    model = saliency.build("deeprare")
    for kind in KINDS:
        found = 0
        for one in popouts(kind, COUNT):
            values = model(one.image).map
            found += int(one.catchment()[np.unravel_index(values.argmax(), values.shape)])
        print(f"{kind}: found in {found} of {COUNT}")
        both = media.beside(one.image, media.overlay(one.image, values))
        media.write_image(Path(folder) / f"{kind}.jpg", both)


if __name__ == "__main__":
    main(*sys.argv[1:2])
