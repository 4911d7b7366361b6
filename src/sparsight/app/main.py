"""The command ``sparsight``."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from typing import Annotated, Any

import typer

from sparsight import SparsightError, __version__
from sparsight.app.assets_cmd import assets_app
from sparsight.app.identity_cmd import identity_app
from sparsight.app.prune_cmd import prune_app
from sparsight.app.saliency_cmd import saliency_app
from sparsight.app.track_cmd import track_app
from sparsight.app.watch_cmd import demo, watch

app = typer.Typer(
    name="sparsight",
    help="Follow people through video and know them again, see what draws the eye, on small machines.",
    epilog="Start with: sparsight demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command()(demo)
app.command()(watch)
app.add_typer(saliency_app, name="saliency")
app.add_typer(prune_app, name="prune")
app.add_typer(identity_app, name="identity")
app.add_typer(track_app, name="track")
app.add_typer(assets_app, name="assets")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sparsight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


def sentence(error: BaseException) -> str | None:
    """What to tell a person about ``error``, or None when it is a bug of ours."""
    if isinstance(error, SparsightError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename2 or error.filename  # of a rename, where it was to go
        where = f" ({name})" if name else ""
        hints = {
            errno.ENOSPC: "the disk is full: free some space or choose another folder with --out.",
            errno.EFBIG: "a file grew past the size this system allows: choose another folder with --out.",
            errno.EACCES: "permission denied: check who owns it, or choose another folder with --out.",
            errno.EROFS: "the file system is read-only: choose another folder with --out.",
        }
        hint = hints.get(error.errno)
        return f"{hint[:-1]}{where}." if hint else f"{os.strerror(error.errno).lower()}{where}."
    return None


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors are one sentence and exit code 2, never a traceback.

    Args:
        arguments: what stands behind ``sparsight``; by default the process's own arguments.

    Raises:
        SystemExit: always, with the exit code: 0; 2 for bad input; 130 for Ctrl-C, 143 for SIGTERM; 1 for a
            bug, a question answered with no, or a reader of the output that went away (``head``, say).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names and paths may hold letters that the terminal does not know; stderr writes them so too.
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="sparsight: %(message)s")
    try:
        app(args=arguments, prog_name="sparsight")
    except Exception as error:
        if os.environ.get("SPARSIGHT_DEBUG"):
            raise
        text = sentence(error)
        if text is not None:
            typer.echo(f"sparsight: {text}", err=True)
            sys.exit(2)
        typer.echo(
            f"sparsight: internal error, please report it: {type(error).__name__}: {error} "
            "(SPARSIGHT_DEBUG=1 shows the traceback)",
            err=True,
        )
        sys.exit(1)
