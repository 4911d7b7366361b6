"""Readers on small data sets in the official layouts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import saliency_layouts as make
from scipy.io import savemat

from sparsight import SparsightError, media
from sparsight.saliency.datasets import DATASETS, Dataset, load
from sparsight.saliency.datasets.matlab import read_variable

A, B, C = make.points(5, 1), make.points(3, 2), make.points(7, 3)


def check(dataset: Dataset, images: dict[str, list[make.Points]], known_viewers: bool = True) -> None:
    """The fixations of a data set are those of ``images``: name → of each viewer."""
    assert list(dataset.names) == list(images)
    assert dataset.fixations is not None
    for index, viewers in enumerate(images.values()):
        np.testing.assert_allclose(dataset.fixations.xy(index), np.concatenate(viewers))
        subjects = np.repeat(np.arange(len(viewers)), list(map(len, viewers)))
        here = dataset.fixations.of(index)
        expected = subjects if known_viewers else np.full(len(subjects), -1)
        np.testing.assert_array_equal(dataset.fixations.subject[here], expected)
        assert dataset.size(index) == dataset.image(index).shape[:2] == (make.HEIGHT, make.WIDTH)


def test_osie(tmp_path: Path) -> None:
    looks = {"1001": [A, B], "1002": [C]}
    make.osie(tmp_path, looks)
    dataset = load("osie", tmp_path)
    check(dataset, looks)
    assert dataset.sigma == 24
    assert dataset.fixations is not None
    np.testing.assert_allclose(dataset.fixations.duration[:5], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert dataset.mask(0) is None and dataset.density(0) is None and dataset.target(0) is None


def test_osie_with_one_viewer_and_one_fixation(tmp_path: Path) -> None:
    # MATLAB's arrays of one element are where readers that squeeze go wrong.
    looks = {"1001": [A[:1]]}
    make.osie(tmp_path, looks)
    check(load("osie", tmp_path), looks)


def test_salicon(tmp_path: Path) -> None:
    looks = {"COCO_val2014_000000000042": [A, B], "COCO_val2014_000000000073": [C]}
    make.salicon(tmp_path, "val", looks)
    dataset = load("salicon", tmp_path)
    check(dataset, looks)
    assert dataset.name == "salicon_val"


def test_salicon_takes_the_training_part_where_there_is_no_other(tmp_path: Path) -> None:
    make.salicon(tmp_path, "train", {"COCO_train2014_000000000009": [A]})
    assert load("salicon", tmp_path).name == "salicon_train"


def test_figrim(tmp_path: Path) -> None:
    make.figrim(tmp_path, {"sun_a": [A, B]}, {"sun_b": [C]})
    check(load("figrim", tmp_path), {"Targets/barn/sun_a": [A, B], "Fillers/barn/sun_b": [C]})


def test_mit1003(tmp_path: Path) -> None:
    # JPEG leaves halos, so the dots are set apart.
    apart = np.array([[4.0, 4], [20, 4], [36, 4], [4, 20], [20, 20]])
    looks = {"i05june05_static_street_boston_p1010764": apart, "i10feb04_x": apart[:2]}
    make.mit1003(tmp_path, looks)
    dataset = load("mit1003", tmp_path)
    check(dataset, {name: [xy] for name, xy in looks.items()}, known_viewers=False)
    assert dataset.sigma == 35


def test_mit300_has_images_only(tmp_path: Path) -> None:
    make.picture(tmp_path / "BenchmarkIMAGES" / "i1.jpg")
    dataset = load("mit300", tmp_path)
    assert dataset.names == ("i1",)
    assert dataset.fixations is None


def test_cat2000(tmp_path: Path) -> None:
    looks = {"Action/001": A, "Action/002": B, "Art/001": C}
    make.cat2000(tmp_path, looks)
    check(load("cat2000", tmp_path), {name: [xy] for name, xy in looks.items()}, known_viewers=False)
    check(load("cat2000", tmp_path / "trainSet"), {n: [xy] for n, xy in looks.items()}, known_viewers=False)


def test_toronto(tmp_path: Path) -> None:
    looks = [A, B, *[C] * 9]  # image 10 comes after image 9, not after image 1
    looks[9] = A
    make.toronto(tmp_path, looks)
    expected = {str(number + 1): [xy] for number, xy in enumerate(looks)}
    for root in (tmp_path, tmp_path / "eyetrackingdata" / "fixdens"):
        check(load("toronto", root), expected, known_viewers=False)


SUBJECTS = np.array([0, 0, 0, 1, 1])


@pytest.mark.parametrize("version", ["7", "7.3"])
def test_pascal_s(tmp_path: Path, version: str) -> None:
    table = make.pascal_s(tmp_path, [(A, SUBJECTS), (B, SUBJECTS[:3])])
    path = tmp_path / "datasets" / "fixations" / "pascalFix.mat"
    if version == "7":
        savemat(path, {"fixCell": table})
    else:
        write_73(path, table)
    dataset = load("pascal_s", tmp_path)
    check(dataset, {"1": [A[:3], A[3:]], "2": [B]})
    region = dataset.mask(1)
    assert region is not None
    np.testing.assert_array_equal(np.argwhere(region)[[0, -1]], [[2, 3], [8, 11]])


def write_73(path: Path, table: np.ndarray) -> None:  # type: ignore[type-arg]
    """A cell array as MATLAB 7.3 writes it: behind 512 bytes, transposed, by references."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_dataset("fixCell", (1, len(table)), h5py.ref_dtype)
        for index, values in enumerate(table[:, 0]):
            cell = file.create_dataset(f"#refs#/{index}", data=values.T)
            references[0, index] = cell.ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def test_dut_omron(tmp_path: Path) -> None:
    make.dut_omron(tmp_path, {"im005": (A, SUBJECTS), "sun_a": (B, SUBJECTS[2:])})
    dataset = load("dut_omron", tmp_path)
    check(dataset, {"im005": [A[:3], A[3:]], "sun_a": [B[:1], B[1:]]})
    region = dataset.mask(0)
    assert region is not None and region.sum() == 25


def test_dut_omron_with_masks_only(tmp_path: Path) -> None:
    make.picture(tmp_path / "DUT-OMRON-image" / "im005.jpg")
    make.mask(tmp_path / "pixelwiseGT-new-PNG" / "im005.png", (0, 5, 0, 5))
    dataset = load("dut_omron", tmp_path)
    assert dataset.fixations is None
    assert dataset.mask(0) is not None


@pytest.mark.parametrize(
    ("name", "image", "region"),
    [
        ("ecssd", "images/0001.jpg", "ground_truth_mask/0001.png"),
        ("msra_b", "MSRA-B/0_0_77.jpg", "MSRA-B/0_0_77.png"),
        ("msra_b", "0_0_77.jpg", "0_0_77.png"),
        ("sod", "images/2018.jpg", "masks/2018.png"),
    ],
)
def test_regions(tmp_path: Path, name: str, image: str, region: str) -> None:
    make.picture(tmp_path / image)
    make.mask(tmp_path / region, (5, 9, 10, 30))
    dataset = load(name, tmp_path)
    assert dataset.name == name
    assert dataset.names == (Path(image).stem,)
    found = dataset.mask(0)
    assert found is not None
    assert found.dtype == bool and found.shape == (make.HEIGHT, make.WIDTH)
    assert found.sum() == 80 and found[5:9, 10:30].all()


def test_jian_li(tmp_path: Path) -> None:
    for number in (1, 2):
        make.picture(tmp_path / "images" / f"{number}.jpg")
    make.mask(tmp_path / "regions" / "1.png", (0, 3, 0, 3))
    make.mask(tmp_path / "fixations" / "2.png", (0, 3, 0, 3))
    dataset = load("jian_li", tmp_path)
    assert dataset.mask(0) is not None and dataset.mask(1) is None
    density = dataset.density(1)
    assert dataset.density(0) is None and density is not None
    assert density.dtype == np.float32 and density.max() == 255


def test_p3_and_o3(tmp_path: Path) -> None:
    make.odd_one_out(tmp_path / "p3" / "colors", ["image_circle_90_20", "image_circle_90_3"])
    make.odd_one_out(tmp_path / "p3" / "sizes", ["image_circle_90_20"])
    dataset = load("p3", tmp_path / "p3")
    # Pictures of one name in two parts are told apart.
    assert dataset.names == (
        "colors/image_circle_90_3",
        "colors/image_circle_90_20",
        "sizes/image_circle_90_20",
    )
    for index in range(3):
        target, others = dataset.target(index), dataset.distractor(index)
        assert target is not None and target.sum() == 36 and target[2:8, 2:8].all()
        assert others is not None and others.sum() == 36 and others[2:8, 20:26].all()
    make.odd_one_out(tmp_path / "o3", ["C4kfsNTXa2Irj"], ".jpg")
    assert load("o3", tmp_path / "o3").names == ("C4kfsNTXa2Irj",)


def test_every_data_set_has_a_reader() -> None:
    from sparsight.registry import resolve

    assert len(DATASETS) == 15
    assert all(callable(resolve(target)) for target in DATASETS.values())


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_an_empty_folder_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(SparsightError, match=r"^[^.\n].*\.$") as caught:
        load(name, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_what_is_not_there() -> None:
    with pytest.raises(SparsightError, match="did you mean 'osie'"):
        load("osi", "/")
    with pytest.raises(SparsightError, match="give their folder with --root"):
        load("osie")
    with pytest.raises(SparsightError, match="there is no folder /nowhere"):
        load("osie", "/nowhere")


def test_an_image_that_the_fixations_tell_of_is_missing(tmp_path: Path) -> None:
    make.osie(tmp_path, {"1001": [A], "1002": [B]})
    (tmp_path / "stimuli" / "1002.jpg").unlink()
    with pytest.raises(SparsightError, match=r"has no 1002\.jpg"):
        load("osie", tmp_path)


def test_a_mask_is_missing(tmp_path: Path) -> None:
    make.picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "ground_truth_mask").mkdir()
    with pytest.raises(SparsightError, match="no file for the image a"):
        load("ecssd", tmp_path)


def test_a_picture_on_its_side_has_the_size_that_it_is_seen_at(tmp_path: Path) -> None:
    import PIL.Image

    (tmp_path / "BenchmarkIMAGES").mkdir()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (40, 30)).save(tmp_path / "BenchmarkIMAGES" / "a.jpg", exif=exif)
    dataset = load("mit300", tmp_path)
    assert dataset.size(0) == dataset.image(0).shape[:2] == (40, 30)


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    make.picture(tmp_path / "BenchmarkIMAGES" / "a.jpg")
    dataset = load("mit300", tmp_path)
    dataset.images[0].write_bytes(b"no picture")
    for read in (dataset.size, dataset.image):
        with pytest.raises(SparsightError, match=r"a\.jpg"):
            read(0)


SPOTS = np.array([[4.0, 4], [20, 4], [36, 4]])


def gaze_files(name: str, root: Path) -> list[Path]:
    """Three images in the layout of a data set that has a file of fixations for each; those files."""
    if name == "mit1003":
        make.mit1003(root, {"i1": SPOTS, "i2": SPOTS + 2, "i3": SPOTS + 1})
        return sorted(root.glob("ALLFIXATIONMAPS/*_fixPts.jpg"))
    if name == "cat2000":
        make.cat2000(root, {"Action/001": A, "Action/002": B, "Art/001": C})
        return sorted(root.glob("trainSet/FIXATIONLOCS/*/*.mat"))
    if name == "salicon":
        make.salicon(root, "val", {"1": [A, B], "2": [C], "3": [A]})
        return sorted(root.glob("fixations/val/*.mat"))
    make.dut_omron(root, {"im1": (A, SUBJECTS), "im2": (B, SUBJECTS[2:]), "im3": (A, SUBJECTS)})
    return sorted(root.glob("DUT-OMRON-eye-fixations/mat/*.mat"))


@pytest.mark.parametrize("name", ["mit1003", "cat2000", "salicon", "dut_omron"])
def test_a_damaged_file_of_fixations_costs_its_image_only(tmp_path: Path, name: str) -> None:
    files = gaze_files(name, tmp_path)
    whole = load(name, tmp_path)
    assert whole.fixations is not None and not whole.unread
    for damage in (b"", b"no such file", files[1].read_bytes()[:200]):
        files[1].write_bytes(damage)
        found = load(name, tmp_path)
        assert found.fixations is not None
        assert list(found.unread) == [whole.names[1]] and files[1].name in found.unread[whole.names[1]]
        assert found.fixations.counts(3)[1] == 0
        for image in (0, 2):
            np.testing.assert_array_equal(found.fixations.xy(image), whole.fixations.xy(image))
    for path in files:
        path.write_bytes(b"no such file")
    with pytest.raises(SparsightError, match=re.escape(files[0].name)):
        load(name, tmp_path)


class TestMatlabFiles:
    def test_damaged_at_every_place(self, tmp_path: Path) -> None:
        make.osie(tmp_path, {"1001": [A, B]})
        path = tmp_path / "eye" / "fixations.mat"
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for cut in [0, 1, 100, 127, 128, 135, *rng.integers(136, len(whole), 20).tolist()]:
            path.write_bytes(whole[:cut])
            with pytest.raises(SparsightError):
                load("osie", tmp_path)
        for at in rng.integers(0, len(whole), 150).tolist():
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            try:
                load("osie", tmp_path)
            except SparsightError as error:
                assert "\n" not in str(error)

    def test_a_bomb_is_not_unpacked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        savemat(tmp_path / "bomb.mat", {"x": np.zeros(1_000_000)}, do_compression=True)
        assert (tmp_path / "bomb.mat").stat().st_size < 10_000
        assert len(read_variable(tmp_path / "bomb.mat", "x").T) == 1_000_000
        monkeypatch.setattr("sparsight.saliency.datasets.matlab.MAX_BYTES", 1 << 20)
        with pytest.raises(SparsightError, match="it unpacks to more than 1 MiB"):
            read_variable(tmp_path / "bomb.mat", "x")

    def test_version_73_is_said(self, tmp_path: Path) -> None:
        path = tmp_path / "x.mat"
        path.write_bytes(b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n")
        with pytest.raises(SparsightError, match=r"format 7\.3.*-v7"):
            read_variable(path, "x")

    def test_another_variable(self, tmp_path: Path) -> None:
        savemat(tmp_path / "x.mat", {"other": 1})
        with pytest.raises(SparsightError, match="it has no variable x"):
            read_variable(tmp_path / "x.mat", "x")

    def test_another_type(self, tmp_path: Path) -> None:
        make.osie(tmp_path, {"1001": [A]})
        for wrong in (np.arange(3), make.cells("text"), make.cells({"img": "1001.jpg"})):
            savemat(tmp_path / "eye" / "fixations.mat", {"fixations": wrong})
            with pytest.raises(SparsightError, match="not laid out as published"):
                load("osie", tmp_path)


def folder_of(tmp_path: Path, table: str) -> Path:
    for name in ("a", "b"):
        make.picture(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "fixations.csv").write_text(table, "utf-8")
    return tmp_path


class TestFolder:
    def test_fixations(self, tmp_path: Path) -> None:
        root = folder_of(
            tmp_path, "subject,image,y,x,duration\n3,b.jpg,5,6.5,0.2\n,a.jpg,1,2,\n3,b.jpg,-4,9,\n"
        )
        dataset = load(f"folder:{root}")
        assert dataset.name == tmp_path.name
        assert dataset.fixations is not None
        np.testing.assert_array_equal(dataset.fixations.xy(0), [[2, 1]])
        np.testing.assert_array_equal(dataset.fixations.xy(1), [[6.5, 5], [9, -4]])
        np.testing.assert_array_equal(dataset.fixations.subject, [-1, 3, 3])
        np.testing.assert_array_equal(dataset.fixations.duration, [np.nan, 0.2, np.nan])
        assert dataset.fixations.inside(np.array([[30, 40], [30, 40]])).tolist() == [True, True, False]

    def test_densities_and_masks(self, tmp_path: Path) -> None:
        make.picture(tmp_path / "a.jpg")
        make.mask(tmp_path / "densities" / "a.png", (0, 3, 0, 3))
        make.mask(tmp_path / "masks" / "a.png", (0, 4, 0, 4))
        dataset = load(f"folder:{tmp_path}")
        assert dataset.names == ("a",)
        density, mask = dataset.density(0), dataset.mask(0)
        assert density is not None and (density > 0).sum() == 9
        assert mask is not None and mask.sum() == 16

    def test_names_in_folders(self, tmp_path: Path) -> None:
        for name in ("one/a", "two/a", "two/b"):
            make.picture(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "fixations.csv").write_text("image,x,y\none/a,0,0\ntwo/a.jpg,1,1\nb.jpg,2,2\nb,3,3\n")
        dataset = load(f"folder:{tmp_path}")
        assert dataset.fixations is not None
        assert dataset.fixations.image.tolist() == [0, 1, 2, 2]
        (tmp_path / "fixations.csv").write_text("image,x,y\na.jpg,1,1\n")
        with pytest.raises(SparsightError, match=r"line 2 of .*'a\.jpg'.*not the name of one image"):
            load(f"folder:{tmp_path}")

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ("image,x\na.jpg,1\n", "has no column y"),
            ("", "no column image or x or y|is an empty file"),
            ("image,x,y\na.jpg,one,2\n", "line 2 of .* has 'one' as x"),
            ("image,x,y\nc.jpg,1,2\n", r"line 2 of .* is about 'c\.jpg'"),
            ("image,x,y,subject\na.jpg,1,2,anna\n", "has 'anna' as subject"),
            ("image,x,y,subject\na.jpg,1,2,1.5\n", "subject 1.5: give a whole number"),
        ],
    )
    def test_bad_lines(self, tmp_path: Path, table: str, said: str) -> None:
        with pytest.raises(SparsightError, match=said):
            load(f"folder:{folder_of(tmp_path, table)}")

    def test_a_table_that_is_no_text(self, tmp_path: Path) -> None:
        root = folder_of(tmp_path, "x")
        (root / "fixations.csv").write_bytes(b"image,x,y\n\xff\xfe\n")
        with pytest.raises(SparsightError, match="not a CSV file in UTF-8"):
            load(f"folder:{root}")

    def test_nothing_but_images(self, tmp_path: Path) -> None:
        make.picture(tmp_path / "a.jpg")
        with pytest.raises(SparsightError, match=r"has no fixations\.csv"):
            load(f"folder:{tmp_path}")

    def test_two_pictures_of_one_name(self, tmp_path: Path) -> None:
        make.picture(tmp_path / "a.jpg")
        make.picture(tmp_path / "a.png")
        with pytest.raises(SparsightError, match="would have the same name"):
            load(f"folder:{tmp_path}")


def test_media_is_read_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.osie(tmp_path, {"1001": [A], "1002": [B]})
    read: list[Path] = []
    genuine = media.read_image
    monkeypatch.setattr(
        "sparsight.saliency.datasets.dataset.read_image", lambda path: read.append(path) or genuine(path)
    )
    dataset = load("osie", tmp_path)
    assert read == []
    dataset.image(1)
    assert read == [dataset.images[1]]
