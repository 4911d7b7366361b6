"""Long-term identity end to end: what ``sparsight watch`` itself writes, scored by ``trackeval``.

For each detector and sequence, ``watch`` runs twice on the frames, once with re-identification and once
without, and its ``tracks.txt`` is compared with the ground truth. ``ids / true`` counts the identities
(without re-identification: the tracks) that it reports.

    SPARSIGHT_ASSETS=... python benchmarks/track/identities.py --detector ssdlite yolox_nano
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path

from hota import MOT, compare, frames_of, report
from rich.console import Console

from sparsight.app.watch import WatchOptions, watch
from sparsight.track import Tracks
from sparsight.track.motchallenge import read, read_info

SEQUENCES = ("PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detector", nargs="+", default=["ssdlite", "yolox_nano"])
    parser.add_argument("--reid", nargs="+", default=["none", "auto"])
    parser.add_argument("--sequences", nargs="+", default=SEQUENCES, choices=SEQUENCES)
    arguments = parser.parse_args()
    for detector, reid in itertools.product(arguments.detector, arguments.reid):
        data = {}
        for sequence in arguments.sequences:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder)
                source = frames_of(sequence)
                options = WatchOptions((str(source),), out, detector=detector, reid=reid, saliency=False)
                result = watch(options)
                rows = read(out / "tracks.txt")
                people = json.loads((out / "identities.json").read_text())["identities"]
            length = read_info(MOT / sequence).length
            tracks = [
                Tracks(rows.xyxy[part], rows.id[part], rows.score[part]) for part in rows.by_frame(length)
            ]
            data[sequence] = compare(read(MOT / sequence / "gt" / "gt.txt"), tracks)
            Console().print(
                f"{sequence}: {len(people)} identities of {data[sequence]['num_gt_ids']}, "
                f"{result.frames / result.seconds:.1f} frames/s"
            )
        report(f"{detector}, sort, re-identification {reid}", data)


if __name__ == "__main__":
    main()
