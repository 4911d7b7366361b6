"""What ``sparsight saliency predict`` and ``video`` do: files in, maps and films out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sparsight import media, saliency
from sparsight.app.outputs import check_folder
from sparsight.errors import SparsightError
from sparsight.media.folder import pictures_in
from sparsight.media.paths import check_file

if TYPE_CHECKING:
    from sparsight.saliency import SaliencyModel, SaliencyResult

_FILMS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ts"}
_FPS = 25.0  # of a source that does not say

Advance = Callable[[str], None]
"""Called once for each thing done, with what comes next."""


@dataclass(frozen=True)
class Chosen:
    """A model by name, those of its options that were given, and where it should run."""

    name: str
    options: Mapping[str, Any]
    device: str

    def build(self) -> SaliencyModel:
        """The model; one that runs no network is not told where to run it."""
        from sparsight.saliency.models import accepts

        placed = {"device": self.device} if accepts(self.name, "device") else {}
        return saliency.build(self.name, **placed, **self.options)

    def said(self) -> str:
        """The model as its name would be written: ``"deeprare(size=320)"``."""
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({given})" if given and "(" not in self.name else self.name


@dataclass(frozen=True)
class Finish:
    """What is done to each map after the model, see ``saliency.process``."""

    blur: float = 0.0
    centre_prior: float = 0.0

    def __call__(self, result: SaliencyResult) -> SaliencyResult:
        """``result``, finished."""
        from sparsight.saliency.process import processed

        return processed(result, blur=self.blur, centre_prior=self.centre_prior)


@dataclass(frozen=True)
class Extras:
    """What is written of a picture besides its map: each level, and a sheet that explains it at a point."""

    levels: bool = False
    explain: bool = False
    at: tuple[int, int] | None = None


@dataclass(frozen=True)
class Filming:
    """How a film is made, see the options of ``video``."""

    smooth: float = 0.0
    motion: bool = False
    maps: bool = False
    every: int = 1
    max_frames: int | None = None


def predict_all(
    inputs: Sequence[Path], chosen: Chosen, finish: Finish, extras: Extras, out: Path
) -> list[Path]:
    """Write the maps of pictures, folders of pictures and films under ``out``.

    Returns:
        The pictures that could not be read; each was named on standard error.

    Raises:
        SparsightError: an input that is missing or gives no picture, or results that cannot be written.
    """
    films = [path for path in inputs if path.suffix.lower() in _FILMS and not path.is_dir()]
    named = [path for path in inputs if path not in films and not path.is_dir()]
    pictures = [*named, *(picture for folder in inputs if folder.is_dir() for picture in _pictures(folder))]
    _check_names([*pictures, *films], out, extras)
    check_folder(out)
    for path in (*named, *films):
        check_file(path, "video" if path in films else "picture")
    model = chosen.build()
    bad: list[Path] = []
    with _bar("pictures", len(pictures)) as advance:
        for path in pictures:
            advance(path.name)
            try:
                image = media.read_image(path)
            except SparsightError as error:
                if len(pictures) == 1:
                    raise
                typer.echo(f"sparsight: {error}", err=True)
                bad.append(path)
                continue
            title = f"{path.name}   {chosen.said()}"
            typer.echo(_write(path.stem, image, finish(_predict(model, image, path)), extras, title, out))
    if bad and len(bad) == len(pictures):
        raise SparsightError(f"none of the {len(bad)} pictures can be read: see the sentences above.")
    for path in films:
        _film(str(path), path.stem, model, finish, Filming(), out)
    return bad


def film(source: str, chosen: Chosen, finish: Finish, filming: Filming, out: Path) -> None:
    """Write the film of one source under ``out``, see ``sparsight saliency video``.

    Raises:
        SparsightError: a source that is no video, or results that cannot be written.
    """
    check_folder(out)
    path = Path(source)
    if "://" not in source and path.suffix:
        _check_names([path], out, Extras())
    _film(source, None, chosen.build(), finish, filming, out)


def _pictures(folder: Path) -> list[Path]:
    found = pictures_in(folder)
    if not found:
        raise SparsightError(f"there are no pictures in {folder}: name a folder of JPEG or PNG files.")
    return found


def _predict(model: SaliencyModel, image: media.Image, path: Path) -> SaliencyResult:
    from sparsight.saliency.models import predict

    return predict(model, image, path.name)


def _write(
    stem: str, image: media.Image, result: SaliencyResult, extras: Extras, title: str, out: Path
) -> Path:
    """Write all that was asked for of one picture; gives the path of what to look at first."""
    media.write_image(out / f"{stem}.saliency.png", _bytes(result.map, result.top))
    levels = result.enlarged_levels() if extras.levels else {}
    for name, values in levels.items():
        media.write_image(out / f"{stem}.level-{name}.png", _bytes(values))
    overlaid = out / f"{stem}.overlay.png"
    media.write_image(overlaid, media.overlay(image, result.map))
    if not extras.explain:
        return overlaid
    explained = out / f"{stem}.explained.png"
    media.write_image(explained, saliency.explain(result, *(extras.at or (None, None)), title=title))
    return explained


def _bytes(values: Any, top: float = 1.0) -> Any:
    """A map from 0 to ``top`` as a grey picture."""
    return ((values / top).clip(0, 1) * 255 + 0.5).astype("uint8")


def _film(
    source: str, stem: str | None, model: SaliencyModel, finish: Finish, filming: Filming, out: Path
) -> None:
    from sparsight.saliency.moving import Moving

    moving = Moving(model, smooth=filming.smooth, motion=filming.motion)
    with media.open_video(source, every=filming.every, max_frames=filming.max_frames) as reader:
        name = stem or reader.name
        target = out / f"{name}.saliency.mp4"
        with (
            media.VideoWriter(target, reader.fps or _FPS, reader.size) as writer,
            _bar(name, reader.frame_count) as advance,
        ):
            for frame in reader:
                advance("")
                result = finish(moving(frame.image, frame.time))
                writer.write(media.overlay(frame.image, result.map), frame.time)
                if filming.maps:
                    picture = out / f"{name}.maps" / f"{frame.index:06d}.png"
                    media.write_image(picture, _bytes(result.map, result.top))
        if reader.warning:
            typer.echo(f"sparsight: {reader.warning}", err=True)
    typer.echo(target)


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Advance]:
    """A progress bar on stderr where somebody is looking, and there is more than one thing to do."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or total == 1,
    ) as progress:
        task = progress.add_task(what, total=total, note="", completed=-1)

        def advance(note: str) -> None:
            progress.update(task, advance=1, note=note)

        yield advance


def _check_names(files: Sequence[Path], out: Path, extras: Extras) -> None:
    """Refuse two files whose results would have the same names, and results in place of a file."""
    kinds = ["saliency.png", "overlay.png", "saliency.mp4"] + ["explained.png"] * extras.explain
    seen: dict[str, Path] = {}
    for path in files:
        other = seen.setdefault(path.stem, path)
        if other != path:
            raise SparsightError(
                f"{other} and {path} would write the same files: rename one, or give each its own --out."
            )
    written = {(out / f"{stem}.{kind}").resolve() for stem in seen for kind in kinds}
    for path in files:
        if path.resolve() in written:
            raise SparsightError(f"{path} would be overwritten by the results: choose another --out.")
