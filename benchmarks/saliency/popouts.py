"""How often a model's first fixation lands on the odd one out, by what is odd about it.

Pictures of ``sparsight.saliency.popouts``, several seeds of both sorts: *varied* sizes and grids, where of
the odd sizes half are at least twice as large as the rest and half at most half as large, and the geometry of
*P3*, with ratios of 0.4 to 2. Two rules: *near*, the map's maximum lies nearer to the target's middle than
half the distance of items; *on*, on the target's own pixels (``metrics.fixations_to_target`` gives 1).
The defaults of DeepRare were chosen on seeds 20000 to 20029 and 40000 to 40049, before that on 0 to 39 and
about 1000; how its levels are added, on 30 from each of 20000, 40000, 60000, 80000, 100000 and 120000. The
seeds here are others.

    python benchmarks/saliency/popouts.py --models deeprare,itti,spectral_residual
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sparsight import __version__, saliency
from sparsight.files import write_text
from sparsight.saliency.metrics import fixations_to_target
from sparsight.saliency.models import accepts
from sparsight.saliency.popouts import KINDS, PopOut, p3_popouts, popouts
from sparsight.spelling import split_names

SEEDS = (5000, 6000, 7000)
SORTS = {"varied": popouts, "P3": p3_popouts}
RESULTS = Path(__file__).parent / "results" / "popouts.json"


def found_first(model: saliency.SaliencyModel, picture: PopOut) -> tuple[bool, bool]:
    """Whether the first fixation is near the target, and whether it is on it."""
    values = model(picture.image).map
    near = bool(picture.catchment()[np.unravel_index(values.argmax(), values.shape)])
    side = float(np.sqrt(picture.distractor_masks[0].sum()))
    return near, fixations_to_target(values, picture.target_mask, side, 1) == 1


def rows_of(kind: str, pictures: list[PopOut]) -> dict[str, np.ndarray]:
    """The rows of the table that pictures of a kind go into → which of them do."""
    rows = {kind: np.ones(len(pictures), bool)}
    if kind == "size":
        larger = np.array([one.target_mask.sum() > one.distractor_masks[0].sum() for one in pictures])
        rows |= {"size, larger": larger, "size, smaller": ~larger}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="deeprare")
    parser.add_argument("--count", type=int, default=30, help="pictures of each kind, sort and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--backbone")
    parser.add_argument("--size", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    given = {name: value for name in ("backbone", "size") if (value := getattr(arguments, name)) is not None}
    results = []
    for name in split_names(arguments.models):
        model = saliency.build(name, **{key: value for key, value in given.items() if accepts(name, key)})
        for (sort, draw), seed, kind in itertools.product(SORTS.items(), arguments.seeds, KINDS):
            pictures = draw(kind, arguments.count, seed)
            label = f"{name}, {sort} {seed}, {kind}"
            hits = np.array([found_first(model, one) for one in track(pictures, label, transient=True)])
            for row, members in rows_of(kind, pictures).items():
                near, on = hits[members].sum(axis=0).tolist()
                results.append(
                    {
                        "model": name,
                        "sort": sort,
                        "seed": seed,
                        "kind": row,
                        "pictures": int(members.sum()),
                        "near": near,
                        "on": on,
                    }
                )
    Console().print(table(results))
    settings = {"version": __version__, **given, "count": arguments.count, "seeds": arguments.seeds}
    write_text(arguments.out, json.dumps({"settings": settings, "found": results}, indent=1) + "\n")


def table(results: list[dict[str, str | int]]) -> Table:
    """All seeds together: how many of how many, near and on."""
    columns = list(dict.fromkeys((row["model"], row["sort"]) for row in results))
    shown = Table(box=None, title="Found at the first fixation: near the target, on it")
    shown.add_column("")
    for model, sort in columns:
        shown.add_column(f"{model}, {sort}", justify="right")
    for kind in dict.fromkeys(row["kind"] for row in results):
        cells = []
        for column in columns:
            own = [row for row in results if (row["model"], row["sort"]) == column and row["kind"] == kind]
            pictures, near, on = (sum(int(row[key]) for row in own) for key in ("pictures", "near", "on"))
            cells.append(f"{near / pictures:.0%}, {on / pictures:.0%} of {pictures}")
        shown.add_row(str(kind), *cells)
    return shown


if __name__ == "__main__":
    main()
