"""The Python of the manual's pages on pruning runs as it stands there, page by page, from top to bottom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsight import nets
from sparsight.nets.export import export
from sparsight.prune import latency
from sparsight.prune.shrinking import layout

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("prune*.md"))
SHAPE = (3, 32, 32)
CLASSES = 10


def batches(shape: tuple[int, ...], count: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(8, *shape, generator=generator), torch.randint(CLASSES, (8,), generator=generator))
        for _ in range(count)
    ]


def network(**options: Any) -> nn.Module:
    return nets.build("convnet", input_shape=SHAPE, widths=(16, 32), num_classes=CLASSES, **options)


def train(model: nn.Module, step: Callable[[float], None] = lambda progress: None) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    images = batches(SHAPE)
    for done, (inputs, labels) in enumerate(images, 1):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        step(done / len(images))


def sparsify() -> dict[str, Any]:
    model = network()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters()),
        "criterion": functional.cross_entropy,
        "loader": batches(SHAPE),
        "epochs": 1,
        "images": torch.zeros(1, *SHAPE),
    }


def inputs() -> dict[str, Any]:
    return {
        "batches": batches((1, 28, 28)),
        "images": torch.rand(4, 1, 28, 28),
        "loss": functional.cross_entropy,
        "model": nets.build("mlp"),
        "steps": 4,
    }


def profiling() -> dict[str, Any]:
    model = network()
    Path("model.onnx").write_bytes(export(model, SHAPE))
    calibration = [images.numpy().astype(np.float32) for images, _ in batches(SHAPE, 2)]
    return {"model": model, "batches": calibration, "example": torch.zeros(1, *SHAPE)}


def shrinking() -> dict[str, Any]:
    model = nets.build("resnet18", num_classes=10)
    return {"model": model, "widths": layout(model), "state": model.state_dict()}


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "prune": sparsify,
    "prune_criteria": lambda: {"model": network(), "steps": 4, "train": train},
    "prune_inputs": inputs,
    "prune_profile": profiling,
    "prune_shrink": shrinking,
}
"""Page → what its reader has: a model, data, a loop."""

MEANWHILE: dict[str, Callable[[], dict[str, Any]]] = {
    "front_end = BlockDCT(4)": lambda: {"batches": batches(SHAPE)},
    "selector.pack(images)": lambda: {"images": np.zeros((4, 1, 28, 28), np.uint8)},
}
"""What a block holds → what its reader has instead from then on."""

ELSEWHERE = {
    "prune": ("lightning.Trainer(",),
    "prune_inputs": ("selecting = InputSelection(model",),
    "prune_train": ("session = onnxruntime", "result = run(RunOptions"),
}
"""Page → what those blocks hold that need other packages, a loop around them or a data set; the like is done
in ``test_callbacks.py``, ``test_inputs_selecting.py`` and ``tests/app/test_prune_cmd.py``."""

IMPORTED = {"torch": torch, "nn": nn, "nets": nets, "np": np, "json": __import__("json")}


def blocks(page: str) -> Iterator[tuple[int, str]]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if not any(mark in found[1] for mark in ELSEWHERE.get(page, ())):
            yield text[: found.start()].count("\n") + 2, found[1]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(latency, "_SECONDS", 0.2)
    torch.manual_seed(0)
    names: dict[str, Any] = {**IMPORTED, **GIVEN.get(page, dict)()}
    ran = 0
    for line, source in blocks(page):
        for mark, given in MEANWHILE.items():
            if mark in source:
                names |= given()
        # Lines are counted as on the page, for tracebacks.
        exec(compile("\n" * (line - 1) + source, str(DOCS / f"{page}.md"), "exec"), names)
        ran += 1
    assert ran or page not in GIVEN


@pytest.mark.parametrize("page", ELSEWHERE)
def test_what_is_left_out_is_still_there(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert all(mark in text for mark in ELSEWHERE[page])
