"""YOLOv4 as published: its cfg, written anew from the layers of the paper, and a narrow copy that runs."""

from __future__ import annotations

from pathlib import Path

import darknet_reference as reference
import numpy as np
import torch
from test_darknet import conv, weights_for, write

from sparsight.nets import build
from sparsight.nets.darknet import YoloHead, darknet
from sparsight.track import build_detector

OFFICIAL_FLOATS = (257_717_640 - 20) // 4
"""Numbers in the published yolov4.weights: its bytes without the header."""

ANCHORS = "12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401"


def route(*layers: int) -> str:
    return f"[route]\nlayers = {','.join(map(str, layers))}\n"


def yolov4(side: int = 608, width: int = 1, classes: int = 80) -> str:
    """The cfg of YOLOv4 (arXiv 2004.10934) with each layer's channels divided by ``width``."""

    def mish(filters: int, size: int = 1, stride: int = 1) -> str:
        return conv(filters // width, size, stride, activation="mish")

    def leaky(*filters: int, stride: int = 1) -> str:
        """Turns of 1 x 1 and 3 x 3, the narrower first; a stride makes one 3 x 3."""
        sizes = [3 if stride == 2 or i % 2 else 1 for i in range(len(filters))]
        return "".join(conv(n // width, size, stride) for n, size in zip(filters, sizes, strict=True))

    def stage(filters: int, blocks: int) -> str:
        """A cross-stage partial stage of Darknet-53, which halves the map."""
        half = filters if blocks == 1 else filters // 2
        inner = filters // 2
        residual = mish(inner) + mish(half, 3) + "[shortcut]\nfrom=-3\nactivation=linear\n"
        out = mish(filters, 3, 2) + mish(half) + route(-2) + mish(half)
        return out + residual * blocks + mish(half) + route(-1, -3 * blocks - 4) + mish(filters)

    def head(filters: int, mask: str, scale: float) -> str:
        return (
            conv(filters // width, 3)
            + conv(3 * (5 + classes), norm=0, activation="linear")
            + f"[yolo]\nmask = {mask}\nanchors = {ANCHORS}\nclasses={classes}\nnum=9\njitter=.3\n"
            + f"scale_x_y = {scale}\niou_loss=ciou\nnms_kind=greedynms\nbeta_nms=0.6\nmax_delta=5\n"
        )

    def pool(size: int) -> str:
        return f"[maxpool]\nstride=1\nsize={size}\n"

    return (
        f"[net]\nbatch=64\nsubdivisions=8\nwidth={side}\nheight={side}\nchannels=3\nmosaic=1\n"
        + mish(32, 3)
        + "".join(stage(*one) for one in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)))
        + leaky(512, 1024, 512)
        + pool(5) + route(-2) + pool(9) + route(-4) + pool(13) + route(-1, -3, -5, -6)
        + leaky(512, 1024, 512) + leaky(256) + "[upsample]\nstride=2\n"
        + route(85) + leaky(256) + route(-1, -3)
        + leaky(256, 512, 256, 512, 256) + leaky(128) + "[upsample]\nstride=2\n"
        + route(54) + leaky(128) + route(-1, -3) + leaky(128, 256, 128, 256, 128)
        + head(256, "0,1,2", 1.2)
        + route(-4) + leaky(256, stride=2) + route(-1, -16) + leaky(256, 512, 256, 512, 256)
        + head(512, "3,4,5", 1.1)
        + route(-4) + leaky(512, stride=2) + route(-1, -37) + leaky(512, 1024, 512, 1024, 512)
        + head(1024, "6,7,8", 1.05)
    )  # fmt: skip


def test_the_published_weights_would_fit() -> None:
    with torch.device("meta"):  # the shapes alone
        model = darknet(yolov4())
    assert len(model.layers) == 162
    numbers = sum(p.numel() for p in model.parameters())
    numbers += sum(b.numel() for name, b in model.named_buffers() if "running_" in name)
    assert numbers == OFFICIAL_FLOATS
    heads = [(i, layer) for i, layer in enumerate(model.layers) if isinstance(layer, YoloHead)]
    assert [i for i, _ in heads] == [139, 150, 161]
    assert [layer.scale_xy for _, layer in heads] == [1.2, 1.1, 1.05]
    assert [layer.get_buffer("cells").shape[0] for _, layer in heads] == [76 * 76, 38 * 38, 19 * 19]


def test_a_narrow_one_runs(tmp_path: Path) -> None:
    """Through the detector, against plain loops."""
    cfg = tmp_path / "yolov4.cfg"
    cfg.write_text(yolov4(side=32, width=32, classes=2))
    model = darknet(cfg)
    weights = weights_for(model)
    # Small weights, of both signs, keep a hundred layers from running over.
    weights = np.where(np.arange(len(weights)) % 2, weights, -weights / 2) * np.float32(0.9)
    at = 0
    for layer in model.layers:  # variances are positive
        if hasattr(layer, "conv"):
            out = layer.conv.out_channels
            if hasattr(layer, "norm"):
                weights[at + 3 * out : at + 4 * out] = np.abs(weights[at + 3 * out : at + 4 * out]) + 0.5
                at += 3 * out
            at += out + layer.conv.weight.numel()
    write(tmp_path / "yolov4.weights", weights)
    network = build("darknet", cfg=cfg, weights=tmp_path / "yolov4.weights")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    x = picture.transpose(2, 0, 1)[None].astype(np.float32) / 255
    with torch.no_grad():
        got = network(torch.from_numpy(x)).numpy()[0]
    expected = reference.run(cfg.read_text(), weights, x[0].astype(np.float64))
    assert got.shape == (3 * (16 + 4 + 1), 7)
    assert got[:, 4:].std() > 1e-3
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
    found = build_detector(f"darknet:{cfg}", device="cpu", score=0, iou=1, classes=None)(picture)
    scores = np.sort((expected[:, 5:] * expected[:, 4:5]).max(axis=1))[::-1]
    np.testing.assert_allclose(found.score, scores[: len(found)], atol=1e-3)
    assert len(found) > 50
