"""The names that --help lists are those of the registries, and parameters are taken as tune prints them."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from sparsight import SparsightError
from sparsight.app import track_options
from sparsight.app.main import app
from sparsight.app.track_options import built, looks
from sparsight.app.track_tune_cmd import written
from sparsight.track.detect import DETECTORS
from sparsight.track.embed import EMBEDDERS
from sparsight.track.trackers import TRACKERS


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (track_options.DETECTORS, DETECTORS),
        (track_options.TRACKERS, TRACKERS),
        (track_options.EMBEDDERS, EMBEDDERS),
    ],
)
def test_help_lists_every_name(text: str, known: dict[str, str]) -> None:
    assert set(known) <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("watch", [DETECTORS, TRACKERS, EMBEDDERS]),
        ("track run", [DETECTORS, TRACKERS, EMBEDDERS]),
        ("track compare", [DETECTORS, TRACKERS, EMBEDDERS]),
        ("track tune", [DETECTORS, TRACKERS, EMBEDDERS]),
        ("identity train", [EMBEDDERS]),
    ],
)
def test_commands_list_them(command: str, names: list[dict[str, str]]) -> None:
    said = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command.split(), "--help"]).output
    for known in names:
        assert set(known) <= set(re.findall(r"\w+", said))


COMMANDS = ["watch"]
COMMANDS += [f"track {name}" for name in ("run", "eval", "convert", "compare", "tune")]
COMMANDS += [f"identity {name}" for name in ("train", "who", "list", "show", "name", "forget", "merge")]
COMMANDS += [f"identity {name}" for name in ("split", "corrections", "export", "import", "prune")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_and_says_what_it_means(command: str) -> None:
    said = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*command.split(), "--help"]).output
    text = said[: said.index("╭")].partition("Examples:")[0].splitlines()
    # A line that is too long goes on in the next, and leaves a ragged end behind.
    paragraph = [line.strip() for line in text if line.strip()]
    assert all(len(line) > 12 or line.endswith((".", ":")) for line in paragraph), paragraph
    if command == "track tune":
        assert "'sparsight[tune]'" in said


def test_what_tune_prints_is_taken() -> None:
    for name in TRACKERS:
        line = written(name, {"max_age": 12, "new_score": 0.61234567})
        tracker = built(line)
        assert type(tracker).__name__.lower() == name
        assert tracker._max_age == 12  # type: ignore[attr-defined]


def test_who_looks() -> None:
    assert [name for name in TRACKERS if looks(f"{name}(max_age=3)")] == ["deepsort", "botsort"]
    with pytest.raises(SparsightError, match="is no tracker: write a name"):
        looks("sort(")
