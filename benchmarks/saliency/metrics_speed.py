"""Saliency metrics beside pysaliency and PySODMetrics: each as its users call it, on the same map and ground
truth.

Both take turns within one run, because the speed of a shared machine drifts; what counts is the median of the
ratios. NumPy's threads are as the environment has them, and the table says how: run it both ways. OpenCV,
which the peers leave alone, gets one.

    python -m pip install --no-deps --target .venv/peers-saliency -r benchmarks/saliency/peers.txt
    python benchmarks/saliency/metrics_speed.py --out speed.json
    OMP_NUM_THREADS=1 python benchmarks/saliency/metrics_speed.py --out speed_one_thread.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from sparsight.saliency import metrics

HERE = Path(__file__).resolve()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--fixations", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", type=Path, default=HERE.parents[2] / ".venv" / "peers-saliency")
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    return parser.parse_args()


def fixation_calls(peer: Any, saliency: np.ndarray, xy: np.ndarray, density: np.ndarray) -> dict[str, Any]:
    class Fixed(peer.SaliencyMapModel):  # type: ignore[misc]
        def _saliency_map(self, stimulus: Any) -> np.ndarray:
            return saliency

    model = Fixed(caching=False)
    stimuli = peer.Stimuli([np.zeros((*saliency.shape, 3), np.uint8)])
    x, y = xy.astype(int).T
    fixations = peer.Fixations.create_without_history(x=x, y=y, n=np.zeros(len(xy), int))
    preset = "pysaliency"
    return {
        "exact AUC": (
            lambda: metrics.auc(saliency, xy, preset=preset),
            lambda: model.AUC(stimuli, fixations),
        ),
        "AUC-Judd, jitter": (
            lambda: metrics.auc_judd(saliency, xy, preset=preset),
            lambda: model.AUC_Judd(stimuli, fixations),
        ),
        "AUC-Judd, no jitter": (
            lambda: metrics.auc_judd(saliency, xy, preset=preset, jitter=False),
            lambda: model.AUC_Judd(stimuli, fixations, jitter=False),
        ),
        # Plain functions of arrays, with nothing around them.
        "NSS": (
            lambda: metrics.nss(saliency, xy, preset=preset),
            lambda: peer.metrics.NSS(saliency, x, y).mean(),
        ),
        "CC": (lambda: metrics.cc(saliency, density), lambda: peer.metrics.CC(saliency, density)),
        "SIM": (
            lambda: metrics.sim(saliency, density, preset=preset),
            lambda: peer.metrics.SIM(saliency, density),
        ),
        "KL": (
            lambda: metrics.kl(saliency, density, preset=preset),
            lambda: peer.metrics.image_based_kl_divergence(saliency, density),
        ),
        "KL, MIT": (
            lambda: metrics.kl(saliency, density, preset="mit"),
            lambda: peer.metrics.MIT_KLDiv(saliency, density),
        ),
    }


REGIONS = [
    "f_adaptive",
    "f_max",
    "f_mean",
    "iou_adaptive",
    "iou_max",
    "iou_mean",
    "mae",
    "s_measure",
    "e_adaptive",
    "e_max",
    "e_mean",
    "weighted_f",
]


def region_calls(peer: Any, saliency: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    grey = mask.astype(np.uint8) * 255

    def theirs(makers: list[Callable[[], Any]], chosen: np.ndarray) -> Callable[[], list[Any]]:
        byte = chosen.dtype == np.uint8

        def call() -> list[Any]:
            steps = [make() for make in makers]
            for step in steps:
                step.step(chosen, grey if byte else mask, normalize=byte)
            return [step.get_results() for step in steps]

        return call

    def thresholds() -> Any:
        handlers = {
            "f": peer.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3),
            "iou": peer.IOUHandler(with_dynamic=True, with_adaptive=True),
        }
        return peer.FmeasureV2(handlers)

    byte = np.round(saliency * 255).astype(np.uint8)
    family = {
        "F and IoU": ([thresholds], REGIONS[:6]),
        "MAE": ([peer.MAE], ["mae"]),
        "S-measure": ([peer.Smeasure], ["s_measure"]),
        "E-measure": ([peer.Emeasure], ["e_adaptive", "e_max", "e_mean"]),
        "weighted F": ([peer.WeightedFmeasure], ["weighted_f"]),
        "all regions, uint8": (
            [thresholds, peer.MAE, peer.Smeasure, peer.Emeasure, peer.WeightedFmeasure],
            REGIONS,
        ),
    }
    calls: dict[str, Any] = {}
    for name, (makers, names) in family.items():
        calls[name] = (
            lambda names=names: metrics.score_map(byte, mask=mask, metrics=names),
            theirs(makers, byte),
        )
    calls["all regions, float"] = (
        lambda: metrics.score_map(saliency, mask=mask, metrics=REGIONS),
        theirs(family["all regions, uint8"][0], saliency),
    )
    return calls


def milliseconds(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) * 1000 / times


def main() -> None:
    given = arguments()
    cv2.setNumThreads(1)
    if not given.peers.is_dir():
        raise SystemExit(f"no peers in {given.peers}: install them as this file's first lines say")
    sys.path.append(str(given.peers))
    # NumPy dropped the name that pysaliency calls.
    if not hasattr(np, "trapz"):
        setattr(np, "trapz", np.trapezoid)  # noqa: B010
    warnings.simplefilter("ignore")
    import py_sod_metrics
    import pysaliency
    import pysaliency.metrics

    rng = np.random.default_rng(0)
    shape = (given.height, given.width)
    saliency = cv2.GaussianBlur(rng.random(shape), (0, 0), 20)
    saliency = (saliency - saliency.min()) / np.ptp(saliency)
    chance = (saliency**2).ravel() / (saliency**2).sum()
    row, column = np.divmod(rng.choice(chance.size, given.fixations, p=chance), given.width)
    xy = np.stack([column, row], axis=1).astype(float)
    density = metrics.density_map(xy, shape, 35.0)
    mask = cv2.GaussianBlur(rng.random(shape), (0, 0), 60)
    mask = mask > np.quantile(mask, 0.8)

    calls = {
        name: ("pysaliency", *pair)
        for name, pair in fixation_calls(pysaliency, saliency, xy, density).items()
    }
    calls |= {
        name: ("PySODMetrics", *pair) for name, pair in region_calls(py_sod_metrics, saliency, mask).items()
    }
    rows = []
    for name, (peer, ours, theirs) in calls.items():
        ours(), theirs()
        # So that a turn of the faster one is long beside the clock's and the scheduler's whims.
        times = max(1, round(5.0 / milliseconds(ours, 1)))
        pairs = [(milliseconds(ours, times), milliseconds(theirs, times)) for _ in range(given.rounds)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        rows.append({"metric": name, "peer": peer, "ms": mine, "peer_ms": other, "ratio": ratio})
    threads = os.environ.get("OMP_NUM_THREADS")
    title = (
        f"{given.width}x{given.height}, {given.fixations} fixations, medians of {given.rounds} turns, "
        f"{os.cpu_count()} cores, threads of NumPy: {threads or 'default'}, of OpenCV: 1"
    )
    table = Table(box=None, title=title)
    for heading in ("metric", "ms", "peer", "its ms", "times faster"):
        table.add_column(heading, justify="left" if heading in ("metric", "peer") else "right")
    for row in rows:
        table.add_row(
            row["metric"], f"{row['ms']:.2f}", row["peer"], f"{row['peer_ms']:.2f}", f"{row['ratio']:.1f}"
        )
    Console().print(table)
    if given.out:
        given.out.write_text(json.dumps({"setting": title, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
