"""What looks are worth: trackers with and without appearance vectors on every detection, same detections.

    SPARSIGHT_ASSETS=... python benchmarks/track/looks.py --out benchmarks/track/results
    SPARSIGHT_ASSETS=... python benchmarks/track/looks.py --embedder osnet_ain_x1_0

On the sequences of MOT15 that have frames here (those of PETS09-S2L1 are vtest.avi). The frames are shown to
the embedder alone, so looks are all that differs. IDF1 of each sequence and of all, and HOTA of all, by our
own evaluation, which gives what ``trackeval`` gives.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import record
from rich.console import Console
from rich.table import Table

from sparsight.track import Detections, build_embedder, build_tracker, sequences

SEQUENCES = ("TUD-Campus", "TUD-Stadtmitte", "PETS09-S2L1")


def with_frames(folder: Path) -> list[sequences.LabelledSequence]:
    """The sequences, in order; the film of PETS09-S2L1 lies beside its folder."""
    film = folder / "vtest.avi"
    return [
        replace(one, film=film) if one.name == "PETS09-S2L1" else one
        for one in sequences.find(folder, SEQUENCES)
    ]


def row(
    tracker: str, looks: str, found: list[tuple[sequences.LabelledSequence, list[Detections]]]
) -> dict[str, Any]:
    results = [(one, sequences.followed(one, seen, build_tracker(tracker))[0]) for one, seen in found]
    values = sequences.scored(results, ["hota", "identity"], benchmark="mot15")
    idf1 = {name: round(100 * values["sequences"][name]["identity"]["IDF1"], 1) for name in SEQUENCES}
    return {
        "tracker": tracker,
        "looks": looks,
        **{f"IDF1 {name}": value for name, value in idf1.items()},
        "IDF1 all": round(100 * values["identity"]["IDF1"], 1),
        "HOTA all": round(100 * float(values["hota"]["HOTA"].mean()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--detector", default="det_frcnn", help="folder of detections, or one of our detectors"
    )
    parser.add_argument("--embedder", default="osnet_x0_25")
    parser.add_argument("--tracker", nargs="+", default=["deepsort", "botsort"])
    parser.add_argument("--out", type=Path, help="folder for looks.json and .md")
    arguments = parser.parse_args()
    folder = Path(os.environ["SPARSIGHT_ASSETS"].split(os.pathsep)[0]) / "mot"
    embedder = build_embedder(arguments.embedder, device="cpu")
    plain, looked = [], []
    for one in with_frames(folder):
        found = sequences.detected(one, arguments.detector)[0]
        plain.append((one, found))
        looked.append((one, sequences.looked_at(one, found, embedder)[0]))
    rows = [
        row(tracker, name, found)
        for tracker in arguments.tracker
        for name, found in (("none", plain), (arguments.embedder, looked))
    ]
    table = Table(*rows[0])
    for one_row in rows:
        table.add_row(*map(str, one_row.values()))
    Console().print(table)
    record(
        arguments.out,
        "looks",
        title="What looks are worth",
        note=f"Detections: {arguments.detector}; the same with and without vectors of {arguments.embedder}.",
        packages=("sparsight", "onnxruntime", "torch"),
        rows=rows,
    )


if __name__ == "__main__":
    main()
