"""Run a network fast and look inside it: official weights, two feature taps, ONNX Runtime.

python examples/tap_features.py PICTURE
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from sparsight import media, nets


def main(picture: str) -> None:
    image = cv2.resize(media.read_image(picture), (224, 224), interpolation=cv2.INTER_AREA)
    normalised = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    batch = normalised.transpose(2, 0, 1)[None].astype(np.float32)

    model = nets.build("mobilenet_v2", weights="mobilenet_v2")
    session = nets.Session(nets.taps(model, ["features.3", "features.13"]))
    for name, maps in session.run(batch).items():
        print(f"{name}: {maps.shape[1]} channels of {maps.shape[2]}x{maps.shape[3]}")


if __name__ == "__main__":
    main(sys.argv[1])
