"""How often the gallery's rule takes a stranger for somebody, and a person who returns for themselves.

On the true boxes of PETS09-S2L1, TUD-Stadtmitte and TUD-Campus. The earlier half of everybody's good crops
is in the gallery, by eight vectors each; the question is the mean of six crops of the later half. In each
draw some people are known, chosen at random, and all others are strangers. Beside it what the greatest
distance alone would do, and the power that the lowest four distances of strangers give (Hill's estimate).

    SPARSIGHT_ASSETS=... python benchmarks/track/strangers.py --out benchmarks/track/results
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from hota import MOT, frames_of
from numpy.typing import NDArray

from sparsight import media
from sparsight.files import write_text
from sparsight.track import Embedder, Tracks, build_embedder
from sparsight.track.evidence import crop_quality
from sparsight.track.gallery_strangers import OTHERS, known_again, tail
from sparsight.track.motchallenge import read

EVERY = {"PETS09-S2L1": 8, "TUD-Stadtmitte": 4, "TUD-Campus": 2}
SAME_IN_PETS = {
    19: 1,
    13: 2,
    11: 3,
    12: 4,
    9: 5,
    10: 6,
    14: 8,
    15: 8,
    18: 8,
}  # one person each, by their looks
GOOD, LEAST, SHOWN, ASKED, NEAREST = 0.3, 8, 8, 6, 3
KNOWN, DRAWS = (3, 8, 14, 24), 200


def looks(embedder: Embedder) -> list[NDArray[np.float32]]:
    """The vectors of each person's good crops, in order of time."""
    found: dict[tuple[str, int], list[NDArray[np.float32]]] = {}
    for sequence, every in EVERY.items():
        truth = read(MOT / sequence / "gt" / "gt.txt")
        for number, frame in enumerate(media.open_video(frames_of(sequence)), 1):
            here = np.flatnonzero((truth.frame == number) & (truth.score > 0))
            if number % every != 1 or not len(here):
                continue
            tracks = Tracks(truth.xyxy[here], truth.id[here], np.ones(len(here), np.float32))
            good = crop_quality(frame.image, tracks) >= GOOD
            vectors = embedder(frame.image, tracks.xyxy[good])
            for vector, person in zip(vectors, tracks.id[good].tolist(), strict=True):
                same = SAME_IN_PETS.get(person, person) if sequence == "PETS09-S2L1" else person
                found.setdefault((sequence, same), []).append(vector)
    return [np.stack(vectors) for vectors in found.values() if len(vectors) >= LEAST]


def spread(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return vectors[np.linspace(0, len(vectors) - 1, min(count, len(vectors))).astype(int)]


def distances(people: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(P, P) of everybody's later crops from everybody's earlier ones, as the gallery has them."""
    asked = np.stack([spread(each[len(each) // 2 :], ASKED).mean(0) for each in people])
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    shown = [spread(each[: len(each) // 2], SHOWN) for each in people]
    return np.stack([np.sort(1 - asked @ each.T, axis=1)[:, :NEAREST].mean(1) for each in shown], axis=1)


def measure(name: str, rate: float) -> dict[str, object]:
    embedder = build_embedder(name, "cpu")
    distance = distances(looks(embedder))
    count = len(distance)
    others = np.sort(distance[~np.eye(count, dtype=bool)].reshape(count, -1), axis=1)
    power = 1 / np.log(others[:, OTHERS, None] / others[:, :OTHERS]).mean()
    rows = []
    rng = np.random.default_rng(0)
    for known in KNOWN:
        tallies = []
        for _ in range(DRAWS):
            people = rng.permutation(count)[:known]
            strangers = np.setdiff1d(np.arange(count), people)
            near = distance[:, people]
            taken, allowed = known_again(near, embedder.max_distance, rate, tail(embedder.name))
            right = np.isfinite(allowed[people, np.arange(known)])
            alone = near.min(1) <= embedder.max_distance
            mine = alone[people] & (near[people].argmin(1) == np.arange(known))
            tallies.append((taken[strangers].mean(), right.mean(), alone[strangers].mean(), mine.mean()))
        rows.append([known, *np.mean(tallies, axis=0).round(3).tolist()])
    return {"reid": name, "people": count, "stated": rate, "power": round(float(power), 1), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reid", nargs="+", default=["osnet_x0_25", "mobilenet_v2"])
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--out", type=Path, help="folder for strangers.json and strangers.md")
    arguments = parser.parse_args()
    results = [measure(name, arguments.rate) for name in arguments.reid]
    lines = ["# Strangers and returns", ""]
    for one in results:
        lines += [
            f"`{one['reid']}`, {one['people']} people, {one['stated']:.0%} of strangers stated; "
            f"their distances give a power of {one['power']}.",
            "",
            "| known | strangers taken for somebody | returns known again | at the greatest distance alone |",
            "| ---: | ---: | ---: | ---: |",
        ]
        for known, taken, right, alone, mine in one["rows"]:  # type: ignore[attr-defined]
            lines.append(f"| {known} | {taken:.1%} | {right:.1%} | {alone:.1%}, {mine:.1%} |")
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        write_text(arguments.out / "strangers.md", text)
        write_text(arguments.out / "strangers.json", json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
