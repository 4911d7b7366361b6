from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sparsight import SparsightError, assets
from sparsight.assets.catalogue import Deb, Local, PyPI, Url, parse, safe_member

EXPECTED = """
    ssdlite_person yolox_nano yolox_tiny yolox_s yolo_fastest_xl.cfg yolo_fastest_xl.weights coco.names
    yolov3_tiny.cfg yolov3_tiny.weights yolov4.cfg yolov4.weights yolov4_tiny.cfg yolov4_tiny.weights
    osnet_x0_25_msmt17 osnet_x0_25 osnet_x1_0 osnet_ain_x1_0 mlfn mobilenet_v2_deepsort facenet_vggface2
    mtcnn_pnet mtcnn_rnet mtcnn_onet vgg16 vgg19 resnet18 mobilenet_v2 hed_vgg16 openpose_thin
    vtest.avi bikes.mp4 fashion_mnist_train_images fashion_mnist_train_labels fashion_mnist_test_images
    fashion_mnist_test_labels mnist mnist_train_images mnist_test_labels cifar10 cifar10_binary
    cifar100_binary svhn_train svhn_test caltech101 osie sod posetreid tud_campus tud_stadtmitte
    pets09_s2l1 eth_sunnyday kitti_13
""".split()  # noqa: SIM905


def entry(**changes: object) -> str:
    fields: dict[str, object] = {
        "name": "a",
        "file": "a.bin",
        "licence": "MIT",
        "upstream": "https://example.org",
        "description": "a thing",
        "sha256": "0" * 64,
    } | changes
    sources = fields.pop("sources", '[{ local = "a.bin" }]')
    lines = [
        f"{key} = {value if isinstance(value, int) else repr(value)}"
        for key, value in fields.items()
        if value
    ]
    return "\n".join(["[[asset]]", *lines, f"sources = {sources}"])


def test_it_holds_what_the_other_rooms_ask_for() -> None:
    assert set(EXPECTED) <= set(assets.CATALOGUE)


@pytest.mark.parametrize("name", assets.CATALOGUE)
def test_every_entry_is_well_formed(name: str) -> None:
    asset = assets.CATALOGUE[name]
    assert asset.name == name
    assert asset.licence
    assert asset.description
    assert asset.upstream.startswith("http")
    assert asset.sources
    for contents in (asset.contents, *(source.contents for source in asset.sources)):
        assert re.fullmatch("[0-9a-f]{0,64}", contents.sha256)
    assert all(source.url.startswith("https://") for source in asset.sources if isinstance(source, Url))
    # The order in which kinds of source are tried is one for all.
    order = [(Local, Url, PyPI, Deb).index(type(source)) for source in asset.sources]
    assert order == sorted(order)


def test_hashes_not_known_are_few_and_on_purpose() -> None:
    unknown = {a.name for a in assets.CATALOGUE.values() if a.kind == "file" and not a.contents.pinned}
    assert unknown == {"vgg19", "osnet_x1_0", "mlfn"}


def test_torchvision_hashes_begin_as_the_official_file_names_say() -> None:
    for name in ("vgg16", "vgg19", "resnet18", "mobilenet_v2"):
        asset = assets.CATALOGUE[name]
        stated = asset.file.removesuffix(".pth").rpartition("-")[2]
        assert asset.contents.sha256.startswith(stated)


def test_darknet_pairs_share_their_stem() -> None:
    for cfg in [a for a in assets.CATALOGUE.values() if a.name.endswith(".cfg")]:
        weights = assets.CATALOGUE[cfg.name.removesuffix(".cfg") + ".weights"]
        assert cfg.file.removesuffix(".cfg") == weights.file.removesuffix(".weights")


def test_a_good_entry_is_read() -> None:
    other = "1" * 64
    sources = (
        f'[{{ local = "w/a.bin", sha256 = "{other}", bytes = 3 }}, {{ url = "https://example.org/a" }}, '
        '{ pypi = "p==1", archive = "sdist", member = "p-1/a" }, { deb = "a-doc", member = "*/a" }]'
    )
    asset = parse(entry(sources=sources, bytes=5))["a"]
    assert [type(source) for source in asset.sources] == [Local, Url, PyPI, Deb]
    assert asset.sources[0].contents.sha256 == other
    assert asset.sources[1].contents == asset.contents
    assert asset.contents.bytes == 5


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sha256": "ABC"}, "hash"),
        ({"sha256": "0" * 63}, "hash"),
        ({"sha256_prefix": "0" * 8}, "both"),
        ({"bytes": -1}, "size"),
        ({"licence": ""}, "lacks 'licence'"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"file": "../a.bin"}, "bare file name"),
        ({"kind": "dream"}, "kind"),
        ({"kind": "folder"}, "is a folder"),
        ({"sources": '[{ local = "../a" }]'}, "source"),
        ({"sources": '[{ local = "/a" }]'}, "source"),
        ({"sources": '[{ url = "file:///etc/passwd" }]'}, "source"),
        ({"sources": '[{ pypi = "p", archive = "wheel", member = "a" }]'}, "source"),
        ({"sources": '[{ pypi = "p==1", archive = "egg", member = "a" }]'}, "source"),
        ({"sources": '[{ pypi = "p==1", archive = "wheel", member = "../a" }]'}, "source"),
        ({"sources": '[{ deb = "--option", member = "a" }]'}, "source"),
        ({"sources": '[{ deb = "p", member = "a", bytes = 3 }]'}, "source"),
    ],
)
def test_a_bad_entry_is_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(SparsightError, match=complaint):
        parse(entry(**changes))


def test_names_and_files_are_taken_once() -> None:
    with pytest.raises(SparsightError, match="name 'a' twice"):
        parse(entry() + "\n" + entry(file="b.bin"))
    with pytest.raises(SparsightError, match=r"file 'a\.bin' twice"):
        parse(entry() + "\n" + entry(name="b"))


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../../b", "a/..", "C:/a", "a\\..\\b"])
def test_paths_that_leave_are_not_safe(path: str) -> None:
    assert not safe_member(path)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(SparsightError, match="did you mean 'yolox_nano'"):
        assets.path("yolox_nanno")


def test_importing_is_light() -> None:
    code = "import sys, sparsight.assets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"httpx", "rich", "filelock", "numpy", "torch", "sparsight.assets.pypi"}
    assert not heavy & set(done.stdout.split())
