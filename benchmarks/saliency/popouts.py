"""How often a model's first fixation lands on the odd one out, by what is odd about it.

Pictures of ``sparsight.saliency.popouts``: of the odd sizes half are larger than the rest, half smaller.
The defaults of DeepRare were chosen on seeds 0 to 39; the seeds here are others.

    python benchmarks/saliency/popouts.py --models deeprare,itti,spectral_residual
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sparsight import saliency
from sparsight.saliency.models import accepts
from sparsight.saliency.popouts import KINDS, PopOut, popouts

SEED = 1000


def found_first(model: saliency.SaliencyModel, picture: PopOut) -> bool:
    """Whether the highest place of the map lies on the target, nearer to it than half the items' distance."""
    values = model(picture.image).map
    return bool(picture.catchment()[np.unravel_index(values.argmax(), values.shape)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="deeprare")
    parser.add_argument("--count", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--backbone")
    parser.add_argument("--size", type=int)
    arguments = parser.parse_args()
    given = {name: value for name in ("backbone", "size") if (value := getattr(arguments, name)) is not None}
    models = {}
    for name in arguments.models.split(","):
        models[name] = saliency.build(
            name, **{key: value for key, value in given.items() if accepts(name, key)}
        )
    table = Table(box=None, title=f"Found at the first fixation, of {arguments.count} pictures of each kind")
    for heading in ("", *models):
        table.add_column(heading, justify="left" if not heading else "right")
    for kind in KINDS:
        pictures = popouts(kind, arguments.count, arguments.seed)
        larger = np.array([one.target_mask.sum() > one.distractor_masks[0].sum() for one in pictures])
        rows = {kind: np.ones(len(pictures), bool)}
        if kind == "size":
            rows |= {"size, larger": larger, "size, smaller": ~larger}
        hits = {
            name: np.array(
                [found_first(model, one) for one in track(pictures, f"{kind}, {name}", transient=True)]
            )
            for name, model in models.items()
        }
        for row, members in rows.items():
            table.add_row(row, *(f"{hits[name][members].mean():.0%}" for name in models))
    Console().print(table)


if __name__ == "__main__":
    main()
