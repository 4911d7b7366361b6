"""Know people again: two visits on two cameras, one gallery.

python examples/know_again.py FIRST_VIDEO SECOND_VIDEO GALLERY.sqlite
"""

from __future__ import annotations

import sys
import time

import numpy as np

from sparsight import media, track


def visit(source: str, gallery: track.Gallery, camera: str, max_frames: int = 100) -> set[int]:
    """The numbers of the people seen in one video."""
    detector = track.build_detector("ssdlite")
    tracker = track.build_tracker("sort")
    identifier = track.Identifier(gallery, track.build_embedder("auto"), camera=camera)
    begin, seen = time.time(), set()
    for frame in media.open_video(source, max_frames=max_frames):
        tracks = tracker.update(detector(frame.image), timestamp=frame.time)
        people = identifier.update(frame.image, tracks, begin + frame.time)
        seen |= set(np.unique(people.person[people.person >= 0]).tolist())
    return seen | set(identifier.finish().values())


def main(first: str, second: str, path: str) -> None:
    with track.Gallery(path) as gallery:
        before = visit(first, gallery, "entrance")
        after = visit(second, gallery, "hall")
        print(f"entrance: {sorted(before)}; hall: {sorted(after)}; known again: {sorted(before & after)}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
