"""Draw pictures with an odd item, and see whether a model's first fixation lands on it.

python examples/odd_one_out.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sparsight import media, saliency
from sparsight.saliency.popouts import KINDS, popout


def main(folder: str) -> None:
    model = saliency.build("deeprare")
    for kind in KINDS:
        one = popout(kind, seed=7)
        values = model(one.image).map
        found = one.catchment()[np.unravel_index(values.argmax(), values.shape)]
        both = media.beside(one.image, media.overlay(one.image, values))
        media.write_image(Path(folder) / f"{kind}.jpg", both)
        print(f"{kind}: {'found' if found else 'missed'}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
