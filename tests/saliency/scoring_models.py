"""A small data set, and models that stand in for real ones, for tests of scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparsight import media

SHAPES = {"a": (48, 64), "b": (64, 48), "c": (48, 64), "d": (40, 40)}
METRICS = ("auc", "shuffled_auc", "nss", "information_gain", "cc", "kl")
MODELS = ("center_bias", "uniform", "random")


def make_folder(root: Path, fixations: int = 12) -> Path:
    """Four images with fixations near their middles, one image (d) without any."""
    rng = np.random.default_rng(0)
    lines = ["image,x,y"]
    for name, (height, width) in SHAPES.items():
        (root / "images").mkdir(parents=True, exist_ok=True)
        media.write_image(root / "images" / f"{name}.jpg", rng.integers(0, 256, (height, width, 3), np.uint8))
        if name != "d":
            xy = rng.normal([width / 2, height / 2], [width / 7, height / 7], (fixations, 2))
            lines += [f"{name}.jpg,{x:.2f},{y:.2f}" for x, y in xy.clip(0, [width - 1, height - 1])]
    (root / "fixations.csv").write_text("\n".join(lines) + "\n")
    return root
