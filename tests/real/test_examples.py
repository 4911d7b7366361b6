"""The examples run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
VIDEO = "mot/vtest.avi"
PICTURE = "mot/TUD-Campus/img1/000001.jpg"


CASES = [
    ("follow_people", [VIDEO], "people: ["),
    ("know_again", [VIDEO, VIDEO, "{tmp}/gallery.sqlite"], "known again: [1"),
    ("where_the_eye_goes", [PICTURE, "{tmp}"], "levels drawn"),
    ("odd_one_out", ["{tmp}"], "colour: found"),
    ("smaller_network", ["{tmp}"], "parameters: 56,164 to"),
    ("tap_features", [PICTURE], "features.13: 96 channels of 14x14"),
]


@pytest.mark.real
@pytest.mark.parametrize(("name", "arguments", "said"), CASES)
def test_example(name: str, arguments: list[str], said: str, tmp_path: Path, assets: Path) -> None:
    given = [
        str(assets / text) if (assets / text).exists() else text.format(tmp=tmp_path) for text in arguments
    ]
    run = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *given], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert said in run.stdout


def test_every_example_is_tried() -> None:
    assert {name for name, _, _ in CASES} == {path.stem for path in EXAMPLES.glob("*.py")}
