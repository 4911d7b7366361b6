"""DeepRare from image to map beside its backbone alone, from image to the same layers' features.

Both run through the same session and take the same steps to make the network's input, turn by turn within one
run, because the speed of a shared machine drifts; what counts is the median of the ratios.

    python benchmarks/saliency/deeprare_speed.py --backbone vgg16 --weights hed_vgg16 --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backbone", default="mobilenet_v2")
parser.add_argument("--weights", help="asset or file instead of the backbone's own")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--rounds", type=int, default=100)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--out", help="a JSON file to add the figures to, under the backbone's name")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import cv2  # noqa: E402  (after the number of threads is set)
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from sparsight.files import write_text  # noqa: E402
from sparsight.saliency.deeprare import DeepRare, network_input  # noqa: E402
from sparsight.saliency.rarity import adder  # noqa: E402
from sparsight.saliency.reading import OnnxReader  # noqa: E402


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
    model = DeepRare(arguments.backbone, weights=arguments.weights, size=arguments.size, device="cpu")
    assert isinstance(model._reader, OnnxReader)
    session = model._reader._session
    alone, whole = [], []
    for _ in range(3):  # the first passes compile and allocate
        session.run(network_input(image, side))
        model(image)
    for _ in range(arguments.rounds):
        alone.append(milliseconds(lambda: session.run(network_input(image, side))))
        whole.append(milliseconds(lambda: model(image)))
    ratio = statistics.median(b / a for a, b in zip(alone, whole, strict=True))
    rarity = adder().__module__.rpartition(".")[2]
    table = Table(
        box=None, title=f"{arguments.backbone}, {arguments.size} px, {arguments.threads} threads, {rarity}"
    )
    for heading in ("", "median ms", "least ms"):
        table.add_column(heading, justify="right")
    for name, times in (("backbone alone", alone), ("DeepRare", whole)):
        table.add_row(name, f"{statistics.median(times):.2f}", f"{min(times):.2f}")
    table.add_row("ratio", f"{ratio:.2f}", f"{min(whole) / min(alone):.2f}")
    Console(width=80).print(table)
    if arguments.out:
        path = Path(arguments.out)
        kept = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        kept[arguments.backbone] = {
            "pixels": arguments.size,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "rarity": rarity,
            "backbone alone, median ms": round(statistics.median(alone), 2),
            "DeepRare, median ms": round(statistics.median(whole), 2),
            "median ratio": round(ratio, 3),
        }
        write_text(path, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
