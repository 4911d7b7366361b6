"""DeepRare from image to map beside its backbone alone, from image to the same layers' features.

Both take the same steps to make the network's input, turn by turn within one run, because the speed of a
shared machine drifts; what counts is the median of the ratios. The backbone runs twice: through DeepRare's
own session, and *as published*, with zeros for padding everywhere, in a session of its own, each after a rest
and a pass that is not timed, in an order drawn anew each time. (The threads of the session that has just run
would still spin on the cores that the other needs.)

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
from sparsight.nets import Session, build, taps  # noqa: E402
from sparsight.saliency.deeprare import BACKBONES, DeepRare, network_input  # noqa: E402
from sparsight.saliency.rarity import adder  # noqa: E402
from sparsight.saliency.reading import OnnxReader  # noqa: E402

_PAUSE = 0.05  # seconds


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
    known = BACKBONES[arguments.backbone]
    network = build(arguments.backbone, weights=arguments.weights or known.weights, input_shape=(3, *side))
    published = Session(taps(network, known.layers), device="cpu")
    runs: dict[str, Callable[[], object]] = {
        "backbone as published": lambda: published.run(network_input(image, side)),
        "backbone alone": lambda: session.run(network_input(image, side)),
        "DeepRare": lambda: model(image),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds + 3):  # the first passes compile and allocate
        for name in rng.permutation(list(runs)).tolist():
            run = runs[name]
            time.sleep(_PAUSE)
            run()
            times[name].append(milliseconds(run))
    times = {name: each[3:] for name, each in times.items()}
    ratios = {
        name: statistics.median(b / a for a, b in zip(times[name], times["DeepRare"], strict=True))
        for name in list(runs)[:2]
    }
    rarity = adder().__module__.rpartition(".")[2]
    table = Table(
        box=None, title=f"{arguments.backbone}, {arguments.size} px, {arguments.threads} threads, {rarity}"
    )
    for heading in ("", "median ms", "least ms"):
        table.add_column(heading, justify="right")
    for name, each in times.items():
        table.add_row(name, f"{statistics.median(each):.2f}", f"{min(each):.2f}")
    for name, ratio in ratios.items():
        table.add_row(
            f"DeepRare / {name}", f"{ratio:.2f}", f"{min(times['DeepRare']) / min(times[name]):.2f}"
        )
    Console(width=80).print(table)
    if arguments.out:
        path = Path(arguments.out)
        kept = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        medians = {name: round(statistics.median(each), 2) for name, each in times.items()}
        least = {name: round(min(each), 2) for name, each in times.items()}
        kept[arguments.backbone] = {
            "pixels": arguments.size,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "rarity": rarity,
            "median ms": medians,
            "least ms": least,
            "median ratio of DeepRare to": {name: round(ratio, 3) for name, ratio in ratios.items()},
        }
        write_text(path, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
