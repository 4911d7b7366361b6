"""What stands before a network: the image as channels that mean something, or a gate on its lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError

Shape = tuple[int, ...]

MAX_BLOCK = 32
"""The largest side of a block: a block's spectrum costs the fourth power of it in memory."""


class FrontEnd(nn.Module):
    """An invertible, fixed map of the image's blocks of ``size``×``size`` pixels to channels.

    (N, C, H, W) becomes (N, C·size², H/size, W/size); the channel of colour c, and of row u and column v
    within the block or its spectrum, is (c·size + u)·size + v.
    """

    name = ""
    exact = True
    """Whether each channel holds the image's own values, so that any type of number passes unchanged."""

    def __init__(self, size: int) -> None:
        super().__init__()
        if type(size) is not int or not 2 <= size <= MAX_BLOCK:
            raise SparsightError(
                f"{self.name} cannot cut an image into blocks of side {size}: give 2 to {MAX_BLOCK}."
            )
        self.size = size

    def inverse(self, features: Tensor) -> Tensor:
        """The image whose channels ``features`` are."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What the constructor took, in types that JSON knows."""
        return {"size": self.size}

    def feature_shape(self, image_shape: Shape) -> Shape:
        """Shape of the channels of one image of (C, H, W).

        Raises:
            SparsightError: the sides are not multiples of ``size``.
        """
        if len(image_shape) != 3 or any(side % self.size or side < 1 for side in image_shape[1:]):
            raise SparsightError(
                f"{self.name} of size {self.size} cannot take images of shape {image_shape}: "
                f"give (C, H, W) with sides that are multiples of {self.size}."
            )
        channels, height, width = image_shape
        return channels * self.size**2, height // self.size, width // self.size

    def image_shape(self, feature_shape: Shape) -> Shape:
        """Shape of the image that gives channels of ``feature_shape``: the inverse of ``feature_shape``.

        Raises:
            SparsightError: no image gives them.
        """
        if len(feature_shape) != 3 or feature_shape[0] % self.size**2:
            raise SparsightError(
                f"{self.name} of size {self.size} never gives channels of shape {feature_shape}: build the "
                f"network for a number of input channels that is a multiple of {self.size**2}."
            )
        channels, height, width = feature_shape
        return channels // self.size**2, height * self.size, width * self.size


class SpaceToDepth(FrontEnd):
    """Each pixel of a block to a channel of its own: a *phase*, one in ``size``² pixels, regularly spaced."""

    name = "space_to_depth"

    def __init__(self, size: int = 2) -> None:
        super().__init__(size)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C·size², H/size, W/size)."""
        return nn.functional.pixel_unshuffle(image, self.size)

    def inverse(self, features: Tensor) -> Tensor:
        """(N, C·size², H/size, W/size) → (N, C, H, W)."""
        return nn.functional.pixel_shuffle(features, self.size)


class BlockDCT(FrontEnd):
    """The orthonormal DCT-II of each block: one channel per colour and frequency, (0, 0) first.

    As JPEG does it (ITU-T T.81, A.3.3), without its level shift and quantisation.

    Args:
        size: side of a block, pixels.
        colour: "rgb" takes the channels as they are; "ycbcr" turns RGB into JPEG's luma and two colour
            differences first (JFIF 1.02, the differences around 0).
    """

    name = "block_dct"
    exact = False
    basis: Tensor
    to_colour: Tensor
    from_colour: Tensor

    def __init__(self, size: int = 8, colour: Literal["rgb", "ycbcr"] = "rgb") -> None:
        super().__init__(size)
        if colour not in _COLOURS:
            raise SparsightError(f"block_dct has no colour space {colour!r}: take 'rgb' or 'ycbcr'.")
        self.colour = colour
        self.register_buffer("basis", _cosines(size), persistent=False)
        matrix = torch.tensor(_COLOURS[colour], dtype=torch.float64)
        self.register_buffer("to_colour", matrix.float()[:, :, None, None], persistent=False)
        self.register_buffer("from_colour", matrix.inverse().float()[:, :, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C·size², H/size, W/size), float."""
        if self.colour != "rgb":
            image = nn.functional.conv2d(image, self.to_colour)
        colours, height, width = image.shape[1:]
        planes = image.reshape(-1, 1, height, width)
        spectra = nn.functional.conv2d(planes, self.basis, stride=self.size)
        return spectra.reshape(-1, colours * self.size**2, height // self.size, width // self.size)

    def inverse(self, features: Tensor) -> Tensor:
        """(N, C·size², H/size, W/size) → (N, C, H, W)."""
        channels, height, width = features.shape[1:]
        planes = features.reshape(-1, self.size**2, height, width)
        image = nn.functional.conv_transpose2d(planes, self.basis, stride=self.size)
        colours = channels // self.size**2
        image = image.reshape(-1, colours, height * self.size, width * self.size)
        return image if self.colour == "rgb" else nn.functional.conv2d(image, self.from_colour)

    def settings(self) -> dict[str, Any]:
        """What the constructor took, in types that JSON knows."""
        return {"size": self.size, "colour": self.colour}

    def feature_shape(self, image_shape: Shape) -> Shape:
        """Shape of the channels of one image of (C, H, W); "ycbcr" needs C = 3."""
        shape = super().feature_shape(image_shape)
        if self.colour == "ycbcr" and image_shape[0] != 3:
            raise SparsightError(
                f"block_dct in ycbcr needs RGB images of 3 channels, not {image_shape[0]}: take colour='rgb'."
            )
        return shape


class Lines(nn.Module):
    """A learned gate on each row and each column of the image, to be sparsified with what follows it.

    Pixel (i, j) is multiplied by rows[i]·columns[j]; all gates start at 1. They are the weights of two
    ``nn.Linear`` (size, 1), so that whatever sparsifies layers sparsifies them.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        if min(height, width) < 1:
            raise SparsightError(f"lines cannot gate images of {height}x{width} pixels: give positive sides.")
        self.rows = nn.Linear(1, height, bias=False)
        self.columns = nn.Linear(1, width, bias=False)
        for layer in (self.rows, self.columns):
            nn.init.ones_(layer.weight)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W), gated."""
        one = image.new_ones(1, 1)
        gates: Tensor = self.rows(one).T * self.columns(one)
        return image * gates


FRONT_ENDS: Mapping[str, Callable[..., FrontEnd]] = {
    front_end.name: front_end for front_end in (SpaceToDepth, BlockDCT)
}
"""Name → front end whose channels can be selected."""

_COLOURS = {
    "rgb": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "ycbcr": (
        (0.299, 0.587, 0.114),
        (-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772),
        (0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402),
    ),
}


def _cosines(size: int) -> Tensor:
    """(size², 1, size, size): the orthonormal 2-D DCT-II's basis images, row frequency first."""
    place = torch.arange(size, dtype=torch.float64)
    lines = torch.cos(math.pi / size * (place + 0.5) * place[:, None]) * math.sqrt(2 / size)
    lines[0] *= math.sqrt(0.5)
    images = torch.einsum("ui,vj->uvij", lines, lines)
    return images.reshape(size**2, 1, size, size).float()
