"""Front ends against SciPy's DCT, Pillow's YCbCr and plain slicing."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn

from sparsight import SparsightError
from sparsight.prune.inputs import FRONT_ENDS, BlockDCT, FrontEnd, Lines, SpaceToDepth

torch.set_num_threads(1)


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [2, 3])
def test_space_to_depth_is_regular_sampling(size: int) -> None:
    image = images(2, 3, 4 * size, 2 * size)
    phases = SpaceToDepth(size)(image)
    assert phases.shape == (2, 3 * size**2, 4, 2)
    for colour in range(3):
        for row in range(size):
            for column in range(size):
                channel = (colour * size + row) * size + column
                assert torch.equal(phases[:, channel], image[:, colour, row::size, column::size])


@pytest.mark.parametrize("size", [4, 8])
def test_block_dct_is_scipys(size: int) -> None:
    image = images(2, 3, 2 * size, 3 * size)
    spectra = BlockDCT(size)(image)
    for row in range(2):
        for column in range(3):
            block = image[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            expected = dctn(block.double().numpy(), axes=(2, 3), norm="ortho").reshape(2, -1)
            np.testing.assert_allclose(spectra[:, :, row, column], expected, atol=1e-5)


def test_block_dct_in_ycbcr_is_that_of_jpegs_colours() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    planes = np.asarray(PIL.Image.fromarray(rgb).convert("YCbCr")).astype(np.float64) - [0, 128, 128]
    expected = dctn(planes, axes=(0, 1), norm="ortho")
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    spectra = BlockDCT(8, "ycbcr")(image).reshape(3, 8, 8).permute(1, 2, 0)
    # Pillow rounds each value to a whole number.
    np.testing.assert_allclose(spectra, expected, atol=8 * 0.6)


@pytest.mark.parametrize("front_end", [SpaceToDepth(4), BlockDCT(4), BlockDCT(8), BlockDCT(4, "ycbcr")])
def test_the_inverse_gives_the_image_back(front_end: FrontEnd) -> None:
    image = images(2, 3, 16, 24)
    torch.testing.assert_close(front_end.inverse(front_end(image)), image, atol=1e-5, rtol=0)
    again = FRONT_ENDS[front_end.name](**front_end.settings())
    assert torch.equal(again(image), front_end(image))


@given(st.sampled_from(sorted(FRONT_ENDS)), st.integers(2, 8), *[st.integers(1, 5)] * 3)
def test_shapes(name: str, size: int, channels: int, rows: int, columns: int) -> None:
    front_end = FRONT_ENDS[name](size)
    shape = (channels, rows * size, columns * size)
    assert tuple(front_end(torch.zeros(1, *shape)).shape[1:]) == front_end.feature_shape(shape)
    assert front_end.image_shape(front_end.feature_shape(shape)) == shape


def test_lines_multiply_rows_and_columns() -> None:
    gate = Lines(3, 4)
    image = images(2, 3, 3, 4)
    assert torch.equal(gate(image), image)
    with torch.no_grad():
        gate.rows.weight.copy_(torch.tensor([[1.0], [0.0], [2.0]]))
        gate.columns.weight.copy_(torch.tensor([[0.0], [1.0], [3.0], [-1.0]]))
    expected = image.numpy() * np.array([1, 0, 2])[:, None] * np.array([0, 1, 3, -1])
    np.testing.assert_allclose(gate(image).detach(), expected, rtol=1e-6)


def test_bad_settings() -> None:
    with pytest.raises(SparsightError, match="give 2 to 32"):
        SpaceToDepth(1)
    with pytest.raises(SparsightError, match="give 2 to 32"):
        BlockDCT(10**9)
    with pytest.raises(SparsightError, match="'rgb' or 'ycbcr'"):
        BlockDCT(8, "lab")  # type: ignore[arg-type]
    with pytest.raises(SparsightError, match="multiples of 8"):
        BlockDCT(8).feature_shape((3, 12, 16))
    with pytest.raises(SparsightError, match="RGB images of 3 channels"):
        BlockDCT(8, "ycbcr").feature_shape((1, 16, 16))
    with pytest.raises(SparsightError, match="multiple of 4"):
        SpaceToDepth(2).image_shape((3, 8, 8))
    with pytest.raises(SparsightError, match="positive sides"):
        Lines(0, 3)
