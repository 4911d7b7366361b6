"""``sparsight identity``: who is remembered, what for, what they are called; and forgetting them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sparsight.app.outputs import check_folder
from sparsight.errors import SparsightError

identity_app = typer.Typer(help="The people in a gallery: list, show, name, forget.", no_args_is_help=True)

GalleryFile = Annotated[
    Path, typer.Option("--gallery", "-g", help="The memory of people that watch wrote.", metavar="FILE")
]
Who = Annotated[str, typer.Argument(help="A name or a number.", metavar="PERSON")]

_DEFAULT = Path("out/gallery.sqlite")


@identity_app.command("list")
def list_people(gallery: GalleryFile = _DEFAULT) -> None:
    """Show everyone in the gallery."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from sparsight.track import Gallery

    with Gallery(gallery, create=False) as known:
        people = known.people()
    table = Table(box=None, pad_edge=False)
    for column in ("number", "name", "first seen", "last seen", "sights", "frames", "cameras"):
        table.add_column(column, justify="right" if column in ("number", "sights", "frames") else "left")
    for person in people:
        table.add_row(
            str(person.id),
            escape(person.name or ""),
            _moment(person.first_seen),
            _moment(person.last_seen),
            str(person.tracklets),
            str(person.frames),
            escape(", ".join(person.cameras)),
        )
    Console().print(table)


@identity_app.command()
def show(
    who: Who,
    gallery: GalleryFile = _DEFAULT,
    picture: Annotated[
        Path | None, typer.Option(help="Write the best picture of them here.", metavar="FILE.jpg")
    ] = None,
) -> None:
    """Show every sight of a person: when, by which camera, and how alike they looked."""
    from sparsight.files import write_bytes
    from sparsight.track import Gallery

    if picture is not None:
        if picture.suffix.lower() not in (".jpg", ".jpeg") or picture.is_dir():
            raise SparsightError(f"cannot write a picture as {picture}: name a file that ends in .jpg.")
        check_folder(picture.parent, "--picture")
    with Gallery(gallery, create=False) as known:
        person = known.find(who)
        sights = known.tracklets(person.id)
        thumbnail = known.thumbnail(person.id)
    typer.echo(f"{person.label} (number {person.id})")
    for sight in sights:
        decision = "new" if sight.distance is None else f"known again at distance {sight.distance:.3f}"
        span = f"{_moment(sight.first_seen)} to {_moment(sight.last_seen)}"
        typer.echo(f"{span}\t{sight.camera}\t{sight.frames} frames\t{decision}")
    if picture is not None:
        if thumbnail is None:
            raise SparsightError(f"there is no picture of {person.label} in {gallery}.")
        write_bytes(picture, thumbnail, mode=0o600)
        typer.echo(f"wrote {picture}")


@identity_app.command()
def name(
    who: Who,
    new_name: Annotated[
        str, typer.Argument(metavar="NAME", help='What to call them; "" takes the name away.')
    ],
    gallery: GalleryFile = _DEFAULT,
) -> None:
    """Give a person a name."""
    from sparsight.track import Gallery

    with Gallery(gallery, create=False) as known:
        person = known.find(who)
        known.rename(person.id, new_name or None)
        typer.echo(f"number {person.id} is now {known.person(person.id).label}")


@identity_app.command()
def forget(
    who: Who,
    gallery: GalleryFile = _DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove everything that the gallery holds about a person; this cannot be undone."""
    from sparsight.track import Gallery

    with Gallery(gallery, create=False) as known:
        person = known.find(who)
        if not yes:
            typer.confirm(
                f"Forget {person.label} and {person.tracklets} sights of them for good?", abort=True
            )
        known.forget(person.id)
    typer.echo(f"forgot {person.label}; pictures and videos that watch wrote elsewhere are still there")


def _moment(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s"
