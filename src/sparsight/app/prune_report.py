"""``report.html`` of a pruning run, and the page about how sensitive layers are: self-contained."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import PIL.Image
from markupsafe import Markup
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight import __version__
from sparsight.app.charts import Series, bar_chart, filter_strip, line_chart
from sparsight.files import write_text
from sparsight.prune import schedules

if TYPE_CHECKING:
    from sparsight.prune.outcome import LayerFilters, RunResult
    from sparsight.prune.profiling import Profile
    from sparsight.prune.saved import Recipe
    from sparsight.prune.sensitivity import Sensitivity

REPORT = "report.html"

_MOST_PICTURES = 256
_FILTER_SIDE = 7
"""Pixels for each weight of a filter that is drawn."""


def write_report(result: RunResult) -> Path:
    """Write the page about a run into its folder: all pictures are inside, nothing is fetched to show it."""
    options = result.options
    last = result.history[-1]
    page = _template("prune_report.html.j2").render(
        title=f"Pruned: {options.model} on {options.dataset}",
        subtitle=_subtitle(),
        facts=_facts(result),
        schedule=Markup(_schedule(result)) if result.sparsity else "",
        accuracy=Markup(_accuracy(result)),
        layers=Markup(_layers(result)) if result.layers else "",
        shortfall=result.shortfall,
        filters=[_filters(row) for row in result.filters],
        costs=costs(result.before, result.after),
        skipped=[{"name": name, "reason": reason} for name, reason in result.skipped],
        removed=[
            {"name": name, "before": count + result.removed.get(name, 0), "after": count}
            for name, count in result.kept.items()
        ],
        timed=f"ONNX Runtime, {result.after.device}, {result.after.threads} threads; both networks turn by "
        "turn; median of the calls, from the 10th to the 90th percentile.",
        settings=[
            *((name.replace("_", " "), _said(value)) for name, value in vars(options).items()),
            ("numerics", ", ".join(result.numerics)),
            ("training took", f"{sum(epoch.seconds for epoch in result.history):.0f} s"),
            ("last training loss", f"{last.loss:.4f}"),
        ],
    )
    path = options.out / REPORT
    write_text(path, page)
    return path


def write_sensitivity(path: Path, found: Sensitivity, subject: str) -> None:
    """Write the page about the sensitivity of layers."""
    charts = [
        {
            "name": name,
            "suggested": f"{found.suggested[name]:.0%}",
            "chart": Markup(
                line_chart(
                    [Series(name, found.sparsities, values, dots=True)],
                    x_label="sparsity of this layer alone",
                    y_label=f"accuracy against sparsity of {name}",
                    x_range=(0, 1),
                    y_range=_around([*values, found.accuracy]),
                )
            ),
        }
        for name, values in found.accuracies.items()
    ]
    page = _template("prune_sensitivity.html.j2").render(
        title=f"How sensitive its layers are: {subject}",
        subtitle=_subtitle(),
        accuracy=f"{found.accuracy:.2%}",
        drop=f"{found.drop:.2%}",
        granularity=found.granularity,
        criterion=found.criterion,
        suggested=Markup(
            bar_chart(
                [(name, share, f"{share:.0%}") for name, share in found.suggested.items()],
                "suggested sparsity of each layer",
            )
        ),
        charts=charts,
    )
    write_text(path, page)


def write_explanation(path: Path, network: nn.Module, recipe: Recipe) -> list[str]:
    """Write the page about what is left of each layer of a saved network, and say it in lines of text."""
    from sparsight.prune.layer import prunable_layers
    from sparsight.prune.outcome import layer_filters

    original = {name: _width(layer) for name, layer in prunable_layers(recipe.build()).items()}
    rows = [(name, original[name], _width(layer)) for name, layer in prunable_layers(network).items()]
    bars = [(name, after / before, f"{after} of {before}") for name, before, after in rows]
    page = _template("prune_explanation.html.j2").render(
        title=f"What is left of {recipe.network}",
        subtitle=_subtitle(),
        widths=Markup(bar_chart(bars, "filters left in each layer")),
        filters=[_filters(row) for row in layer_filters(network)],
        settings=[
            ("input", f"{' x '.join(map(str, recipe.input_shape))}, {recipe.colours}"),
            ("classes", ", ".join(recipe.classes)),
        ],
    )
    write_text(path, page)
    return [f"{name}: {after} of {before} filters" for name, before, after in rows]


def costs(before: Profile, after: Profile) -> list[dict[str, str]]:
    """Rows of the table that sets two networks side by side."""
    rows = [
        (
            "parameters",
            f"{before.parameters:,}",
            f"{after.parameters:,}",
            before.parameters,
            after.parameters,
        ),
        ("multiply-accumulates", f"{before.macs:,}", f"{after.macs:,}", before.macs, after.macs),
        ("ONNX file, bytes", f"{before.bytes:,}", f"{after.bytes:,}", before.bytes, after.bytes),
    ]
    for batch, old in before.latency.items():
        new = after.latency[batch]
        texts = (f"{each.median_ms:.3g} ({each.low_ms:.3g} to {each.high_ms:.3g})" for each in (old, new))
        rows.append((f"milliseconds, batch {batch}", *texts, old.median_ms, new.median_ms))  # type: ignore[arg-type]
    return [
        {"name": name, "before": old, "after": new, "ratio": f"{b / a:.2f}" if a else ""}
        for name, old, new, a, b in rows
    ]


def _facts(result: RunResult) -> list[dict[str, str]]:
    before, after = result.before, result.after
    facts = [{"value": f"{result.accuracy:.2%}", "label": "accuracy of the small network"}]
    if result.dense_history:
        facts.append({"value": f"{result.dense_history[-1].accuracy:.2%}", "label": "dense, same budget"})
    if result.start_accuracy is not None:
        facts.append({"value": f"{result.start_accuracy:.2%}", "label": "of the first weights"})
    facts += [
        {"value": f"{result.history[-1].sparsity:.1%}", "label": "of the weights are zero before shrinking"},
        {"value": f"{after.parameters / before.parameters:.2f}", "label": "of the parameters"},
        {"value": f"{after.macs / max(before.macs, 1):.2f}", "label": "of the multiply-accumulates"},
    ]
    for batch in before.latency:
        ratio = after.latency[batch].median_ms / before.latency[batch].median_ms
        facts.append({"value": f"{ratio:.2f}", "label": f"of the time, batch {batch}"})
    return facts


def _schedule(result: RunResult) -> str:
    options = result.options
    progress = np.linspace(0, 1, 241)
    inside = np.clip((progress - options.start) / (options.end - options.start), 0, 1)
    asked = np.where(progress < options.start, 0, schedules.parse(options.schedule)(inside))
    epochs = len(result.history)
    return line_chart(
        [
            Series("asked for", (progress * epochs).tolist(), (result.sparsity * asked).tolist()),
            Series(
                "of all weights, reached",
                [epoch.number for epoch in result.history],
                [epoch.sparsity for epoch in result.history],
                dots=True,
            ),
        ],
        x_label="epochs",
        y_label="sparsity over the training",
        x_range=(0, epochs),
        y_range=(0, 1),
        whole_x=True,
    )


def _accuracy(result: RunResult) -> str:
    lines = [("pruned" if result.sparsity else "dense", result.history)]
    if result.dense_history:
        lines.append(("dense", result.dense_history))
    values = [epoch.accuracy for _, history in lines for epoch in history]
    return line_chart(
        [
            Series(
                name, [epoch.number for epoch in history], [epoch.accuracy for epoch in history], dots=True
            )
            for name, history in lines
        ],
        x_label="epochs",
        y_label="accuracy on the test images after each epoch",
        x_range=(min(1, len(result.history) - 1), len(result.history)),
        y_range=_around(values),
        whole_x=True,
    )


def _layers(result: RunResult) -> str:
    rows = [
        (row.name, row.sparsity, f"{row.sparsity:.1%}, {row.kept:,} of {row.blocks:,}")
        for row in result.layers
    ]
    return bar_chart(rows, "sparsity of each layer")


def _filters(row: LayerFilters) -> dict[str, Any]:
    kept = sum(row.kept)
    label = f"{row.name}: {kept} of {len(row.kept)} filters kept"
    return {
        "label": label,
        "strip": Markup(filter_strip(row.kept, row.strength, label)),
        "picture": None if row.pictures is None else _filter_picture(row.pictures),
    }


def _filter_picture(filters: NDArray[np.float32]) -> str:
    """The filters of a first convolution side by side, a PNG in a data address; zeros are grey."""
    filters = filters[:_MOST_PICTURES]
    count, channels = filters.shape[:2]
    scale = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    shade = 127.5 + 127.5 * filters / np.where(scale > 0, scale, 1)
    if channels == 1:
        shade = shade.repeat(3, axis=1)
    tiles = np.kron(shade, np.ones((1, 1, _FILTER_SIDE, _FILTER_SIDE), np.float32))
    tiles = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
    across = min(count, 16)
    missing = -count % across
    tiles = np.concatenate([tiles, np.full((missing, *tiles.shape[1:]), 255, np.float32)])
    rows = tiles.reshape(-1, across, *tiles.shape[1:]).transpose(0, 3, 1, 4, 2)
    image = rows.reshape(rows.shape[0] * rows.shape[1], -1, 3).round().astype(np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _width(layer: nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return len(weight)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """A range in 0..1 that holds ``values`` and some air."""
    air = max(0.01, 0.08 * (max(values) - min(values)))
    return max(0.0, min(values) - air), min(1.0, max(values) + air)


def _said(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _subtitle() -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M')} · sparsight {__version__}"


def _template(name: str) -> jinja2.Template:
    # Names come from files and people: everything that the templates print is escaped, but for charts.
    def read(part: str) -> str:
        return resources.files("sparsight.app").joinpath(f"templates/{part}").read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(read)
    )
    return environment.get_template(name)
