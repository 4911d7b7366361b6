"""DeepRare from image to map beside its backbone alone, from image to class scores.

Both run through the same runtime and take the same steps to make the network's input, turn by turn within one
run, because the speed of a shared machine drifts; what counts is the median of the ratios.

    python benchmarks/saliency/deeprare_speed.py --size 224 --threads 1
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backbone", default="mobilenet_v2")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--rounds", type=int, default=100)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--device", default="cpu")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import cv2  # noqa: E402  (after the number of threads is set)
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from sparsight import nets, saliency  # noqa: E402
from sparsight.saliency.deeprare import BACKBONES, network_input  # noqa: E402


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    cv2.setNumThreads(arguments.threads)
    side = (arguments.size, arguments.size)
    rng = np.random.default_rng(0)
    # Smoothed noise: as varied as a photograph, and needs no file.
    image = cv2.GaussianBlur(rng.integers(0, 256, (600, 800, 3), np.uint8), (0, 0), 5)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    weights = BACKBONES[arguments.backbone].weights
    network = nets.build(arguments.backbone, weights=weights, input_shape=(3, *side))
    session = nets.Session(network, device=arguments.device)
    model = saliency.build(
        "deeprare", backbone=arguments.backbone, size=arguments.size, device=arguments.device
    )
    alone, whole = [], []
    for _ in range(arguments.rounds):
        alone.append(milliseconds(lambda: session(network_input(image, side))))
        whole.append(milliseconds(lambda: model(image)))
    ratio = statistics.median(b / a for a, b in zip(alone, whole, strict=True))
    table = Table(box=None, title=f"{arguments.backbone}, {arguments.size} px, {arguments.threads} threads")
    for heading in ("", "median ms"):
        table.add_column(heading, justify="right")
    table.add_row("backbone alone", f"{statistics.median(alone):.2f}")
    table.add_row("DeepRare", f"{statistics.median(whole):.2f}")
    table.add_row("ratio", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
