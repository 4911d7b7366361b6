"""How long each stage takes, in memory that doesn't grow with the number of frames."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_PER_OCTAVE = 16
_FLOOR_MS = 1e-3
_BINS = 28 * _PER_OCTAVE  # from one microsecond to about four minutes


@dataclass(frozen=True)
class StageSummary:
    """Milliseconds that one stage took: how often it ran, its median, 95th percentile and total."""

    name: str
    count: int
    median_ms: float
    p95_ms: float
    total_ms: float


class StageTimes:
    """A histogram of durations per stage: bins grow by 4.4%, so a percentile is right to about 2%."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self._totals: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block and count it under ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, (time.perf_counter() - start) * 1000)

    def add(self, stage: str, ms: float) -> None:
        """Count a duration of ``ms`` milliseconds under ``stage``."""
        counts = self._counts.setdefault(stage, np.zeros(_BINS, np.int64))
        position = int(np.log2(max(ms, _FLOOR_MS) / _FLOOR_MS) * _PER_OCTAVE)
        counts[min(position, _BINS - 1)] += 1
        self._totals[stage] = self._totals.get(stage, 0.0) + ms

    def summary(self) -> list[StageSummary]:
        """One row per stage, in the order in which the stages first ran."""
        return [
            StageSummary(
                name,
                int(counts.sum()),
                _percentile(counts, 0.5),
                _percentile(counts, 0.95),
                self._totals[name],
            )
            for name, counts in self._counts.items()
        ]


def _percentile(counts: np.ndarray[tuple[int], np.dtype[np.int64]], fraction: float) -> float:
    cumulative = np.cumsum(counts)
    position = int(np.searchsorted(cumulative, fraction * cumulative[-1]))
    return float(_FLOOR_MS * 2 ** ((position + 0.5) / _PER_OCTAVE))
