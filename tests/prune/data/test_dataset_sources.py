from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from test_formats import idx

from sparsight import SparsightError
from sparsight.prune import datasets
from sparsight.prune.datasets import cache, folders

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SPARSIGHT_ASSETS", "")


def write_mnist(root: Path, labels: tuple[int, ...] = (3, 1, 9)) -> np.ndarray:
    root.mkdir(exist_ok=True)
    images = RNG.integers(0, 256, (len(labels), 28, 28), np.uint8)
    for prefix in ("train", "t10k"):
        (root / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.array(labels, np.uint8)))
    return images


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_from_a_folder(tmp_path: Path, name: str) -> None:
    images = write_mnist(tmp_path / "root")
    data = datasets.load(name, tmp_path / "root")
    assert data.input_shape == (1, 28, 28)
    assert np.array_equal(data.train.images[:, 0], images)
    assert data.train.labels.tolist() == [3, 1, 9]
    assert len(data.classes) == 10
    assert data.mean == pytest.approx([images.mean() / 255])
    assert data.std == pytest.approx([images.std() / 255])


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    write_mnist(tmp_path / "root")
    before = datasets.load("mnist", tmp_path / "root").train.images.copy()
    images = write_mnist(tmp_path / "root", (0, 0, 0))
    data = datasets.load("mnist", tmp_path / "root")
    assert np.array_equal(data.train.images[:, 0], images)
    assert not np.array_equal(before, data.train.images)


def test_decoded_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "root")
    datasets.load("mnist", tmp_path / "root")
    monkeypatch.setattr("sparsight.prune.datasets.formats.read_idx", None)
    assert isinstance(datasets.load("mnist", tmp_path / "root").train.images, np.memmap)


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    images = write_mnist(tmp_path / "root")
    datasets.load("mnist", tmp_path / "root")
    next((tmp_path / "cache" / "datasets").glob("*/train_images.npy")).unlink()
    assert np.array_equal(datasets.load("mnist", tmp_path / "root").train.images[:, 0], images)


def test_a_broken_file_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    write_mnist(tmp_path / "root", (3, 1, 10))
    with pytest.raises(SparsightError, match="labels from 1 to 10"):
        datasets.load("mnist", tmp_path / "root")
    assert not list((tmp_path / "cache" / "datasets").iterdir())


def test_as_many_labels_as_images(tmp_path: Path) -> None:
    write_mnist(tmp_path / "root")
    (tmp_path / "root" / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(SparsightError, match="3 images and 2 labels"):
        datasets.load("mnist", tmp_path / "root")


def cifar_batch(count: int, label_bytes: int) -> bytes:
    records = RNG.integers(0, 256, (count, label_bytes + 3072), np.uint8)
    records[:, :label_bytes] %= 10
    return records.tobytes()


def test_cifar10_from_a_folder_and_from_the_archive(tmp_path: Path) -> None:
    names = [*(f"data_batch_{index}.bin" for index in range(1, 6)), "test_batch.bin"]
    files = {name: cifar_batch(2, 1) for name in names}
    inner = tmp_path / "folder" / "cifar-10-batches-bin"
    inner.mkdir(parents=True)
    for name, data in files.items():
        (inner / name).write_bytes(data)
    (tmp_path / "archive").mkdir()
    with tarfile.open(tmp_path / "archive" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(inner, "cifar-10-batches-bin")
    of_folder = datasets.load("cifar10", tmp_path / "folder")
    of_archive = datasets.load("cifar10", tmp_path / "archive")
    assert of_folder.train.images.shape == (10, 3, 32, 32)
    assert np.array_equal(of_folder.train.images, of_archive.train.images)
    assert np.array_equal(of_folder.test.labels, of_archive.test.labels)
    assert of_folder.train.images[2].tobytes() == files["data_batch_2.bin"][1:3073]


def test_cifar100_knows_its_classes(tmp_path: Path) -> None:
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(cifar_batch(3, 2))
    names = [f"thing{index}" for index in range(100)]
    (tmp_path / "fine_label_names.txt").write_text("\n".join(names) + "\n")
    assert datasets.load("cifar100", tmp_path).classes == tuple(names)


def test_cifar_pickles_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": 1}))
    with pytest.raises(SparsightError, match=r"pickles are not opened.*cifar-10-binary\.tar\.gz"):
        datasets.load("cifar10", tmp_path)


def test_svhn_from_a_folder(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (32, 32, 3, 4), np.uint8)
    for split in ("train", "test"):
        labels = np.array([[10], [2], [3], [4]], np.uint8)
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": labels})
    data = datasets.load("svhn", tmp_path)
    assert data.train.labels.tolist() == [0, 2, 3, 4]


def write_pictures(
    root: Path, classes: tuple[str, ...], count: int, size: tuple[int, int] = (20, 12)
) -> None:
    for index, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, (40 * index, number, 7)).save(root / name / f"{number:03}.png")


def test_pictures_in_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ("cat", "ant"), 10)
    (tmp_path / "p" / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "p" / ".hidden").mkdir()
    data = datasets.load(f"folder:{tmp_path / 'p'}", size=8)
    assert data.classes == ("ant", "cat")
    assert data.input_shape == (3, 8, 8)
    assert (len(data.train), len(data.test)) == (16, 4)
    for split in (data.train, data.test):
        red = split.images[:, 0, 0, 0]
        assert np.array_equal(red, np.where(split.labels == 1, 0, 40))


def test_pictures_split_by_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p" / "train", ("a", "b"), 3)
    write_pictures(tmp_path / "p" / "val", ("a", "b"), 2)
    data = datasets.load(f"folder:{tmp_path / 'p'}", size=8)
    assert (len(data.train), len(data.test)) == (6, 4)


def test_a_picture_stays_in_its_split_when_others_come() -> None:
    names = [f"a/{index}.jpg" for index in range(40)] + [f"b/{index}.jpg" for index in range(40)]
    few = {p.path: p.split for p in folders.arrange(names[:40] + names[40:], "here").pictures}
    more = folders.arrange([*names, *(f"a/new{index}.jpg" for index in range(8))], "here").pictures
    assert np.mean([few.get(p.path, p.split) == p.split for p in more]) > 0.9


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "fewer than two classes"),
        (["a/1.jpg", "a/2.jpg"], "fewer than two classes"),
        (["1.jpg", "2.jpg"], "fewer than two classes"),
        (["train/a/1.jpg", "train/b/1.jpg"], "no pictures to test on"),
        (["train/a/1.jpg", "b/1.jpg"], "mixes"),
    ],
)
def test_folders_that_do_not_serve(paths: list[str], message: str) -> None:
    with pytest.raises(SparsightError, match=message):
        folders.arrange(paths, "here")


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", ("a", "b"), 3)
    (tmp_path / "p" / "b" / "002.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(SparsightError, match=r"002\.png"):
        datasets.load(f"folder:{tmp_path / 'p'}", size=8)


def test_the_archive_gives_what_the_folder_gives(tmp_path: Path) -> None:
    write_pictures(tmp_path / "top", ("a", "b"), 6)
    archive = tmp_path / "top.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(tmp_path / "top" / "b", "top/b")  # not the order of the listing
        opened.add(tmp_path / "top" / "a", "./top/a")
        link = tarfile.TarInfo("top/a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
        huge = tarfile.TarInfo("other/x.png")
        opened.addfile(huge, io.BytesIO())
    pictures = folders.arrange(folders.list_tar(archive, "top"), "top")
    assert pictures == folders.arrange(folders.list_folder(tmp_path / "top"), "top")
    for out in ("one", "two"):
        (tmp_path / out).mkdir()
    folders.decode_tar(archive, "top", pictures, 8, tmp_path / "one")
    folders.decode_folder(tmp_path / "top", pictures, 8, tmp_path / "two")
    for split in ("train", "test"):
        one, two = (
            sorted(
                (int(label), image.tobytes())
                for image, label in zip(
                    np.load(tmp_path / out / f"{split}_images.npy"),
                    np.load(tmp_path / out / f"{split}_labels.npy"),
                    strict=True,
                )
            )
            for out in ("one", "two")
        )
        assert one == two


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar1O",), "did you mean 'cifar10'"),
        (("mnist", "/nowhere"), "there is no folder"),
        (("folder:/nowhere",), "there is no folder"),
        (("cifar100", "/"), "neither train.bin nor cifar-100-binary"),
    ],
)
def test_names_that_mean_nothing(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(SparsightError, match=message):
        datasets.load(*arguments)


def test_sizes_that_do_not_serve(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="size of their own"):
        datasets.load("mnist", tmp_path, size=32)
    with pytest.raises(SparsightError, match="from 8 to"):
        datasets.load("caltech101", tmp_path, size=4)


def test_moments_are_those_of_the_pixels() -> None:
    images = RNG.integers(0, 256, (50, 3, 9, 7), np.uint8)
    mean, std = cache._moments(images)
    assert mean == pytest.approx(images.mean((0, 2, 3)) / 255)
    assert std == pytest.approx(images.std((0, 2, 3)) / 255)
