"""Draw what in a picture draws the eye, and why: the map, its levels, and a sheet that explains it.

python examples/where_the_eye_goes.py PICTURE FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from sparsight import media, saliency


def main(picture: str, folder: str) -> None:
    image = media.read_image(picture)
    result = saliency.build("deeprare")(image)
    out = Path(folder)
    media.write_image(out / "overlay.jpg", media.overlay(image, result.map))
    media.write_image(out / "explained.png", saliency.explain(result))
    for name, level in result.levels.items():
        media.write_image(out / f"{name}.png", media.heat(level))
    print(f"{len(result.levels)} levels drawn into {out}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
