"""``sparsight identity train`` and ``sparsight identity who``: names from a folder of crops per person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsight.app.outputs import check_folder
from sparsight.app.track_options import EMBEDDERS
from sparsight.errors import SparsightError

Device = Annotated[str, typer.Option(help="Where the network runs.", metavar="auto|cpu|cuda")]

_SHOWN = 12  # people up to which the terminal has room for a confusion matrix


def train(
    folder: Annotated[
        Path, typer.Argument(help="A folder of crops per person, named after them.", metavar="FOLDER")
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="cosine: nearest mean vector; linear, rbf: a support vector machine per person.",
            metavar="cosine|linear|rbf",
        ),
    ] = "linear",
    far: Annotated[
        float,
        typer.Option(help="Share of crops of strangers that may be given a name.", metavar="RATE"),
    ] = 0.01,
    reid: Annotated[
        str,
        typer.Option(help=f"What makes the vectors: {EMBEDDERS}.", metavar="NAME"),
    ] = "auto",
    out: Annotated[
        Path, typer.Option(help="The classifier; its report goes beside it.", metavar="FILE.npz")
    ] = Path("out/people.npz"),
    device: Device = "auto",
) -> None:
    """Learn names from a folder of crops per person, and who is nobody among them.

    Writes the classifier, for "sparsight watch --people" and "identity who", and
    a page that says how good it is. Four crops of each of three people are the
    least; ten of each of ten are a good start.

    Examples:

      sparsight identity train crops --out museum.npz

      sparsight identity who museum.npz visitor.jpg

      sparsight watch entrance.mp4 --people museum.npz
    """
    from rich.console import Console

    from sparsight.app.identity_train_report import summary, write_report
    from sparsight.track import build_embedder
    from sparsight.track.classify_file import SUFFIX, save_classifier
    from sparsight.track.classify_folder import embed_people, people_in
    from sparsight.track.classify_results import results
    from sparsight.track.classify_train import train as fit

    if out.suffix.lower() != SUFFIX or out.is_dir():
        raise SparsightError(f"cannot write a classifier as {out}: name a file that ends in {SUFFIX}.")
    check_folder(out.parent)
    files = people_in(folder)
    embedder = build_embedder(reid, device)
    people = tuple(files)
    vectors, label, empty = embed_people(files, embedder)
    classifier, trial = fit(vectors, label, people, embedder=reid, weights=embedder.name, kind=kind, far=far)
    found = results(trial, classifier.calibration)
    save_classifier(out, classifier)
    report = write_report(out.with_suffix(".html"), classifier, found)
    console = Console()
    for line in summary(classifier, found, _SHOWN):
        console.print(line, highlight=False)
    if empty:
        typer.echo(f"left out {empty} crops that show nothing to tell people by")
    typer.echo(f"wrote {out}\nwrote {report}")


def who(
    classifier: Annotated[Path, typer.Argument(help="What train wrote.", metavar="MODEL")],
    images: Annotated[list[Path], typer.Argument(help="Pictures of one person each.", metavar="IMAGE...")],
    device: Device = "auto",
) -> None:
    """Say who is on pictures: file, name or "unknown", and how probable it is.

    The probability is that of the name where strangers are as frequent as people
    with names. Behind "unknown" stands who it would be if it had to be somebody.
    """
    import numpy as np

    from sparsight.track import build_embedder
    from sparsight.track.classify import UNKNOWN
    from sparsight.track.classify_file import load_classifier
    from sparsight.track.classify_folder import embed_files
    from sparsight.track.classify_tracks import check_embedder

    known = load_classifier(classifier)
    embedder = build_embedder(known.embedder, device)
    check_embedder(known, embedder)
    vectors = embed_files(images, embedder)
    found = known.recognise(vectors)
    told: list[bool] = np.any(vectors, axis=1).tolist()
    for row, image in enumerate(images):
        name = known.people[found.nearest[row]]
        probable = f"{found.probability[row]:.0%}"
        if not told[row]:
            said = "unknown\tnothing to tell by"
        elif found.person[row] == UNKNOWN:
            said = f"unknown\t{name} {probable}"
        else:
            said = f"{name}\t{probable}"
        typer.echo(f"{image}\t{said}")
