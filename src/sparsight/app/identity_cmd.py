"""``sparsight identity``: who is remembered, what for, what they are called; and forgetting them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sparsight.app import identity_train_cmd
from sparsight.app.outputs import check_folder
from sparsight.errors import SparsightError

identity_app = typer.Typer(
    help="The people in a gallery: who they are, and who is who.", no_args_is_help=True
)

identity_app.command()(identity_train_cmd.train)
identity_app.command("who")(identity_train_cmd.who)

GalleryFile = Annotated[
    str,
    typer.Option(
        "--gallery", "-g", help="The memory of people that watch wrote, or postgresql://...", metavar="FILE"
    ),
]
Who = Annotated[str, typer.Argument(help="A name or a number.", metavar="PERSON")]

_DEFAULT = "out/gallery.sqlite"


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
        typer.echo(f"sight {sight.id}\t{span}\t{sight.camera}\t{sight.frames} frames\t{decision}")
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


@identity_app.command()
def merge(
    who: Who,
    other: Annotated[str, typer.Argument(help="Who they are, too: a name or a number.", metavar="OTHER")],
    gallery: GalleryFile = _DEFAULT,
) -> None:
    """Let OTHER be PERSON: all sights of both are PERSON's from now on."""
    from sparsight.track import Gallery

    with Gallery(gallery, create=False) as known:
        one, two = known.find(who), known.find(other)
        known.merge(one.id, two.id)
        typer.echo(f"number {two.id} is now {known.person(one.id).label} (number {one.id})")


@identity_app.command()
def split(
    who: Who,
    sights: Annotated[
        list[int], typer.Argument(help="Numbers of sights, as identity show lists them.", metavar="SIGHT...")
    ],
    gallery: GalleryFile = _DEFAULT,
) -> None:
    """Let some sights of PERSON be those of somebody new."""
    from sparsight.track import Gallery

    with Gallery(gallery, create=False) as known:
        person = known.find(who)
        made = known.split(person.id, sights)
        typer.echo(f"{len(made.tracklets)} sights of {person.label} are now those of person {made.target}")


@identity_app.command()
def corrections(
    gallery: GalleryFile = _DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="For programs, with the sights concerned.")] = False,
) -> None:
    """Show who was merged and split, so that earlier results can be read rightly."""
    import json
    from dataclasses import asdict

    from sparsight.track import Gallery

    with Gallery(gallery, create=False) as known:
        made = known.corrections()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in made], indent=2))
        return
    for one in made:
        sights = " ".join(map(str, one.tracklets))
        typer.echo(
            f"{_moment(one.time)}\t{one.kind} {one.reason}\tperson {one.source} is person {one.target}"
            + (f" in sights {sights}" if one.kind == "split" else "")
        )


@identity_app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help="The file to write (a ZIP).", metavar="FILE")],
    who: Annotated[
        list[str] | None, typer.Argument(help="Names or numbers; by default everyone.", metavar="PERSON...")
    ] = None,
    gallery: GalleryFile = _DEFAULT,
) -> None:
    """Write people with all that is known of them into one file, to import elsewhere."""
    from sparsight.track import Gallery
    from sparsight.track.gallery_exchange import export_people

    check_folder(file.parent, "FILE")
    if file.exists():
        raise SparsightError(f"{file} is there already: remove it first, or name another file.")
    with Gallery(gallery, create=False) as known:
        people = [known.find(one).id for one in who] if who else None
        count = export_people(known, file, list(dict.fromkeys(people)) if people else None)
    typer.echo(f"wrote {count} people to {file}, which only you can read")


@identity_app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="What identity export wrote.", metavar="FILE")],
    gallery: GalleryFile = _DEFAULT,
) -> None:
    """Take in people whom identity export wrote, under new numbers."""
    from sparsight.track import Gallery
    from sparsight.track.gallery import on_server
    from sparsight.track.gallery_exchange import import_people

    if not file.is_file():
        raise SparsightError(f"there is no file {file}: name one that identity export wrote.")
    if not on_server(gallery):
        check_folder(Path(gallery).parent, "--gallery")
        Path(gallery).parent.mkdir(parents=True, exist_ok=True)
    with Gallery(gallery) as known:
        numbers = import_people(known, file)
        for old, new in numbers.items():
            typer.echo(f"number {old} of the file is {known.person(new).label} (number {new})")


@identity_app.command()
def prune(
    gallery: GalleryFile = _DEFAULT,
    keep_days: Annotated[
        float | None,
        typer.Option(min=0, help="Drop pictures and vectors older than so many days.", metavar="N"),
    ] = None,
    keep_crops: Annotated[
        int | None, typer.Option(min=0, help="Keep so many pictures of each person.", metavar="N")
    ] = None,
) -> None:
    """Drop old pictures and vectors; people, names and times stay."""
    from sparsight.track import Gallery

    if keep_days is None and keep_crops is None:
        raise SparsightError("nothing to prune: say --keep-days N, --keep-crops N, or both.")
    with Gallery(gallery, create=False) as known:
        crops, vectors = known.prune(keep_days, keep_crops)
    typer.echo(f"dropped {crops} pictures and {vectors} vectors")


def _moment(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s"
