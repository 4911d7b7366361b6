"""Batches as whole-array operations: indexing, augmentation and scaling have no loop over images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparsight.prune.datasets.cache import Split


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images.

    Attributes:
        shift: images are moved by up to this many pixels each way, the edge filled with zeros (before
            scaling: black), as is usual for CIFAR (He et al., arXiv 1512.03385, section 4.2: 4 pixels).
        flip: half of the images are mirrored left to right.
    """

    shift: int = 0
    flip: bool = False


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "shift": Augmentation(shift=4),
    "flip": Augmentation(flip=True),
    "shift_flip": Augmentation(shift=4, flip=True),
}


class Batches:
    """A split in batches of scaled images, ready for a network.

    The order of an epoch and its augmentation follow from ``seed`` and the epoch's number alone, so a run
    that is taken up again sees what it would have seen.

    Args:
        split: images and labels.
        size: images in a batch, over all processes.
        mean: of each channel in 0..1, subtracted.
        std: of each channel in 0..1, divided by.
        device: where the batches go. If the images fit into a quarter of a GPU's free memory, they are kept
            there.
        augmentation: for training.
        seed: of the order and the augmentation.
        memory_format: of the batches.
        rank: this process's number among ``world``.
        world: processes among which each batch is divided.
    """

    def __init__(
        self,
        split: Split,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device | str = "cpu",
        augmentation: Augmentation | None = None,
        seed: int = 0,
        memory_format: torch.memory_format = torch.contiguous_format,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.device = torch.device(device)
        self.images = torch.from_numpy(split.images)
        self.labels = torch.from_numpy(split.labels)
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if self.images.nbytes < free // 4:
                self.images, self.labels = self.images.to(self.device), self.labels.to(self.device)
        self.size = min(size, len(split))
        self._mean = torch.tensor(mean, device=self.device).view(1, -1, 1, 1) * 255
        self._scale = 1 / (255 * torch.tensor(std, device=self.device).view(1, -1, 1, 1))
        self._augmentation = augmentation or Augmentation()
        self._seed = seed
        self._memory_format = memory_format
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        """Whole batches in an epoch of training."""
        return len(self.labels) // self.size

    def shuffled(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch of training: augmented batches of one size, the few images left over left out."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        for start in range(0, len(self) * self.size, self.size):
            indices = order[start : start + self.size]
            changes = self._draw(len(indices), generator)
            mine = slice(self._rank, None, self._world)
            images, labels = self._take(indices[mine])
            yield self._scaled(_augment(images, *(change[mine] for change in changes))), labels

    def ordered(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, as it is, in order: this process's part of them."""
        for start in range(self._rank * self.size, len(self.labels), self._world * self.size):
            images, labels = self._take(torch.arange(start, min(start + self.size, len(self.labels))))
            yield self._scaled(images), labels

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The changes to each image of a batch, drawn whole so that every process draws the same."""
        shift = self._augmentation.shift
        moves = torch.randint(-shift, shift + 1, (count, 2), generator=generator) if shift else None
        mirrored = torch.rand(count, generator=generator) < 0.5 if self._augmentation.flip else None
        return (
            torch.zeros(count, 2, dtype=torch.long) if moves is None else moves,
            torch.zeros(count, dtype=torch.bool) if mirrored is None else mirrored,
        )

    def _take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        at = indices.to(self.images.device)
        images, labels = self.images[at], self.labels[at]
        if images.device != self.device:
            images, labels = images.to(self.device), labels.to(self.device)
        return images, labels

    def _scaled(self, images: Tensor) -> Tensor:
        scaled = (images.to(torch.float32) - self._mean).mul_(self._scale)
        return scaled.contiguous(memory_format=self._memory_format)


def _augment(images: Tensor, moves: Tensor, mirrored: Tensor) -> Tensor:
    """Shift each image by its row of ``moves`` (rows, columns), then mirror those ``mirrored``."""
    shift = int(moves.abs().max()) if len(moves) else 0
    if shift:
        height, width = images.shape[2:]
        padded = functional.pad(images, (shift, shift, shift, shift))
        # Every window of the padded images is a view; one indexing picks and copies one per image.
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        rows, columns = (moves.to(images.device) + shift).unbind(1)
        images = windows[torch.arange(len(images), device=images.device), :, rows, columns]
    if bool(mirrored.any()):
        images = torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
    return images
