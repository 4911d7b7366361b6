"""Scoring chunks of images, in this process or in several."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from sparsight.errors import SparsightError
from sparsight.saliency.metrics import METRICS
from sparsight.saliency.scoring_parts import KEYS, part, write_part, write_skipped
from sparsight.saliency.scoring_truth import (
    Field,
    fitted_map,
    read_pictures,
    score_one,
    truth_of,
    with_centre_prior,
)

PRIORS = ("none", "centre")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, eq=False)
class Work:
    """What all chunks of a run have in common."""

    field: Field
    out: Path
    metrics: tuple[str, ...]
    preset: str
    seed: int
    resize: bool


@dataclass(frozen=True)
class Chunk:
    """Images to score by some models: the first index, all indices, the names of the models."""

    first: int
    images: tuple[int, ...]
    models: tuple[str, ...]


class Scorer:
    """Scores chunks; each model is built once, when it is first needed."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._models: dict[str, Any] = {}

    def __call__(self, chunk: Chunk, step: Callable[[int], None]) -> None:
        """Score a chunk and write its files; ``step`` hears how many maps were scored since it last did."""
        work = self._work
        dataset = work.field.dataset
        skipped: dict[str, str] = {}
        rows: dict[str, list[list[Any]]] = {model: [] for model in chunk.models}
        for index in chunk.images:
            name = dataset.names[index]
            try:
                pictures = read_pictures(dataset, index)
            except SparsightError as error:
                skipped[name] = str(error)
                step(len(chunk.models))
                continue
            image = pictures.image
            if image.shape[:2] != tuple(work.field.sizes[index]):
                raise SparsightError(f"{dataset.images[index]} changed while it was read: score again.")
            truth = truth_of(work.field, index, pictures)
            if not any(truth.keys() >= set(METRICS[metric].needs) for metric in work.metrics):
                skipped[name] = f"{dataset.images[index]} has a region or density of nothing but zeros."
                step(len(chunk.models))
                continue
            for model in chunk.models:
                values = fitted_map(self._map(model, image, name), image, model, name, work.resize)
                for prior in PRIORS:
                    judged = values if prior == "none" else with_centre_prior(values)
                    scores = score_one(judged, truth, work.metrics, work.preset, work.seed)
                    rows[model].append([dataset.name, name, model, prior, *scores])
                step(1)
        write_skipped(work.out, chunk.first, skipped)
        for model, found in rows.items():
            write_part(part(work.out, model, chunk.first), (*KEYS, *work.metrics), found)

    def _map(self, model: str, image: Any, name: str) -> Any:
        from sparsight.saliency.models import accepts, build, predict

        if model not in self._models:
            # Maps from a folder are stretched by the model that reads them.
            options = {"resize": True} if self._work.resize and accepts(model, "resize") else {}
            self._models[model] = build(model, **options)
        return predict(self._models[model], image, name).map


def score_chunks(work: Work, chunks: Sequence[Chunk], jobs: int, step: Callable[[int], None]) -> None:
    """Score all chunks; ``step`` hears how many maps were scored since it last did.

    Raises:
        SparsightError: bad input, or a process that died.
    """
    if jobs == 1 or len(chunks) < 2:
        scorer = Scorer(work)
        for chunk in chunks:
            scorer(chunk, step)
        return
    context = get_context("spawn")  # a fork would copy locks that threads of torch hold
    waiting = list(reversed(chunks))
    pipes: dict[Any, Any] = {}  # ours of each process → the process
    try:
        with _one_thread():
            for _ in range(min(jobs, len(chunks))):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, work), daemon=True)
                process.start()
                theirs.close()
                pipes[ours] = process
        for pipe in pipes:
            pipe.send(waiting.pop())
        busy = set(pipes)
        while busy:
            ready: list[Any] = connection.wait(list(busy))
            for pipe in ready:
                try:
                    kind, value = pipe.recv()
                except (EOFError, OSError):
                    raise SparsightError(
                        "a process that scored was ended from outside, for want of memory perhaps: start "
                        "again with fewer --jobs, what is done is kept."
                    ) from None
                if kind == "step":
                    step(value)
                elif kind == "bad input":
                    raise SparsightError(value)
                elif kind == "bug":
                    raise RuntimeError(value)
                elif waiting:
                    pipe.send(waiting.pop())
                else:
                    busy.discard(pipe)
    finally:
        for pipe, process in pipes.items():
            pipe.close()
            process.terminate()
        for process in pipes.values():
            process.join()


def _serve(pipe: Any, work: Work) -> None:
    """A process: take chunks until the pipe is closed, as it is when the one at its other end dies."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    cv2.setNumThreads(1)
    scorer = Scorer(work)
    with contextlib.suppress(EOFError, OSError):
        while True:
            chunk = pipe.recv()
            try:
                scorer(chunk, lambda count: pipe.send(("step", count)))
                pipe.send(("done", None))
            except SparsightError as error:
                pipe.send(("bad input", str(error)))
            except BrokenPipeError:
                return
            except Exception:
                pipe.send(("bug", traceback.format_exc()))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start in the block compute with one thread each, as there are several of them."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
