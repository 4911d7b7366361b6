"""``sparsight assets``: what there is, where it is, fetch it, check it."""

from __future__ import annotations

from typing import Annotated

import typer

from sparsight.errors import SparsightError

assets_app = typer.Typer(
    help="Weight files, samples and data sets: list, fetch, verify.", no_args_is_help=True
)


@assets_app.command("list")
def list_assets() -> None:
    """Show every asset: its size, its licence and where it is now ('where NAME' tells the path)."""
    from rich.console import Console
    from rich.table import Table

    from sparsight import assets

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold")
    table.add_column("where", no_wrap=True)
    for asset in assets.CATALOGUE.values():
        good = next((found for found in assets.copies(asset) if found.problem is None), None)
        size = asset.contents.bytes
        if good is not None and asset.kind == "file":
            size = good.path.stat().st_size
        absent = "[dim]to fetch[/]" if asset.remote else "[dim]only local, not here[/]"
        table.add_row(asset.name, _size(size), asset.licence, good.place if good else absent)
    Console().print(table)


@assets_app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Assets by name.", metavar="NAME")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every asset that can be fetched.")] = False,
) -> None:
    """Fetch assets into the cache and print where they are."""
    from sparsight import assets

    wanted = list(names or ())
    if everything:
        wanted += [asset.name for asset in assets.CATALOGUE.values() if asset.remote]
    if not wanted:
        raise SparsightError(
            "there is nothing to fetch: name assets (see 'sparsight assets list') or use --all."
        )
    failed: dict[str, SparsightError] = {}
    for name in wanted:
        try:
            typer.echo(f"{name}\t{assets.path(name)}")
        except SparsightError as error:
            failed[name] = error
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        for reason in failed.values():
            typer.echo(f"sparsight: {reason}", err=True)
        raise SparsightError(
            f"{len(failed)} of {len(wanted)} assets could not be fetched: {', '.join(failed)}."
        )


@assets_app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Assets by name; by default all.", metavar="NAME")
    ] = None,
) -> None:
    """Hash every copy on this machine again; exit with code 2 if one is not what it should be."""
    from sparsight import assets
    from sparsight.registry import lookup

    wanted = [lookup("asset", name, assets.CATALOGUE) for name in names or assets.CATALOGUE]
    seen = [found for asset in wanted for found in assets.copies(asset, fresh=True)]
    for found in seen:
        typer.echo(f"{found.problem or 'good'}\t{found.asset.name}\t{found.path}")
    bad = [found for found in seen if found.problem is not None]
    if bad:
        listed = "; ".join(f"{found.path}: {found.problem}" for found in bad)
        raise SparsightError(
            f"{len(bad)} of {len(seen)} copies are not good ({listed}): delete and fetch them again."
        )
    typer.echo(f"{len(seen)} copies, all good")


@assets_app.command()
def where(
    name: Annotated[str | None, typer.Argument(help="An asset by name.", metavar="NAME")] = None,
) -> None:
    """Print where an asset is on this machine, or, without a name, the folders that are looked in."""
    from sparsight import assets

    if name is None:
        for folder in assets.local_folders():
            typer.echo(f"local\t{folder}")
        typer.echo(f"cache\t{assets.cache_folder() / 'assets'}")
        return
    path = assets.find(name)
    if path is None:
        raise SparsightError(
            f"the asset {name!r} is not on this machine: try 'sparsight assets fetch {name}'."
        )
    typer.echo(path)


def _size(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
