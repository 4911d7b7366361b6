"""Explanations against the projection that they describe, and drawings that can be read."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from sparsight import SparsightError, media, nets
from sparsight.prune import explain, select_inputs
from sparsight.prune.inputs import BlockDCT, Selector, SpaceToDepth

torch.set_num_threads(1)

SHAPE = (3, 8, 12)


def kept(count: int) -> np.ndarray:
    return np.random.default_rng(0).random(count) < 0.4


SELECTORS = [
    Selector("pixels", SHAPE, kept(288)),
    Selector("pixels", (1, 8, 12), kept(96)),
    Selector("pixels", (7,), kept(7)),
    Selector("channels", SHAPE, np.array([True, False, True])),
    Selector("channels", SHAPE, kept(12), SpaceToDepth(2)),
    Selector("channels", SHAPE, kept(48), BlockDCT(4)),
    Selector("channels", SHAPE, kept(48), BlockDCT(4, "ycbcr")),
    Selector("lines", SHAPE, kept(20)),
]


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_the_map_is_what_is_left_of_each_pixel_lit_alone(selector: Selector) -> None:
    shape = selector.input_shape
    count = int(np.prod(shape))
    lit = np.eye(count, dtype=np.float32).reshape(count, *shape)
    left = selector.unpack(selector(torch.from_numpy(lit)).numpy()).reshape(count, count).diagonal()
    expected = left.reshape(1, -1) if len(shape) == 1 else np.moveaxis(left.reshape(shape), 0, 2).squeeze()
    explanation = explain(selector)
    assert explanation.map.dtype == np.float32
    np.testing.assert_allclose(explanation.map, expected, atol=1e-5)
    assert explanation.map.min() >= -1e-5 and explanation.map.max() <= 1 + 1e-5
    assert (explanation.kept, explanation.total) == (selector.kept.sum(), selector.kept.size)
    assert explanation.values == np.prod(selector.output_shape)
    # As many values are left as the kept features hold.
    assert explanation.map.sum() == pytest.approx(explanation.values, rel=1e-4)


def test_features_are_arranged_as_in_the_image_or_a_block() -> None:
    pixels, phases, frequencies, lines = (SELECTORS[place] for place in (0, 4, 5, 7))
    expected = np.moveaxis(pixels.kept.reshape(SHAPE), 0, 2)
    np.testing.assert_array_equal(explain(pixels).features > 0, expected)
    expected = np.moveaxis(phases.kept.reshape(3, 2, 2), 0, 2)
    np.testing.assert_array_equal(explain(phases).features > 0, expected)
    np.testing.assert_array_equal(explain(phases).map > 0, np.tile(expected, (4, 6, 1)))
    expected = np.moveaxis(frequencies.kept.reshape(3, 4, 4), 0, 2)
    np.testing.assert_array_equal(explain(frequencies).features > 0, expected)
    expected = lines.kept[:8, None] & lines.kept[8:]
    np.testing.assert_array_equal(explain(lines).features > 0, expected)


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_drawings(selector: Selector) -> None:
    example = np.random.default_rng(0).random(selector.input_shape).astype(np.float32)
    explanation = explain(selector, example)
    image = explanation.image()
    assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
    assert (image[0] == 255).all()
    document = ElementTree.fromstring(explanation.svg())
    pictures = [part for part in document.iter() if part.tag.endswith("}image")]
    titles = [part.text for part in document.iter() if part.tag.endswith("}text")]
    assert len(pictures) == len(explanation.panels) == len(titles) - 1
    assert titles[-1] == explanation.caption
    for panel, picture in zip(explanation.panels, pictures, strict=True):
        data = base64.b64decode(picture.attrib["href"].partition(",")[2])
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(data))), panel.pixels)


def test_removed_is_grey_and_strength_is_depth(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nets.build("mlp", num_classes=4, input_shape=(1, 8, 8), hidden=(8,)).train()

    def train(masked: nn.Module, step: object) -> None:
        masked(torch.randn(4, 1, 8, 8))
        assert callable(step)
        step(1.0)

    selection = select_inputs(model, train, sparsity=0, input_sparsity=0.5)
    explanation = explain(selection)
    assert explanation.features.max() == 1
    np.testing.assert_array_equal(explanation.map.ravel(), selection.kept)
    (panel,) = explanation.panels
    colours = panel.pixels.reshape(-1, 3).astype(int)
    assert (colours[~selection.kept] == colours[~selection.kept][0]).all()
    assert len(set(colours[~selection.kept][0])) == 1
    order = selection.strength[selection.kept].argsort()
    assert (np.diff(colours[selection.kept][order].sum(1)) <= 2).all()
    explanation.save(tmp_path / "kept.png")
    np.testing.assert_array_equal(media.read_image(tmp_path / "kept.png"), explanation.image())
    explanation.save(tmp_path / "kept.svg")
    assert (tmp_path / "kept.svg").read_text() == explanation.svg()


def test_bad_use(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="images of shape"):
        explain(SELECTORS[0], np.zeros((3, 8, 8), np.float32))
    with pytest.raises(SparsightError, match="cannot be drawn"):
        explain(Selector("pixels", (4, 5), kept(20)))
    with pytest.raises(SparsightError, match=r"\.png"):
        explain(SELECTORS[0]).save(tmp_path / "kept.gif")
    with pytest.raises(SparsightError, match="cannot be written"):
        (tmp_path / "file").touch()
        explain(SELECTORS[0]).save(tmp_path / "file" / "kept.svg")
