"""Memory of ``watch`` over a long film: a real one, repeated until it has enough frames.

    SPARSIGHT_ASSETS=... python benchmarks/track/watch_memory.py --frames 10000
    SPARSIGHT_ASSETS=... python benchmarks/track/watch_memory.py --frames 2000 --saliency --reid none

Prints the resident memory every so many frames, and its slope over the second half, by least squares: what
the first half fills (caches, pools, the people of the film) is not growth. The film is copied packet by
packet, so nothing of its decoding is spared.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from sparsight import assets
from sparsight.app.watch import WatchOptions, watch


def repeated(source: Path, target: Path, frames: int) -> None:
    """Write ``source`` to ``target`` again and again, without encoding it anew, until it has ``frames``."""
    with av.open(str(target), "w", format="matroska") as copy:
        stream = None
        written, start = 0, 0.0
        while written < frames:
            with av.open(str(source)) as film:
                video = film.streams.video[0]
                assert video.time_base is not None and video.average_rate is not None
                if stream is None:
                    stream = copy.add_stream_from_template(video)
                offset = round(start / video.time_base)
                for packet in film.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts = None if packet.pts is None else packet.pts + offset
                    packet.dts += offset
                    packet.stream = stream
                    copy.mux(packet)
                    written += 1
                start += float(video.frames / video.average_rate)


def resident() -> float:
    """MiB of memory that this process holds now (Linux)."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Watch the long film and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--step", type=int, default=500, help="frames between two measurements")
    parser.add_argument("--source", default="vtest.avi", help="an asset or a file")
    parser.add_argument("--detector", default="ssdlite")
    parser.add_argument("--reid", default="auto")
    parser.add_argument("--saliency", action="store_true")
    arguments = parser.parse_args()
    source = Path(arguments.source)
    if not source.exists():
        source = assets.path(arguments.source)
    measured: list[tuple[int, float]] = []
    begin = time.monotonic()

    def progress(frames: int, total: int | None, in_view: int) -> None:
        if frames % arguments.step == 0 or frames == 1:
            measured.append((frames, resident()))
            print(
                f"{frames:7} frames {measured[-1][1]:8.1f} MiB {time.monotonic() - begin:7.0f} s", flush=True
            )

    with tempfile.TemporaryDirectory() as folder:
        film, out = Path(folder) / "long.mkv", Path(folder) / "out"
        repeated(source, film, arguments.frames)
        watch(
            WatchOptions(
                sources=(str(film),),
                out=out,
                detector=arguments.detector,
                reid=arguments.reid,
                saliency=arguments.saliency,
                max_frames=arguments.frames,
            ),
            progress,
        )
        people = len(json.loads((out / "identities.json").read_text())["identities"])
        gallery = (out / "gallery.sqlite").stat().st_size / 2**20 if arguments.reid != "none" else 0.0
    frames, memory = np.array(measured)[len(measured) // 2 :].T
    slope = np.polyfit(frames, memory, 1)[0] * 1000
    print(f"{people} people, gallery {gallery:.1f} MiB")
    print(f"slope over the second half: {slope:+.2f} MiB per 1000 frames")


if __name__ == "__main__":
    main()
