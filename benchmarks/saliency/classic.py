"""Models of attention on OSIE: NSS, AUC and shuffled AUC against fixations, and milliseconds per image.

Every model sees every image once, turn by turn, so that the drift of a shared machine's speed meets all
alike; the time is the median of the processor time that a map took, over all threads. Negatives of the
shuffled AUC are the fixations on ten other images.

    python benchmarks/saliency/classic.py --root PATH/osie --images 100
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from sparsight import __version__, saliency
from sparsight.files import write_text
from sparsight.saliency import metrics
from sparsight.saliency.datasets import load

MODELS = [
    "center_bias",
    "spectral_residual",
    "signature",
    "itti",
    "gbvs",
    "covsal",
    "aim",
    "rare2007",
    "rare2012",
    "face",
    "fused:rare2012+face",
    "deeprare",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    osie = load("osie", arguments.root)
    assert osie.fixations is not None
    models = {name: saliency.build(name) for name in arguments.models.split(",")}
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in models}
    times: dict[str, list[float]] = {name: [] for name in models}
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(osie) - 1, arguments.images).astype(int).tolist():
        image = osie.image(index)
        shape = image.shape[:2]
        xy, _ = metrics.inside(osie.fixations.xy(index), shape)
        others = rng.choice(np.delete(np.arange(len(osie)), index), 10, replace=False)
        elsewhere, _ = metrics.inside(np.concatenate([osie.fixations.xy(int(i)) for i in others]), shape)
        for name, model in models.items():
            start = time.process_time()
            values = saliency.predict(model, image, osie.names[index]).map
            times[name].append((time.process_time() - start) * 1000)
            rows[name].append(
                (
                    metrics.nss(values, xy),
                    metrics.auc(values, xy),
                    metrics.shuffled_auc(values, xy, elsewhere),
                )
            )
    table = Table(box=None, title=f"{arguments.images} images of OSIE")
    for heading in ("", "NSS", "AUC", "sAUC", "ms"):
        table.add_column(heading, justify="right" if heading else "left")
    found = {}
    for name in models:
        nss, auc, sauc = np.mean(rows[name], axis=0)
        table.add_row(
            name, f"{nss:.2f}", f"{auc:.3f}", f"{sauc:.3f}", f"{statistics.median(times[name]):.0f}"
        )
        found[name] = {
            "nss": round(float(nss), 3),
            "auc": round(float(auc), 4),
            "shuffled_auc": round(float(sauc), 4),
            "milliseconds": round(statistics.median(times[name]), 1),
        }
    Console().print(table)
    if arguments.out:
        kept = {"version": __version__, "images": arguments.images, "models": found}
        write_text(arguments.out, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
