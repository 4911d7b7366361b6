"""Darknet in plain NumPy loops, one image at a time: slow, and independent of the network under test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]  # (C, H, W)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: dict[str, Any] = {
    "linear": lambda x: x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "swish": lambda x: x * sigmoid(x),
    "logistic": sigmoid,
}


def sections(text: str) -> list[tuple[str, dict[str, str]]]:
    result: list[tuple[str, dict[str, str]]] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            result.append((line.strip("[]"), {}))
        elif line and line[0] not in "#;":
            key, value = line.split("=")
            result[-1][1][key.strip()] = value.strip()
    return result


def convolution(x: Map, weight: Map, stride: int, pad: int, groups: int) -> Map:
    out, per_group, size, _ = weight.shape
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height = (x.shape[1] + 2 * pad - size) // stride + 1
    width = (x.shape[2] + 2 * pad - size) // stride + 1
    result = np.zeros((out, height, width))
    for o in range(out):
        first = o // (out // groups) * per_group
        for i in range(height):
            for j in range(width):
                window = padded[
                    first : first + per_group, i * stride : i * stride + size, j * stride : j * stride + size
                ]
                result[o, i, j] = (window * weight[o]).sum()
    return result


def maxpool(x: Map, size: int, stride: int, padding: int) -> Map:
    """As the loops of Darknet's ``forward_maxpool_layer`` describe it."""
    channels, h, w = x.shape
    out_h, out_w = (h + padding - size) // stride + 1, (w + padding - size) // stride + 1
    offset = -(padding // 2)
    result = np.full((channels, out_h, out_w), -np.inf)
    for c in range(channels):
        for i in range(out_h):
            for j in range(out_w):
                for n in range(size):
                    for m in range(size):
                        row, column = offset + i * stride + n, offset + j * stride + m
                        if 0 <= row < h and 0 <= column < w:
                            result[c, i, j] = max(result[c, i, j], x[c, row, column])
    return result


def upsample(x: Map, stride: int) -> Map:
    channels, h, w = x.shape
    result = np.zeros((channels, h * stride, w * stride))
    for i in range(h * stride):
        for j in range(w * stride):
            result[:, i, j] = x[:, i // stride, j // stride]
    return result


def yolo(x: Map, settings: dict[str, str], net: tuple[int, int]) -> NDArray[np.float64]:
    """Rows of centre x, centre y, width, height in pixels, objectness, classes; by anchor, row, column."""
    classes = int(settings["classes"])
    anchors = [float(a) for a in settings["anchors"].split(",")]
    scale = float(settings.get("scale_x_y", 1))
    rows = []
    _, h, w = x.shape
    for k, mask in enumerate(int(m) for m in settings["mask"].split(",")):
        for i in range(h):
            for j in range(w):
                p = x[k * (5 + classes) : (k + 1) * (5 + classes), i, j]
                if settings.get("new_coords") == "1":
                    bx, by, confidence = p[0], p[1], p[4:]
                    bw, bh = (2 * p[2]) ** 2 * anchors[2 * mask], (2 * p[3]) ** 2 * anchors[2 * mask + 1]
                else:
                    bx, by, confidence = sigmoid(p[0]), sigmoid(p[1]), sigmoid(p[4:])
                    bw, bh = math.exp(p[2]) * anchors[2 * mask], math.exp(p[3]) * anchors[2 * mask + 1]
                bx, by = (bx * scale - (scale - 1) / 2 + j) / w, (by * scale - (scale - 1) / 2 + i) / h
                rows.append([bx * net[1], by * net[0], bw, bh, *confidence])
    return np.array(rows)


def run(cfg: str, weights: NDArray[np.float32], image: Map) -> NDArray[np.float64]:
    """The cfg's network on one image, weights taken from the file's numbers in turn."""
    at = 0

    def take(*shape: int) -> Map:
        nonlocal at
        count = math.prod(shape)
        at += count
        return weights[at - count : at].reshape(shape).astype(np.float64)

    (_, net), *layers = sections(cfg)
    maps: list[Map] = []
    found = []
    x = image
    for kind, s in layers:
        here = len(maps)
        if kind == "convolutional":
            filters, size, groups = int(s["filters"]), int(s["size"]), int(s.get("groups", 1))
            bias = take(filters)
            norm = [take(filters) for _ in range(3)] if s.get("batch_normalize") == "1" else None
            weight = take(filters, len(x) // groups, size, size)
            pad = size // 2 if s.get("pad") == "1" else int(s.get("padding", 0))
            x = convolution(x, weight, int(s.get("stride", 1)), pad, groups)
            if norm:
                scale, mean, variance = (n[:, None, None] for n in norm)
                x = (x - mean) / np.sqrt(variance + 1e-5) * scale
            x = ACTIVATIONS[s.get("activation", "logistic")](x + bias[:, None, None])
        elif kind == "maxpool":
            x = maxpool(x, int(s["size"]), int(s["stride"]), int(s.get("padding", int(s["size"]) - 1)))
        elif kind == "upsample":
            x = upsample(x, int(s["stride"]))
        elif kind == "route":
            parts = []
            for layer in (int(n) for n in s["layers"].split(",")):
                part = maps[layer + here if layer < 0 else layer]
                share = len(part) // int(s.get("groups", 1))
                group = int(s.get("group_id", 0))
                parts.append(part[group * share : (group + 1) * share])
            x = np.concatenate(parts)
        elif kind == "shortcut":
            other = int(s["from"])
            x = ACTIVATIONS[s.get("activation", "linear")](x + maps[other + here if other < 0 else other])
        elif kind == "avgpool":
            x = x.mean(axis=(1, 2), keepdims=True)
        elif kind == "yolo":
            found.append(yolo(x, s, (int(net["height"]), int(net["width"]))))
        else:
            assert kind == "dropout"
        maps.append(x)
    assert at == len(weights)
    return np.concatenate(found) if found else x
