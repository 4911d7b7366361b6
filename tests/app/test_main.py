from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer.main

from sparsight import SparsightError, __version__
from sparsight.app import main as main_module
from sparsight.app.main import main, sentence

HEAVY = {"torch", "cv2", "onnxruntime", "onnx", "scipy", "av", "PIL", "numpy", "jinja2", "httpx"}


def commands(command: Any, path: str = "") -> list[str]:
    """``command`` and, if it is a group, every command below it, as one types them."""
    found = [path]
    for name, child in sorted(getattr(command, "commands", {}).items()):
        found += commands(child, f"{path} {name}".strip())
    return found


COMMANDS = commands(typer.main.get_command(main_module.app))


def leave(*arguments: str) -> int:
    """The code with which the command ends."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """The code with which the command ends when it raises ``error`` inside."""

    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(main_module, "app", fail)
    return leave()


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(*command.split(), "--help") == 0
    page = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)  # some CI systems ask for colour
    assert f"Usage: {f'sparsight {command}'.strip()} " in page
    assert "``" not in page


@pytest.mark.parametrize(
    "program",
    [
        "import sparsight",
        "from sparsight.app.main import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from sparsight.app.main import main\ntry: main(['watch', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print('LOADED', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "sparsight" in loaded and not loaded & HEAVY


def test_version_and_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sparsight", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sparsight {__version__}\n"


def test_without_arguments_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave() == 2
    said = capsys.readouterr()
    assert "Start with: sparsight demo" in said.out + said.err


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("wach") == 2
    assert "wach" in capsys.readouterr().err


def test_a_reader_that_goes_away() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m sparsight watch --help | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_completion_in_the_shell() -> None:
    environment = {
        **os.environ,
        "_SPARSIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": "sparsight wa",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "sparsight"], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == ["watch"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SparsightError("no such thing."), "no such thing."),
        (OSError(errno.ENOSPC, "", "a.mp4"), "the disk is full: free some space"),
        (OSError(errno.EFBIG, "", "a.mp4"), "a file grew past the size this system allows"),
        (PermissionError(errno.EACCES, "", "a.mp4"), "permission denied: check who owns it"),
        (OSError(errno.EROFS, "", "a.mp4"), "the file system is read-only"),
        (OSError(errno.EIO, "", "a.mp4"), os.strerror(errno.EIO).lower()),
        (OSError(errno.EIO, "", ".a-123.mp4", None, "a.mp4"), os.strerror(errno.EIO).lower()),
    ],
)
def test_errors_are_a_sentence(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(error, monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sparsight: {text}") and said.endswith(".\n") and said.count("\n") == 1
    assert isinstance(error, SparsightError) or "(a.mp4)" in said


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SPARSIGHT_DEBUG", raising=False)
    bug = KeyError("oops")
    assert sentence(bug) is None
    assert fail_with(bug, monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith("sparsight: internal error") and "KeyError: 'oops'" in said
    assert "SPARSIGHT_DEBUG=1" in said and "Traceback" not in said


def test_a_bug_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(main_module, "app", fail)
    monkeypatch.setenv("SPARSIGHT_DEBUG", "1")
    with pytest.raises(KeyError):
        main([])
