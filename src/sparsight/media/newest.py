"""Keep up with a live source: read all the time, hand out only the newest picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from sparsight.media.source import Shot, Source

_CLOSE_TIMEOUT = 2.0
_POLL = 0.2  # seconds in which a stop is noticed


class Newest:
    """Reads a source in a thread of its own, so that a slow consumer sees the present and not a backlog.

    Whatever arrives while the consumer is busy replaces the picture that waits for it. The thread owns the
    source and closes it: closing it under a blocking read would crash.
    """

    def __init__(self, source: Source, every: int) -> None:
        self._source = source
        self._every = every
        self._changed = threading.Condition()
        self._waiting: Shot | None = None
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=f"read {source.name}", daemon=True)
        self._thread.start()

    def shots(self) -> Iterator[Shot]:
        """The newest picture each time, until the source ends or is stopped."""
        while not self._stopped:
            with self._changed:
                if not self._changed.wait_for(lambda: self._waiting is not None or self._ended, _POLL):
                    continue
                shot, self._waiting = self._waiting, None
            if shot is None:
                if self._error is not None:
                    raise self._error
                return
            yield shot

    def stop(self) -> None:
        """Let ``shots`` end soon, even if the source is silent. Fit for a signal handler: takes no lock."""
        self._stopped = True

    def close(self) -> None:
        """Stop reading; a thread that is stuck in a silent network ends when its read times out."""
        self._stopped = True
        self._thread.join(_CLOSE_TIMEOUT)

    def _read(self) -> None:
        try:
            for shot in self._source.shots():
                if self._stopped:
                    break
                if shot.index % self._every == 0:
                    with self._changed:
                        self._waiting = shot
                        self._changed.notify()
        except BaseException as error:  # handed to the consumer
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify()
