"""``sparsight saliency``: what draws the eye in pictures and films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsight.app.saliency_assess_cmd import assess
from sparsight.app.saliency_score_cmd import score
from sparsight.errors import SparsightError

if TYPE_CHECKING:
    from sparsight.app.saliency_run import Chosen

saliency_app = typer.Typer(
    help="What draws the eye: saliency maps of pictures and films, and how good they are.",
    epilog="Start with: sparsight saliency predict PHOTO.jpg --explain",
    no_args_is_help=True,
)

Model = Annotated[
    str,
    typer.Option(
        help="What finds the salient places: deeprare, deeprare2019, rare2012, rare2007, aim, gbvs, itti, "
        "signature, spectral_residual, covsal, face, center_bias; maps:FOLDER, onnx:FILE, fused:A+B; options "
        "in brackets, as 'rare2012(size=320)' or 'onnx:net.onnx(range=byte)'.",
        metavar="NAME",
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(help="DeepRare's network: mobilenet_v2, vgg16, vgg19.", metavar="NAME", show_default=False),
]
Size = Annotated[
    str | None,
    typer.Option(
        help="Input of DeepRare's network, in pixels: a side, or 1024x768.", metavar="PX", show_default=False
    ),
]
Blur = Annotated[
    float, typer.Option(help="Low-pass of the map: sigma as a fraction of its width, 0.03, say.", min=0)
]
CentrePrior = Annotated[
    float,
    typer.Option(help="Favour the middle: sigma as a fraction of the picture, 0.25, say; 0 is off.", min=0),
]
Out = Annotated[Path, typer.Option(help="Folder for the results; made if it is not there.", metavar="DIR")]
Device = Annotated[str, typer.Option(help="Where the network runs.", metavar="auto|cpu|cuda")]


@saliency_app.command()
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER|VIDEO", help="Pictures, folders of them, films.", show_default=False
        ),
    ],
    model: Model = "deeprare",
    backbone: Backbone = None,
    size: Size = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also draw a sheet that shows how each map came about.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            help="The point that --explain explains; by default the map's highest.",
            metavar="X,Y",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[bool, typer.Option("--levels", help="Also write the map of each level.")] = False,
    resize: Annotated[
        bool, typer.Option("--resize", help="Stretch maps of maps:FOLDER that are not of their image's size.")
    ] = False,
    blur: Blur = 0.0,
    centre_prior: CentrePrior = 0.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a picture of several could not be read.")
    ] = False,
    out: Out = Path("out"),
    device: Device = "auto",
) -> None:
    """Draw the saliency map of each picture.

    For each picture NAME.jpg, writes DIR/NAME.saliency.png (white where the
    eye goes) and DIR/NAME.overlay.png; with --levels one
    DIR/NAME.level-SIZE.png for each level of the model; with --explain
    DIR/NAME.explained.png. For a film, DIR/NAME.saliency.mp4.

    A picture that cannot be read among several is named and left out.

    Examples:

      sparsight saliency predict photo.jpg --explain

      sparsight saliency predict holiday/ --model gbvs --out maps
    """
    from sparsight.app.saliency_run import Extras, Finish, predict_all

    chosen = _chosen(model, backbone, size, device, resize)
    extras = Extras(levels=levels, explain=explain or at is not None, at=None if at is None else _point(at))
    bad = predict_all(inputs, chosen, Finish(blur, centre_prior), extras, out)
    if bad and strict:
        raise typer.Exit(1)


@saliency_app.command()
def video(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A film, or a folder of its frames.", show_default=False)
    ],
    model: Model = "deeprare",
    backbone: Backbone = None,
    size: Size = None,
    smooth: Annotated[
        float, typer.Option(help="Ease the map over this many seconds; 0 is off.", metavar="SECONDS", min=0)
    ] = 0.0,
    motion: Annotated[
        bool, typer.Option("--motion", help="Also find salient what moves unlike the rest.")
    ] = False,
    maps: Annotated[
        bool, typer.Option("--maps", help="Also write the map of each frame, as DIR/NAME.maps/NUMBER.png.")
    ] = False,
    every: Annotated[int, typer.Option(min=1, help="Take each Nth frame only.", metavar="N")] = 1,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many frames.", metavar="N", show_default=False)
    ] = None,
    blur: Blur = 0.0,
    centre_prior: CentrePrior = 0.0,
    out: Out = Path("out"),
    device: Device = "auto",
) -> None:
    """Draw what draws the eye over a film, as DIR/NAME.saliency.mp4.

    Example:

      sparsight saliency video street.mp4 --motion --smooth 0.3
    """
    from sparsight.app.saliency_run import Filming, Finish, film

    chosen = _chosen(model, backbone, size, device)
    filming = Filming(smooth=smooth, motion=motion, maps=maps, every=every, max_frames=max_frames)
    film(source, chosen, Finish(blur, centre_prior), filming, out)


saliency_app.command()(score)
saliency_app.command()(assess)


def _chosen(model: str, backbone: str | None, size: str | None, device: str, resize: bool = False) -> Chosen:
    """The model and those of its options that were given."""
    from sparsight.app.saliency_run import Chosen

    options: dict[str, object] = {}
    if backbone is not None:
        options["backbone"] = backbone
    if size is not None:
        options["size"] = _size(size)
    if resize:
        options["resize"] = True
    return Chosen(model, options, device)


def _size(text: str) -> int | tuple[int, int]:
    """A side, or (height, width) from ``"WIDTHxHEIGHT"``."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise SparsightError(f"--size {text} is no size: give a side such as 224, or WIDTHxHEIGHT.")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else (numbers[1], numbers[0])


def _point(text: str) -> tuple[int, int]:
    """(x, y) from ``"X,Y"``."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise SparsightError(f"--at {text} is no point: give X,Y in pixels of the picture, such as 120,80.")
    return int(parts[0]), int(parts[1])
