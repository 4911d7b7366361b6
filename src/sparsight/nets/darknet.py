"""Darknet networks: any ``.cfg`` made of the layers that YOLOv3, YOLOv4 and Yolo-Fastest use.

Sources: Redmon and Farhadi, *YOLOv3: An Incremental Improvement* (arXiv 1804.02767); Bochkovskiy et al.,
*YOLOv4* (arXiv 2004.10934), section 3.4 for ``scale_x_y``; Wang et al., *Scaled-YOLOv4* (arXiv 2011.08036)
for ``new_coords``. Darknet's own habits, which its files take for granted: a ``maxpool`` is padded by
``size - 1`` in all, the smaller half first; ``pad=1`` means half the kernel; batch norm adds 1e-5 to the
variance; leaky means a slope of 0.1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.registry import unknown

BATCH_NORM_EPSILON = 1e-5
LEAKY_SLOPE = 0.1
MAX_TEXT_BYTES = 1 << 20
MAX_LAYERS = 2000
MAX_SIDE = 8192
MAX_PARAMETERS = 1 << 28
MAX_MAP = 1 << 28
"""Limits on what a file may ask for, far above any real network: it is refused before memory is taken."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(LEAKY_SLOPE),
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "mish": nn.Mish,
    "swish": nn.SiLU,
    "logistic": nn.Sigmoid,
}

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Section:
    """One ``[kind]`` of a cfg and its settings, with the line it starts at."""

    kind: str
    line: int
    settings: dict[str, str] = field(default_factory=dict)

    def error(self, problem: str) -> SparsightError:
        """The error that says where ``problem`` is."""
        return SparsightError(f"the cfg's [{self.kind}] at line {self.line} {problem}.")

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """The setting ``key`` as an integer within ``low`` and ``high``."""
        text = self.settings.get(key, str(default))
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise self.error(f"has {key}={text}, but an integer from {low} to {high} is needed")
        return value

    def numbers(self, key: str, default: str = "") -> list[float]:
        """The setting ``key`` as a list of finite numbers separated by commas."""
        text = self.settings.get(key, default)
        try:
            values = [float(item) for item in text.split(",") if item.strip()]
        except ValueError:
            values = [float("nan")]
        if not np.isfinite(values).all():
            raise self.error(f"has {key}={text}, but finite numbers separated by commas are needed")
        return values

    def integers(self, key: str, default: str = "") -> list[int]:
        """The setting ``key`` as a list of integers separated by commas."""
        values = self.numbers(key, default)
        if any(value != int(value) for value in values):
            raise self.error(f"has {key}={self.settings.get(key)}, but integers are needed")
        return [int(value) for value in values]


def parse_cfg(text: str) -> list[Section]:
    """The sections of a cfg, ``[net]`` first.

    Raises:
        SparsightError: it is not a cfg, or too long to be one.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise SparsightError(f"the cfg is longer than {MAX_TEXT_BYTES >> 20} MiB: it is not a Darknet cfg.")
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].split(";")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1].strip().lower(), number))
        elif sections and "=" in line:
            key, value = line.split("=", 1)
            sections[-1].settings[key.strip().lower()] = value.strip()
        else:
            raise SparsightError(
                f"line {number} of the cfg is neither a [section] nor a key=value within one: {line[:40]!r}."
            )
    if not sections or sections[0].kind not in ("net", "network"):
        raise SparsightError("the cfg does not begin with a [net] section: it is not a Darknet cfg.")
    if not 2 <= len(sections) <= MAX_LAYERS:
        raise SparsightError(f"the cfg has {len(sections) - 1} layers, but 1 to {MAX_LAYERS - 1} are needed.")
    return sections


# --- Layers ----------------------------------------------------------------------------------------------


class _Convolution(nn.Sequential):
    """Convolution, batch norm where the cfg has one, activation."""

    def __init__(self, conv: nn.Conv2d, norm: bool, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        if norm:
            self.norm = nn.BatchNorm2d(conv.out_channels, eps=BATCH_NORM_EPSILON)
        self.activation = activation


class _Route(nn.Module):
    """Concatenate maps along their channels, after taking one of ``groups`` equal parts of each."""

    def __init__(self, groups: int, group: int) -> None:
        super().__init__()
        self.groups, self.group = groups, group

    def forward(self, *maps: Tensor) -> Tensor:
        parts = [m.chunk(self.groups, dim=1)[self.group] for m in maps] if self.groups > 1 else list(maps)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class _Shortcut(nn.Module):
    """Sum of maps, then an activation."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            x = x + other
        return self.activation(x)  # type: ignore[no-any-return]


class YoloHead(nn.Module):
    """Decodes one map of predictions into boxes, in pixels of the network's input.

    Args:
        anchors: (A, 2) width and height of each anchor in pixels.
        classes: number of classes.
        grid: (height, width) of the map.
        stride: (x, y) pixels per cell.
        scale_xy: how far a centre may leave its cell (YOLOv4's ``scale_x_y``).
        new_coords: the map has been through a logistic activation; sizes are squares, not exponentials.
    """

    def __init__(
        self, anchors: NDArray[np.float64], classes: int, grid: tuple[int, int], stride: tuple[float, float],
        scale_xy: float, new_coords: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes, self.scale_xy, self.new_coords = classes, scale_xy, new_coords
        rows, columns = np.meshgrid(np.arange(grid[0]), np.arange(grid[1]), indexing="ij")
        # A centre's offset within its cell is sigmoid * scale - (scale - 1) / 2: the constant goes here.
        cells = np.stack([columns, rows], axis=-1).reshape(-1, 2) - (scale_xy - 1) / 2
        for name, array in (("anchors", anchors[:, None]), ("cells", cells), ("stride", np.array(stride))):
            self.register_buffer(name, torch.from_numpy(array.astype(np.float32)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, A * (5 + classes), H, W) → (N, A * H * W, 5 + classes); columns as in :class:`Darknet`."""
        anchors, cells, stride = (self.get_buffer(name) for name in ("anchors", "cells", "stride"))
        x = x.flatten(2).transpose(1, 2)  # N, cells, A * columns
        x = torch.unflatten(x, 2, (len(anchors), -1)).transpose(1, 2)  # N, A, cells, columns
        if self.new_coords:
            offset, size, confidence = x[..., :2], (2 * x[..., 2:4]) ** 2, x[..., 4:]
        else:
            offset, size, confidence = x[..., :2].sigmoid(), x[..., 2:4].exp(), x[..., 4:].sigmoid()
        centre = (offset * self.scale_xy + cells) * stride
        return torch.cat([centre, size * anchors, confidence], dim=-1).flatten(1, 2)


@dataclass
class _Plan:
    """The network as it is being built: where each layer reads from, and the shape it leaves."""

    input_shape: Shape
    shapes: list[Shape] = field(default_factory=list)
    parameters: int = 0

    @property
    def last(self) -> Shape:
        return self.shapes[-1] if self.shapes else self.input_shape

    def source(self, section: Section, index: int) -> int:
        """The absolute number of the layer that ``index`` (relative when negative) means."""
        here = len(self.shapes)
        absolute = here + index if index < 0 else index
        if not 0 <= absolute < here:
            raise section.error(f"reads from layer {index}, but only layers 0 to {here - 1} stand before it")
        return absolute


_Built = tuple[nn.Module, Shape, list[int]]
"""A layer, the shape it leaves, and the layers it reads (none: the one before it)."""


def _activation(section: Section, default: str) -> nn.Module:
    name = section.settings.get("activation", default)
    if name not in ACTIVATIONS:
        raise section.error(f"cannot be built: {unknown('activation', name, ACTIVATIONS).rstrip('.')}")
    return ACTIVATIONS[name]()


def _convolutional(section: Section, plan: _Plan) -> _Built:
    channels, height, width = plan.last
    filters = section.integer("filters", 1, 1, 1 << 16)
    size = section.integer("size", 1, 1, 63)
    stride = section.integer("stride", 1, 1, 64)
    groups = section.integer("groups", 1, 1, 1 << 16)
    padding = size // 2 if section.integer("pad", 0, 0, 1) else section.integer("padding", 0, 0, 63)
    if channels % groups or filters % groups:
        raise section.error(
            f"has groups={groups}, which does not divide {channels} channels and {filters} filters"
        )
    norm = section.integer("batch_normalize", 0, 0, 1) == 1
    plan.parameters += filters * (channels // groups) * size * size + filters * 4
    if plan.parameters > MAX_PARAMETERS:
        raise section.error(f"brings the network above {MAX_PARAMETERS} parameters")
    shape = (filters, (height + 2 * padding - size) // stride + 1, (width + 2 * padding - size) // stride + 1)
    if min(shape) < 1:  # before the convolution is made: torch would only complain when run
        raise section.error(f"needs a larger map than the {height}x{width} before it")
    conv = nn.Conv2d(channels, filters, size, stride, padding, groups=groups, bias=not norm)
    return _Convolution(conv, norm, _activation(section, "logistic")), shape, []


def _maxpool(section: Section, plan: _Plan) -> _Built:
    channels, height, width = plan.last
    stride = section.integer("stride", 1, 1, 64)
    size = section.integer("size", stride, 1, 63)
    padding = section.integer("padding", size - 1, 0, size - 1)
    before = padding // 2
    out = [(side + padding - size) // stride + 1 for side in (height, width)]
    if min(out) < 1:
        raise section.error(f"needs a larger map than the {height}x{width} before it")
    # What is padded after is what the last window reaches beyond the map: less than the nominal padding.
    after = [(n - 1) * stride + size - before - side for n, side in zip(out, (height, width), strict=True)]
    shape = (channels, out[0], out[1])
    if after == [before, before]:
        return nn.MaxPool2d(size, stride, before), shape, []
    edges = (before, max(after[1], 0), before, max(after[0], 0))
    pool = nn.MaxPool2d(size, stride)
    if any(edges):
        return nn.Sequential(nn.ConstantPad2d(edges, float("-inf")), pool), shape, []
    return pool, shape, []


def _avgpool(section: Section, plan: _Plan) -> _Built:
    return nn.AdaptiveAvgPool2d(1), (plan.last[0], 1, 1), []


def _upsample(section: Section, plan: _Plan) -> _Built:
    channels, height, width = plan.last
    stride = section.integer("stride", 2, 1, 32)
    return nn.Upsample(scale_factor=float(stride)), (channels, height * stride, width * stride), []


def _route(section: Section, plan: _Plan) -> _Built:
    sources = [plan.source(section, index) for index in section.integers("layers")]
    if not sources:
        raise section.error("names no layers")
    groups = section.integer("groups", 1, 1, 1 << 16)
    group = section.integer("group_id", 0, 0, groups - 1)
    shapes = [plan.shapes[source] for source in sources]
    if len({shape[1:] for shape in shapes}) > 1:
        raise section.error(f"joins maps of different sizes: {shapes}")
    if any(shape[0] % groups for shape in shapes):
        raise section.error(f"has groups={groups}, which does not divide the channels of {shapes}")
    channels = sum(shape[0] // groups for shape in shapes)
    return _Route(groups, group), (channels, *shapes[0][1:]), sources


def _shortcut(section: Section, plan: _Plan) -> _Built:
    sources = [plan.source(section, index) for index in (-1, *section.integers("from"))]
    shapes = [plan.shapes[source] for source in sources]
    if len(sources) < 2 or len(set(shapes)) > 1:
        raise section.error(f"needs maps of one shape to add, but has {shapes}")
    return _Shortcut(_activation(section, "linear")), shapes[0], sources


def _dropout(section: Section, plan: _Plan) -> _Built:
    probability = section.numbers("probability", "0.5")
    if len(probability) != 1 or not 0 <= probability[0] <= 1:
        raise section.error("has a probability outside 0 to 1")
    return nn.Dropout(probability[0]), plan.last, []


def _yolo(section: Section, plan: _Plan) -> _Built:
    channels, height, width = plan.last
    classes = section.integer("classes", 20, 1, 1 << 16)
    pairs = np.array(section.numbers("anchors"))
    if not len(pairs) or len(pairs) % 2 or pairs.min() <= 0:
        raise section.error("needs anchors: pairs of positive widths and heights")
    anchors = pairs.reshape(-1, 2)
    mask = section.integers("mask") or list(range(len(anchors)))
    if min(mask) < 0 or max(mask) >= len(anchors):
        raise section.error(f"has mask={section.settings['mask']}, but only {len(anchors)} anchors")
    if channels != len(mask) * (5 + classes):
        raise section.error(
            f"reads {channels} channels, but {len(mask)} anchors and {classes} classes"
            f" take {len(mask) * (5 + classes)}"
        )
    scale = section.numbers("scale_x_y", "1")
    if len(scale) != 1:
        raise section.error("needs one number as scale_x_y")
    stride = (plan.input_shape[2] / width, plan.input_shape[1] / height)
    new_coords = section.integer("new_coords", 0, 0, 1) == 1
    head = YoloHead(anchors[mask], classes, (height, width), stride, scale[0], new_coords)
    return head, plan.last, []


LAYERS: dict[str, Callable[[Section, _Plan], _Built]] = {
    "convolutional": _convolutional,
    "conv": _convolutional,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "dropout": _dropout,
    "yolo": _yolo,
}
"""Kind of section → function that builds its layer."""

_UNSUPPORTED: Mapping[str, tuple[str, ...]] = {
    "dilation": ("1",),
    "antialiasing": ("0",),
    "binary": ("0",),
    "xnor": ("0",),
    "flipped": ("0",),
    "maxpool_depth": ("0",),
    "weights_type": ("none",),
    "stride_x": (),
    "stride_y": (),
    "scale": ("1", "1.0"),
}
"""Settings that would change what a layer computes and that nothing here follows → their harmless values."""


# --- The network -----------------------------------------------------------------------------------------


class Darknet(nn.Module):
    """A network built from a cfg.

    ``forward`` takes (N, C, H, W) RGB in [0, 1] and returns (N, A, 5 + classes) when the cfg has ``[yolo]``
    layers, their predictions one after the other: centre x, centre y, width, height in pixels of the input,
    objectness and class probabilities in [0, 1]. Without ``[yolo]`` it returns the last layer's map.

    Attributes:
        input_shape: the cfg's (channels, height, width).
        classes: number of classes, or 0 without ``[yolo]``.
    """

    def __init__(self, sections: list[Section]) -> None:
        super().__init__()
        net = sections[0]
        plan = _Plan(
            (
                net.integer("channels", 3, 1, 1024),
                net.integer("height", 416, 1, MAX_SIDE),
                net.integer("width", 416, 1, MAX_SIDE),
            )
        )
        self.input_shape = plan.input_shape
        self.layers = nn.ModuleList()
        self._sources: list[list[int]] = []
        for section in sections[1:]:
            if section.kind not in LAYERS:
                raise SparsightError(
                    f"line {section.line} of the cfg cannot be built: "
                    + unknown("Darknet layer", section.kind, LAYERS)
                )
            for key, harmless in _UNSUPPORTED.items():
                value = section.settings.get(key)
                if value is not None and value not in harmless:
                    raise section.error(f"sets {key}={value}, which is not supported")
            layer, shape, sources = LAYERS[section.kind](section, plan)
            if np.prod(shape, dtype=np.float64) > MAX_MAP:
                raise section.error(f"makes a map of {shape}, which is too large")
            sources = sources or [len(plan.shapes) - 1]
            if any(isinstance(self.layers[source], YoloHead) for source in sources if source >= 0):
                raise section.error("reads from a [yolo] layer, which leaves boxes, not a map")
            self._sources.append(sources)
            plan.shapes.append(shape)
            self.layers.append(layer)
        heads = [layer for layer in self.layers if isinstance(layer, YoloHead)]
        if len({head.classes for head in heads}) > 1:
            raise SparsightError("the cfg's [yolo] layers differ in their number of classes.")
        self.classes = heads[0].classes if heads else 0
        self._last_use = {source: i for i, sources in enumerate(self._sources) for source in sources}

    def forward(self, x: Tensor) -> Tensor:
        """Predictions; see the class."""
        maps: dict[int, Tensor] = {-1: x}
        predictions = []
        for i, (layer, sources) in enumerate(zip(self.layers, self._sources, strict=True)):
            out: Tensor = layer(*(maps[source] for source in sources))
            if isinstance(layer, YoloHead):
                predictions.append(out)
            if self._last_use.get(i, i) > i:
                maps[i] = out
            for source in sources:
                if self._last_use[source] == i:
                    maps.pop(source, None)
        return torch.cat(predictions, dim=1) if predictions else out

    def load_file(self, path: str | Path) -> None:
        """Fill this network from Darknet's ``.weights`` file, which must end exactly where the network does.

        Raises:
            SparsightError: the file cannot be read, or is not of this network.
        """
        path = Path(path)
        convolutions = [(i, layer) for i, layer in enumerate(self.layers) if isinstance(layer, _Convolution)]
        wanted = sum(values.numel() for _, layer in convolutions for values in _stored(layer))
        try:
            with path.open("rb") as stream:
                header = stream.read(12)
                if len(header) < 12:
                    raise SparsightError(f"{path} is too short to be a Darknet weight file.")
                major, minor, _ = struct.unpack("<3i", header)
                if not (0 <= major < 1000 and 0 <= minor < 1000):
                    raise SparsightError(
                        f"{path} does not begin with a Darknet version: it is no weight file."
                    )
                stream.seek(8 if major * 10 + minor >= 2 else 4, 1)  # images seen: 64 bits since version 0.2
                start = stream.tell()
                size = stream.seek(0, 2) - start
                if size != 4 * wanted:
                    raise SparsightError(
                        f"{path} holds {max(size, 0)} bytes of weights, but the cfg's network takes"
                        f" {4 * wanted}: it is cut short or belongs to another cfg."
                    )
                stream.seek(start)
                values = np.frombuffer(stream.read(size), "<f4").astype(np.float32)
        except OSError as error:
            raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
        at = 0
        with torch.no_grad():
            for _, layer in convolutions:
                for target in _stored(layer):
                    piece = values[at : at + target.numel()]
                    target.copy_(torch.from_numpy(piece).view_as(target))
                    at += target.numel()


def _stored(layer: _Convolution) -> Iterator[Tensor]:
    """A convolution's tensors in the order in which Darknet stores them."""
    norm: nn.BatchNorm2d | None = getattr(layer, "norm", None)
    if norm is None:
        assert layer.conv.bias is not None
        yield layer.conv.bias
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        yield from (norm.bias, norm.weight, norm.running_mean, norm.running_var)
    yield layer.conv.weight


def darknet(cfg: str | Path) -> Darknet:
    """Build the network that a Darknet cfg describes.

    Args:
        cfg: the path of a ``.cfg`` file, or its text (anything of more than one line).

    Raises:
        SparsightError: the file cannot be read, or asks for what is not supported.
    """
    if isinstance(cfg, str) and "\n" in cfg:
        return Darknet(parse_cfg(cfg))
    path = Path(cfg)
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_TEXT_BYTES + 1).decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SparsightError(f"the cfg {path} cannot be read: {reason}.") from error
    try:
        return Darknet(parse_cfg(text))
    except SparsightError as error:
        raise SparsightError(f"{path}: {error}") from None
