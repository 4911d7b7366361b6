"""Follow people through a video in ten lines: detections in, tracks out.

python examples/follow_people.py VIDEO
"""

from __future__ import annotations

import sys

from sparsight import media, track


def main(source: str, max_frames: int = 100) -> None:
    detector = track.build_detector("ssdlite")
    tracker = track.build_tracker("sort")
    for frame in media.open_video(source, max_frames=max_frames):
        tracks = tracker.update(detector(frame.image), timestamp=frame.time)
        print(f"{frame.time:6.2f} s  {len(tracks)} people: {tracks.id.tolist()}")


if __name__ == "__main__":
    main(sys.argv[1])
