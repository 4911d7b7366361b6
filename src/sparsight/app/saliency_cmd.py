"""``sparsight saliency``: what draws the eye in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsight.app.outputs import check_folder
from sparsight.errors import SparsightError

saliency_app = typer.Typer(help="What draws the eye: saliency maps of pictures.", no_args_is_help=True)


@saliency_app.callback()
def _root() -> None:
    # A callback keeps "predict" a command of its own while it is the only one.
    pass


@saliency_app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Picture files.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="What finds the salient places: deeprare, deeprare2019.", metavar="NAME")
    ] = "deeprare",
    out: Annotated[
        Path, typer.Option(help="Folder for the results; made if it is not there.", metavar="DIR")
    ] = Path("out"),
    device: Annotated[str, typer.Option(help="Where the network runs.", metavar="auto|cpu|cuda")] = "auto",
    levels: Annotated[bool, typer.Option("--levels", help="Also write the map of each level.")] = False,
) -> None:
    """Draw the saliency map of each picture.

    For each picture NAME.jpg, writes DIR/NAME.saliency.png (white where the
    eye goes) and DIR/NAME.overlay.png, and with --levels one
    DIR/NAME.level-SIZE.png for each level of the model.
    """
    from sparsight import media, saliency
    from sparsight.media.paths import check_file

    _check_names(images, out)
    check_folder(out)
    for path in images:
        check_file(path, "picture")
    predictor = saliency.build(model, device=device)
    for path in images:
        image = media.read_image(path)
        result = predictor(image)
        maps = {"saliency": result.map}
        if levels:
            maps |= {f"level-{name}": level for name, level in result.enlarged_levels().items()}
        for name, values in maps.items():
            media.write_image(out / f"{path.stem}.{name}.png", (values * 255 + 0.5).astype("uint8"))
        media.write_image(out / f"{path.stem}.overlay.png", media.overlay(image, result.map))
        typer.echo(out / f"{path.stem}.overlay.png")


def _check_names(images: list[Path], out: Path) -> None:
    """Refuse two pictures whose results would have the same names, and results in place of a picture."""
    seen: dict[str, Path] = {}
    for path in images:
        other = seen.setdefault(path.stem, path)
        if other != path:
            raise SparsightError(
                f"{other} and {path} would write the same files: rename one, or give each its own --out."
            )
    written = {(out / f"{stem}.{name}.png").resolve() for stem in seen for name in ("saliency", "overlay")}
    for path in images:
        if path.resolve() in written:
            raise SparsightError(f"{path} would be overwritten by the results: choose another --out.")
