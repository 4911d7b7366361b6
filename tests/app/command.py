"""The command ``sparsight`` in a process of its own, where ``watch`` sees the scene of coloured squares.

``python command.py ARGUMENTS...`` is ``sparsight ARGUMENTS...``. With ``SCENE_MARKS=FOLDER`` it leaves an
empty file there when it begins to load, to watch, and to finish, and dawdles, so that a test can strike then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOADING, WATCHING, FINISHING = "loading", "watching", "finishing"


def start(*arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
    """Start the command; ``more``: for Popen."""
    here = Path(__file__)
    return subprocess.Popen(
        [sys.executable, here, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        **more,
    )


def run(*arguments: str | Path, **more: Any) -> tuple[int, str, str]:
    """Run the command to its end: exit code, standard output, standard error."""
    process = start(*arguments, **more)
    try:
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, output, errors


def wait_for(marks: Path, name: str, process: subprocess.Popen[str]) -> None:
    """Wait until the command says that it is where ``name`` says."""
    deadline = time.monotonic() + 60
    while not (marks / name).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _reaching(name: str, function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def marked(*arguments: Any, **options: Any) -> Any:
        folder = os.environ.get("SCENE_MARKS")
        if folder is not None:
            (Path(folder) / name).touch()
            time.sleep(seconds)
        return function(*arguments, **options)

    return marked


def main() -> None:
    """Run the command with the stand-ins."""
    # A shell starts what runs in the background with Ctrl-C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from scene import ColourDetector, ColourEmbedder

    from sparsight.app import main as command
    from sparsight.app import watch

    watch.IDENTITIES_EVERY = 0.1
    ColourDetector.__call__ = _reaching(WATCHING, ColourDetector.__call__, 0.02)  # type: ignore[method-assign]
    watch.build_detector = _reaching(LOADING, lambda name, device: ColourDetector(), 0.5)  # type: ignore[attr-defined]
    watch.build_embedder = lambda name, device: ColourEmbedder()  # type: ignore[attr-defined]
    watch.write_report = _reaching(FINISHING, watch.write_report, 0.5)  # type: ignore[attr-defined]
    command.main()


if __name__ == "__main__":
    main()
