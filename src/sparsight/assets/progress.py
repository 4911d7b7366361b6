"""A progress bar for what takes more than a moment, where somebody is looking."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0


class Meter:
    """Counts bytes; draws a bar on stderr once a second has passed, if stderr is a terminal."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Meter:
        return self

    def advance(self, count: int) -> None:
        """Note that ``count`` more bytes came."""
        self._done += count
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=self._done)
        elif sys.stderr.isatty() and time.monotonic() - self._start > PATIENCE_SECONDS:
            self._bar = self._draw()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()

    def _draw(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = progress.add_task(self._label, total=self._total, completed=self._done)
        progress.start()
        return progress, task
