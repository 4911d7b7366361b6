from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from sparsight import SparsightError, nets, saliency
from sparsight.saliency import SaliencyResult, reading
from sparsight.saliency.deeprare import BACKBONES, border_2019, network_input
from sparsight.saliency.levels import minmax, resize
from sparsight.saliency.process import processed
from sparsight.saliency.rarity import rarity_map

SIZE = (96, 160)
LAYERS = list(zip(BACKBONES["mobilenet_v2"].layers, (192, 192, 384, 384, 576, 960, 960), strict=True))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileNetV2 that was never trained, always the same."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.pth"
    torch.save(nets.build("mobilenet_v2").state_dict(), path)
    return path


@pytest.fixture(scope="session")
def model(weights: Path) -> saliency.SaliencyModel:
    return saliency.build("deeprare", weights=weights, size=SIZE, device="cpu")


def picture(*shape: int) -> Any:
    return np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)


@pytest.fixture(scope="session")
def result(model: saliency.SaliencyModel) -> SaliencyResult:
    return model(picture(120, 200))


def test_every_stage_is_kept(result: SaliencyResult) -> None:
    assert list(result.levels) == ["12x20", "6x10", "3x5"]
    assert {result.layer_levels[name] for name in result.layers} == set(result.levels)
    assert result.processing == ()
    assert list(result.layers) == list(BACKBONES["mobilenet_v2"].layers)
    assert set(result.weights) == set(result.layers)
    for name, level in result.levels.items():
        assert "x".join(map(str, level.shape)) == name
        assert level.dtype == np.float32
        assert level.min() == 0
        assert level.max() == 1
    assert {name: level.shape for name, level in result.enlarged_levels().items()} == dict.fromkeys(
        result.levels, (120, 200)
    )


def test_levels_and_map_follow_from_the_layers(result: SaliencyResult) -> None:
    def stretched(values: Any) -> Any:
        return (values - values.min()) / (values.max() - values.min())

    levels: dict[tuple[int, ...], Any] = {}
    for name, layer in result.layers.items():
        scaled = stretched(layer)
        scaled[scaled < 0.6] = 0
        weight = (1 - scaled.mean()) ** 2
        assert result.weights[name] == pytest.approx(weight, rel=1e-4)
        levels[layer.shape] = levels.get(layer.shape, 0) + weight * scaled
    total: Any = 0
    for shape, level in levels.items():
        kept = result.levels["x".join(map(str, shape))]
        np.testing.assert_allclose(kept, stretched(level), atol=1e-5)
        layers = list(result.layer_levels.values()).count("x".join(map(str, shape)))
        assert result.level_weights["x".join(map(str, shape))] == pytest.approx(layers * 3 / 7)
        total = total + layers * cv2.resize(kept, (20, 12), interpolation=cv2.INTER_LINEAR)
    expected = cv2.resize(stretched(total), (200, 120), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(result.map, expected, atol=1e-5)


def test_layers_are_the_rarity_of_the_networks_features(weights: Path, result: SaliencyResult) -> None:
    network = nets.build("mobilenet_v2", weights=weights)
    with torch.inference_mode():
        features = nets.taps(network, list(result.layers))(
            torch.from_numpy(network_input(picture(120, 200), SIZE))
        )
    for name, layer in result.layers.items():
        # The two runtimes round differently, and a value beside the edge of a bin may change sides.
        expected = rarity_map(features[name][0].numpy())
        corners = ([1, 1, -2, -2], [1, -2, 1, -2])
        expected[corners] *= layer[corners] > 0  # which of them count has a test of its own
        assert np.abs(layer - expected).mean() < 0.02 * expected.max()


def test_threshold_and_border(weights: Path, result: SaliencyResult) -> None:
    strict = saliency.build("deeprare", weights=weights, size=SIZE, device="cpu", threshold=0.8, border=2)
    other = strict(picture(120, 200))
    assert not other.levels["3x5"].any()  # nothing within a border of 2
    assert not other.layers["features.8.conv.0"][1].any()
    level = other.levels["12x20"]
    assert 0 < (level > 0).sum() < (result.levels["12x20"] > 0).sum()


def test_the_network_sees_rgb_as_in_training() -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    image[..., 0] = 255
    x = network_input(image, SIZE)
    assert x.shape == (1, 3, *SIZE)
    assert x.dtype == np.float32
    expected = np.array([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], np.float32)
    np.testing.assert_allclose(x, np.broadcast_to(expected[None, :, None, None], x.shape), rtol=1e-5)


def test_what_the_channels_add_is_the_map(weights: Path) -> None:
    model = saliency.build("deeprare", weights=weights, size=SIZE, device="cpu", threshold=0)
    result = model(picture(120, 200))
    assert result.strongest is not None
    for x, y in ((60, 50), (131, 77)):
        channels = result.strongest(x, y, 100_000)
        assert len(channels) == sum(count for _, count in LAYERS)
        shares = [channel.share for channel in channels]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-4)
    for name, layer in result.layers.items():
        together = sum(channel.map for channel in channels if channel.layer == name)
        np.testing.assert_allclose(together, layer, rtol=1e-4, atol=1e-5)
    assert [channel.index for channel in result.strongest(60, 50, 3)] == [
        channel.index for channel in result.strongest(60, 50, 100_000)[:3]
    ]


def test_a_channel_that_is_blotted_out_takes_its_share_with_it(weights: Path) -> None:
    """Without its strongest channel, the map at a point falls by that channel's share."""
    model = saliency.build("deeprare", weights=weights, size=SIZE, device="cpu", threshold=0)
    result = model(picture(120, 200))
    assert result.strongest is not None
    x, y = 88, 41
    total = 0.0
    without = 0.0
    top = result.strongest(x, y, 1)[0]
    sums: dict[str, Any] = {}
    less: dict[str, Any] = {}
    for name, layer in result.layers.items():
        level, weight = result.layer_levels[name], result.weights[name]
        remaining = layer - top.map if name == top.layer else layer
        sums[level] = sums.get(level, 0) + weight * layer / layer.max()
        less[level] = less.get(level, 0) + weight * remaining / layer.max()
    for level, values in sums.items():
        for add, kept in ((True, values), (False, less[level])):
            scaled = result.level_weights[level] * kept / values.max()
            grid = cv2.resize(scaled, (20, 12), interpolation=cv2.INTER_LINEAR)
            at_point = float(cv2.resize(grid, (200, 120), interpolation=cv2.INTER_LINEAR)[y, x])
            total += at_point if add else 0
            without += 0 if add else at_point
    assert top.share == pytest.approx(1 - without / total, rel=1e-3)


@pytest.mark.parametrize(("x", "y", "count"), [(200, 5, 1), (5, 120, 1), (-1, 5, 1), (5, 5, 0)])
def test_strongest_channels_of_nowhere(result: SaliencyResult, x: int, y: int, count: int) -> None:
    assert result.strongest is not None
    with pytest.raises(SparsightError, match=r"outside the picture|ask for 1 or more"):
        result.strongest(x, y, count)


def test_a_top_down_channel_is_a_level(weights: Path, result: SaliencyResult) -> None:
    model = saliency.build(
        "deeprare", weights=weights, size=SIZE, device="cpu", top_down="features.13.conv.0:7"
    )
    other = model(picture(120, 200))
    assert list(other.levels) == [*result.levels, "features.13.conv.0:7"]
    assert other.processing == ("top-down channel features.13.conv.0:7",)
    network = nets.build("mobilenet_v2", weights=weights)
    with torch.inference_mode():
        opened = nets.taps(network, ["features.13.conv.0"])
        features = opened(torch.from_numpy(network_input(picture(120, 200), SIZE)))
    channel = features["features.13.conv.0"][0, 7].numpy()
    channel[[0, -1]] = channel[:, [0, -1]] = 0
    np.testing.assert_allclose(other.levels["features.13.conv.0:7"], channel / channel.max(), atol=1e-4)
    for name in result.levels:
        np.testing.assert_array_equal(other.levels[name], result.levels[name])
    assert not np.allclose(other.map, result.map)


def test_a_top_down_channel_that_there_is_not(weights: Path) -> None:
    model = saliency.build(
        "deeprare", weights=weights, size=SIZE, device="cpu", top_down="features.2.conv.0:96"
    )
    with pytest.raises(SparsightError, match="no channel 96: give 0 to 95"):
        model(picture(120, 200))


def test_blur_and_centre_prior_are_stated(weights: Path, result: SaliencyResult) -> None:
    model = saliency.build("deeprare", weights=weights, size=SIZE, device="cpu", blur=0.05, centre_prior=0.25)
    other = model(picture(120, 200))
    assert len(other.processing) == 2
    expected = processed(result, blur=0.05, centre_prior=0.25)
    np.testing.assert_array_equal(other.map, expected.map)


@pytest.mark.parametrize("extra", [None, "features.13.conv.0:7"])
def test_layer_by_layer_equals_all_at_once(
    weights: Path, extra: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What large pictures take, PyTorch one layer at a time, gives what ONNX Runtime gives."""
    options: dict[str, Any] = {"weights": weights, "size": SIZE, "device": "cpu", "top_down": extra}
    whole = saliency.build("deeprare", **options)
    monkeypatch.setattr(reading, "MOST_VALUES", 0)
    monkeypatch.setattr(reading, "_LARGE", 0)
    parts = saliency.build("deeprare", **options)
    assert isinstance(parts._reader, reading.TorchReader)  # type: ignore[attr-defined]
    assert isinstance(whole._reader, reading.OnnxReader)  # type: ignore[attr-defined]
    one, other = whole(picture(120, 200)), parts(picture(120, 200))
    assert list(one.layers) == list(other.layers)
    for name, layer in one.layers.items():
        # The two runtimes round differently, and a value beside the edge of a bin may change sides.
        assert np.abs(layer - other.layers[name]).mean() < 0.02 * layer.max()
    assert one.strongest is not None
    assert other.strongest is not None
    assert other.strongest(60, 50, 1)[0].layer in one.layers


def test_a_size_beyond_memory_goes_layer_by_layer() -> None:
    network = nets.taps(nets.build("vgg16", input_shape=(3, 64, 64)), BACKBONES["vgg16"].layers)
    assert not reading._too_large(network, (224, 224))
    assert not reading._too_large(network, (448, 448))
    assert reading._too_large(network, (768, 1024))


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (3, 3), (1, 3000), (40_000, 2), (1500, 2000)])
def test_pictures_of_any_size(model: saliency.SaliencyModel, shape: tuple[int, int]) -> None:
    result = model(picture(*shape))
    assert result.map.shape == shape
    assert result.map.dtype == np.float32
    assert np.isfinite(result.map).all()
    assert 0 <= result.map.min() <= result.map.max() <= 1


def test_a_picture_that_is_a_view(model: saliency.SaliencyModel, result: SaliencyResult) -> None:
    bgr = np.ascontiguousarray(picture(120, 200)[..., ::-1])
    np.testing.assert_array_equal(model(bgr[..., ::-1]).map, result.map)


@pytest.mark.parametrize("shape", [(1, 1), (48, 64)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 30, 90)])
def test_one_colour_has_nothing_salient(
    model: saliency.SaliencyModel, shape: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    image = np.empty((*shape, 3), np.uint8)
    image[:] = colour
    result = model(image)
    assert result.map.shape == shape
    assert not result.map.any()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
        [[1, 2, 3]],
    ],
)
def test_what_is_no_picture_is_refused(model: saliency.SaliencyModel, image: Any) -> None:
    with pytest.raises(SparsightError, match="H×W×3 uint8"):
        model(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "mobilenet_v"}, "did you mean 'mobilenet_v2'"),
        ({"size": 64}, "at least 96"),
        ({"size": (224, 90)}, "at least 96"),
        ({"bins": 1}, "2 to 64"),
        ({"bins": 65}, "2 to 64"),
        ({"border": -1}, "0 or more"),
        ({"threshold": 1.0}, "threshold"),
        ({"level_weights": "even"}, "equal, layers"),
        ({"blur": -0.1}, "blur of -0.1"),
        ({"centre_prior": float("nan")}, "centre prior of nan"),
        ({"top_down": "features.3"}, "MODULE:NUMBER"),
        ({"top_down": "features.99:1"}, "features.99"),
        ({"device": "tpu"}, "device"),
        ({"layers": ["features.99"]}, "features.99"),
    ],
)
def test_bad_options(weights: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SparsightError, match=message):
        saliency.build("deeprare", **{"weights": weights, **options})


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_of_the_backbones_are_rectified(name: str) -> None:
    modules = dict(nets.build(name, input_shape=(3, 64, 64), num_classes=2).named_modules())
    for layer in BACKBONES[name].layers:
        module = modules[layer]
        last = module[-1] if isinstance(module, nn.Sequential) else module
        assert isinstance(last, nn.ReLU | nn.ReLU6)


@pytest.mark.parametrize(("name", "count"), [("vgg16", 13), ("vgg19", 16)])
def test_all_rectified_layers_of_vgg_are_used(name: str, count: int) -> None:
    network = nets.build(name, input_shape=(3, 64, 64), num_classes=2)
    rectified = [
        key
        for key, module in network.named_modules()
        if key.startswith("features") and isinstance(module, nn.ReLU)
    ]
    assert list(BACKBONES[name].layers) == rectified
    assert len(rectified) == count


def test_levels_count_alike_in_2019(weights: Path) -> None:
    image = picture(120, 200)
    earlier = saliency.build("deeprare2019", weights=weights, size=SIZE, device="cpu")(image)
    assert set(earlier.level_weights.values()) == {1.0}
    total = sum(resize(level, (12, 20)) for level in earlier.levels.values())
    np.testing.assert_allclose(earlier.map, resize(minmax(total), image.shape[:2]), atol=1e-5)
    assert BACKBONES["vgg16"].level_weights == BACKBONES["vgg19"].level_weights == "equal"


def test_border_of_2019() -> None:
    assert [border_2019(width) for width in (224, 112, 56, 28, 14, 7)] == [3, 3, 3, 2, 1, 1]


def corners_of(result: SaliencyResult, level: str) -> Any:
    """(layers, 4): the corner pixels inside the border, of a level's layers."""
    names = [name for name, own in result.layer_levels.items() if own == level]
    return np.array([result.layers[name][[1, 1, -2, -2], [1, -2, 1, -2]] for name in names])


def test_corners_inside_the_border_are_ignored(result: SaliencyResult) -> None:
    """There the network sees its padding from two sides; on the smallest map they would be all there is."""
    for name, level in result.levels.items():
        lit = corners_of(result, name).any(axis=0)
        if name == "3x5":
            assert lit.all()
            continue
        at_a_corner = level[[1, 1, -2, -2], [1, -2, 1, -2]] == 1
        np.testing.assert_array_equal(lit, at_a_corner)
    for layer in result.layers.values():
        assert (layer[1, 2:-2] > 0).any()


def test_a_corner_that_is_its_levels_maximum_counts(weights: Path) -> None:
    """What is odd in a corner is seen there, and what is odd in the middle leaves all corners dark."""
    layers = ["features.2.conv.1", "features.3.conv.0"]
    model = saliency.build("deeprare", weights=weights, size=96, layers=layers, device="cpu")
    for place, lit in (((2, 2), [True, False, False, False]), ((44, 44), [False] * 4)):
        image = np.random.default_rng(1).integers(90, 102, (96, 96, 3)).astype(np.uint8)
        image[place[0] : place[0] + 5, place[1] : place[1] + 5] = (250, 30, 200)
        result = model(image)
        np.testing.assert_array_equal(corners_of(result, "24x24").any(axis=0), lit)
        assert result.strongest is not None
        y, x = divmod(int(result.map.argmax()), 96)
        assert max(abs(y - place[0] - 2), abs(x - place[1] - 2)) <= 5
        together: dict[str, Any] = {}
        for channel in result.strongest(x, y, 100_000):
            together[channel.layer] = together.get(channel.layer, 0) + channel.map
        for name, layer in result.layers.items():
            np.testing.assert_allclose(together[name], layer, rtol=1e-4, atol=1e-5)


def test_any_network_with_taps_gives_features(tmp_path: Path) -> None:
    torch.manual_seed(4)
    path = tmp_path / "resnet18.pth"
    torch.save(nets.build("resnet18").state_dict(), path)
    layers = ["layer1.0", "layer2.0", "layer2.1", "layer3.1"]
    model = saliency.build(
        "deeprare2021", backbone="resnet18", layers=layers, weights=path, size=SIZE, device="cpu"
    )
    result = model(picture(60, 90))
    assert list(result.levels) == ["24x40", "12x20", "6x10"]
    assert [result.layer_levels[name] for name in layers] == ["24x40", "12x20", "12x20", "6x10"]
    assert result.map.shape == (60, 90) and result.map.max() > 0.9


def test_a_network_that_takes_no_input_shape_gives_features(tmp_path: Path) -> None:
    path = tmp_path / "osnet.pth"
    torch.manual_seed(4)
    torch.save(nets.build("osnet_x0_25").state_dict(), path)
    model = saliency.build(
        "deeprare", backbone="osnet_x0_25", layers=["conv2.0"], weights=path, size=SIZE, device="cpu"
    )
    assert list(model(picture(60, 90)).levels) == ["24x40"]


def test_weights_of_a_networks_own_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def build(name: str, weights: Any, **options: Any) -> nn.Module:
        asked.append((name, weights))
        return nets.build(name, **options)

    monkeypatch.setattr("sparsight.saliency.deeprare.build_network", build)
    saliency.build("deeprare", backbone="resnet18", layers=["layer2.0"], size=96, device="cpu")
    saliency.build("deeprare", size=96, device="cpu")
    assert asked == [("resnet18", "resnet18"), ("mobilenet_v2", "mobilenet_v2")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet18"}, "knows no layers of resnet18: give layers="),
        ({"backbone": "vgg16_bn", "layers": ["features.2"]}, "vgg16_bn has no weights here, and random ones"),
        ({"backbone": "darknet", "layers": ["0"], "weights": "x"}, "cannot use darknet, which needs a cfg"),
        ({"backbone": "resnet81", "layers": ["x"]}, "did you mean 'resnet18'"),
        ({"size": "a"}, "cannot have size='a'"),
        ({"size": (200, 200, 3)}, r"\(200, 200, 3\) is no saliency size: give a side in pixels"),
        ({"size": (200, 200.5)}, "is no saliency size"),
        ({"size": 224.5}, "cannot have size=224.5"),
        ({"bins": "x"}, "cannot have bins='x': give a whole number"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SparsightError, match=message):
        saliency.build("deeprare", device="cpu", **options)


def test_a_layer_without_maps_is_refused(weights: Path) -> None:
    model = saliency.build("deeprare", weights=weights, layers=["classifier"], size=96, device="cpu")
    with pytest.raises(SparsightError, match="layer classifier gives no maps over the picture"):
        model(picture(60, 90))
