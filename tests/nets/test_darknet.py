"""Darknet networks against plain NumPy loops; cfgs and weight files that are wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import darknet_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.nets import Session, build
from sparsight.nets.darknet import ACTIVATIONS, Darknet, darknet, parse_cfg

NET = "[net]\nwidth=32\nheight=24\nchannels=3\n"


def conv(
    filters: int, size: int = 1, stride: int = 1, norm: int = 1, activation: str = "leaky", **more: int
) -> str:
    extra = "".join(f"{key}={value}\n" for key, value in more.items())
    return (
        f"[convolutional]\nbatch_normalize={norm}\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
        f"activation={activation}\n{extra}"
    )


def yolo(mask: str, scale: float = 1.0, more: str = "") -> str:
    return (
        f"[yolo]\nmask={mask}\nanchors = 4,5,  8, 9,  14,16\nclasses=2\nnum=3\nscale_x_y={scale}\n"
        f"ignore_thresh=.7\n{more}"
    )


V4_LIKE = (
    NET
    + "# a stem, then a cross-stage block as in YOLOv4-tiny\n"
    + conv(4, 3, 2, activation="mish")
    + conv(8, 3)
    + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n"
    + conv(4, 3, activation="swish")
    + conv(4, 3, activation="relu")
    + "[route]\nlayers = -1,-2\n"
    + conv(8)
    + "[route]\nlayers = -6,-1\n"
    + "[maxpool]\nsize=2\nstride=2\n"
    + "; depthwise with a shortcut, as in Yolo-Fastest\n"
    + conv(16, 3, groups=16, activation="relu6")
    + conv(16, activation="linear")
    + "[dropout]\nprobability=.2\n"
    + "[shortcut]\nfrom=-4\nactivation=leaky\n"
    + conv(6, 3, 2, norm=0, activation="logistic")
    + "### SPP ###\n[maxpool]\nstride=1\nsize=5\n[route]\nlayers=-2\n[maxpool]\nstride=1\nsize=2\n"
    + "[route]\nlayers=-1,-3,-4\n### End SPP ###\n"
    + conv(14, norm=0, activation="linear")
    + yolo("1,2", 1.05)
    + "[route]\nlayers=-3\n"
    + "[upsample]\nstride=2\n"
    + "[route]\nlayers=-1, 8\n"
    + conv(7, norm=0, activation="logistic")
    + yolo("0", 2.0, "new_coords=1\n")
)


def weights_for(model: Darknet, seed: int = 0) -> NDArray[np.float32]:
    """As many numbers as the network takes, positive where they may be variances."""
    count = sum(p.numel() for p in model.parameters())
    count += sum(
        b.numel() for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    return np.random.default_rng(seed).uniform(0.05, 0.6, count).astype(np.float32)


def write(path: Path, weights: NDArray[np.float32], version: tuple[int, int] = (0, 2)) -> Path:
    seen = struct.pack("<Q" if version >= (0, 2) else "<I", 1234)
    path.write_bytes(struct.pack("<3i", *version, 5) + seen + weights.astype("<f4").tobytes())
    return path


def run_both(
    cfg: str, folder: Path, version: tuple[int, int] = (0, 2)
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    weights = weights_for(darknet(cfg))
    model = build("darknet", cfg=cfg, weights=write(folder / "n.weights", weights, version))
    x = np.random.default_rng(1).standard_normal((2, *model.input_shape)).astype(np.float32)
    with torch.no_grad():
        got = model(torch.from_numpy(x)).numpy()
    return got, np.stack([reference.run(cfg, weights, image.astype(np.float64)) for image in x])


def test_a_network_with_every_layer_of_yolov4(tmp_path: Path) -> None:
    got, expected = run_both(V4_LIKE, tmp_path)
    assert got.shape == (2, 2 * 3 * 4 + 6 * 8, 7)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (1, 0)])
def test_header_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    got, expected = run_both(NET + conv(2) + conv(14, norm=0) + yolo("0,2"), tmp_path, version)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations(tmp_path: Path, activation: str) -> None:
    got, expected = run_both(NET + conv(2, 3, 2, activation=activation), tmp_path)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_classifier_ends_in_its_last_layer(tmp_path: Path) -> None:
    cfg = NET + conv(3, 3) + "[avgpool]\n" + conv(5, norm=0, activation="linear")
    got, expected = run_both(cfg, tmp_path)
    assert got.shape == (2, 5, 1, 1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(3, 14), width=st.integers(3, 14), size=st.integers(1, 6), stride=st.integers(1, 4),
    padding=st.none() | st.integers(0, 5),
)  # fmt: skip
def test_maxpool_pads_as_darknet_does(
    height: int, width: int, size: int, stride: int, padding: int | None
) -> None:
    padding = None if padding is None else min(padding, size - 1)
    given_padding = size - 1 if padding is None else padding
    if min(height, width) + given_padding < size:
        return
    text = f"[maxpool]\nsize={size}\nstride={stride}\n" + ("" if padding is None else f"padding={padding}\n")
    model = darknet(f"[net]\nwidth={width}\nheight={height}\nchannels=2\n" + text)
    x = np.random.default_rng(0).standard_normal((2, height, width))
    got = model(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_array_equal(got, reference.maxpool(x, size, stride, given_padding))


def test_exported_network_equals_torch() -> None:
    model = darknet(V4_LIKE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.05, 0.6)
    x = np.random.default_rng(0).random((3, 3, 24, 32), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(Session(model, "cpu")(x), expected, rtol=1e-4, atol=1e-4)


def test_cfg_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "n.cfg"
    path.write_text(V4_LIKE.replace("\n", "\r\n"))
    assert darknet(path).input_shape == darknet(str(path)).input_shape == (3, 24, 32)
    assert darknet(path).classes == 2


@pytest.mark.parametrize(
    ("cfg", "says"),
    [
        ("\n", r"does not begin with a \[net\]"),
        (conv(3), r"does not begin with a \[net\]"),
        ("\nhello there", "line 2 of the cfg is neither"),
        (NET, "0 layers"),
        (NET + "[convolutional]\nfilters=many\n", r"\[convolutional\] at line 5 has filters=many"),
        (NET + conv(0), "has filters=0"),
        (NET + conv(3, groups=2), "groups=2, which does not divide"),
        (NET + conv(3, activation="selu"), "no activation called 'selu'"),
        (NET + "[lstm]\n", "no Darknet layer called 'lstm'"),
        (NET + "[rout]\n", "did you mean 'route'"),
        (NET + conv(3, dilation=2), "sets dilation=2"),
        (NET + conv(3) + "[route]\nlayers=-2\n", "reads from layer -2"),
        (NET + conv(3) + "[route]\nlayers=1\n", "reads from layer 1"),
        (NET + conv(3) + "[route]\n", "names no layers"),
        (NET + conv(3) + "[route]\nlayers=-1\ngroups=2\n", "groups=2, which does not divide"),
        (NET + conv(3) + conv(3, stride=2) + "[route]\nlayers=-1,-2\n", "maps of different sizes"),
        (NET + conv(3) + conv(4) + "[shortcut]\nfrom=-2\n", "maps of one shape"),
        (NET + conv(3) + "[shortcut]\n", "maps of one shape"),
        (NET + conv(3) + yolo("0"), "reads 3 channels, but 1 anchors and 2 classes take 7"),
        (NET + conv(7) + yolo("3"), "only 3 anchors"),
        (NET + conv(7) + "[yolo]\nclasses=2\n", "needs anchors"),
        (NET + conv(7) + "[yolo]\nclasses=2\nanchors=1,nan\n", "finite numbers"),
        (NET + conv(7) + yolo("0") + conv(7), r"reads from a \[yolo\] layer"),
        (
            NET + conv(7) + yolo("0") + "[route]\nlayers=0\n" + conv(6) + yolo("0").replace("=2", "=1"),
            "differ",
        ),
        (NET + conv(65536) + conv(65536), "parameters"),
        (NET + "[upsample]\nstride=32\n" * 3, "too large"),
        ("[net]\nwidth=99999999\n" + conv(3), "width=99999999"),
        (NET + "[dropout]\nprobability=2\n", "probability"),
        (NET + conv(3) * 2000, "2000 layers"),
        ("[net]\n" + "#" * (2 << 20), "longer than 1 MiB"),
        (NET + "[convolutional]\nsize=63\nfilters=1\n", "needs a larger map"),
    ],
)
def test_cfgs_that_cannot_be_built(cfg: str, says: str) -> None:
    with pytest.raises(SparsightError, match=says):
        darknet(cfg)


def test_cfg_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.cfg", tmp_path, "none\0.cfg"):
        with pytest.raises(SparsightError, match="cannot be read"):
            darknet(path)
    (tmp_path / "binary.cfg").write_bytes(bytes(range(256)))
    with pytest.raises(SparsightError, match=r"binary\.cfg"):
        darknet(tmp_path / "binary.cfg")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_cfgs_end_in_one_sentence_or_a_network(data: st.DataObject) -> None:
    lines = V4_LIKE.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        line = data.draw(st.integers(0, len(lines) - 1))
        replacement = st.sampled_from(
            ["", "[yolo]", "[route]", "layers=-1", "size=0", "stride=-1", "filters=1e9", "groups=3"]
        )
        lines[line] = data.draw(replacement)
    try:
        darknet("\n".join(lines))
    except SparsightError as error:
        assert str(error).endswith(".")


def test_sections_keep_their_lines() -> None:
    net, route = parse_cfg("# head\n[net]\nwidth = 8 ; px\n\n[route]\nLayers=-1\n")
    assert (net.line, net.settings) == (2, {"width": "8"})
    assert (route.line, route.settings) == (5, {"layers": "-1"})


def test_weight_files_that_do_not_fit(tmp_path: Path) -> None:
    cfg = NET + conv(2) + conv(14, norm=0) + yolo("0,2")
    model = darknet(cfg)
    weights = weights_for(model)
    path = tmp_path / "n.weights"
    whole = write(path, weights).read_bytes()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for content, says in (
        (b"", "too short"),
        (whole[:11], "too short"),
        (whole[:14], "holds 0 bytes"),
        (whole[:-1], "cut short or belongs to another"),
        (whole + b"\0\0\0\0", "cut short or belongs to another"),
        (b"PK\x03\x04" + whole[4:], "does not begin with a Darknet version"),
    ):
        path.write_bytes(content)
        with pytest.raises(SparsightError, match=says):
            model.load_file(path)
    with pytest.raises(SparsightError, match="cannot be read"):
        model.load_file(tmp_path)
    for key, value in before.items():
        assert torch.equal(model.state_dict()[key], value)
