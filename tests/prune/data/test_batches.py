from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsight.prune.datasets import AUGMENTATIONS, Batches, Split
from sparsight.prune.datasets.batches import Augmentation, _augment

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (21, 3, 8, 6), np.uint8), np.arange(21))


def test_ordered_gives_every_image_once_and_scaled(split: Split) -> None:
    batches = list(Batches(split, 5, MEAN, STD).ordered())
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 1]
    images = torch.cat([images for images, _ in batches]).double().numpy()
    wanted = (split.images / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    assert np.abs(images - wanted).max() < 1e-5


def test_an_epoch_is_a_permutation_that_its_number_decides(split: Split) -> None:
    batches = Batches(split, 5, MEAN, STD, seed=3, augmentation=AUGMENTATIONS["shift_flip"])
    epochs = [list(batches.shuffled(epoch)) for epoch in (0, 1, 0)]
    labels = [torch.cat([labels for _, labels in epoch]).tolist() for epoch in epochs]
    assert len(batches) == 4
    assert len(set(labels[0])) == len(labels[0]) == 20
    assert labels[0] == labels[2] != labels[1]
    assert torch.equal(epochs[0][2][0], epochs[2][2][0])


def test_processes_share_each_batch(split: Split) -> None:
    options = {"seed": 1, "augmentation": AUGMENTATIONS["shift_flip"]}
    whole = list(Batches(split, 6, MEAN, STD, **options).shuffled(2))
    parts = [list(Batches(split, 6, MEAN, STD, rank=rank, world=2, **options).shuffled(2)) for rank in (0, 1)]
    for (images, labels), (images0, labels0), (images1, labels1) in zip(whole, *parts, strict=True):
        assert sorted(labels.tolist()) == sorted(labels0.tolist() + labels1.tolist())
        assert torch.equal(images[0::2], images0)
        assert torch.equal(images[1::2], images1)
    seen = [
        label
        for rank in (0, 1)
        for _, labels in Batches(split, 6, MEAN, STD, rank=rank, world=2).ordered()
        for label in labels.tolist()
    ]
    assert sorted(seen) == list(range(21))


def test_shift_and_mirror_image_by_image(split: Split) -> None:
    images = torch.from_numpy(split.images)
    generator = torch.Generator().manual_seed(0)
    moves = torch.randint(-4, 5, (21, 2), generator=generator)
    mirrored = torch.rand(21, generator=generator) < 0.5
    got = _augment(images, moves, mirrored).numpy()
    for index, image in enumerate(split.images):
        rows, columns = moves[index].tolist()
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
        wanted = padded[:, 4 + rows : 12 + rows, 4 + columns : 10 + columns]
        assert np.array_equal(got[index], wanted[..., ::-1] if mirrored[index] else wanted)


def test_shifts_reach_all_places(split: Split) -> None:
    batches = Batches(split, 21, MEAN, STD, augmentation=Augmentation(shift=1))
    drawn = torch.cat([batches._draw(21, torch.Generator().manual_seed(seed))[0] for seed in range(40)])
    assert len(torch.unique(drawn, dim=0)) == 9


def test_a_batch_is_no_larger_than_the_split_and_takes_the_format(split: Split) -> None:
    batches = Batches(split, 500, MEAN, STD, memory_format=torch.channels_last)
    ((images, _),) = batches.shuffled(0)
    assert len(images) == 21
    assert images.is_contiguous(memory_format=torch.channels_last)
