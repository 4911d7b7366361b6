from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError, media, saliency
from sparsight.saliency.blending import METHODS, Fused, fuse
from sparsight.saliency.models import predict
from sparsight.saliency.result import Map, SaliencyResult

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def scaled(values: Map) -> Map:
    return (values - values.min()) / (values.max() - values.min())


def noise(seed: int) -> Map:
    return np.random.default_rng(seed).random((6, 8), np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_by_its_formula(method: str) -> None:
    a, b = scaled(noise(0)), scaled(noise(1) ** 3)
    expected = {
        "sum": a + b,
        "product": a * b,
        "max": np.maximum(a, b),
        "itti": a * (1 - a.mean()) ** 2 + b * (1 - b.mean()) ** 2,
    }[method]
    np.testing.assert_allclose(fuse(a, b, method), scaled(expected), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 50), shift=st.floats(-9, 9))
@pytest.mark.parametrize("method", METHODS)
def test_units_and_order_do_not_matter(method: str, seed: int, scale: float, shift: float) -> None:
    a, b = noise(seed), noise(seed + 1)
    fused = fuse(a, b, method)
    assert fused.dtype == np.float32
    assert (fused.min(), fused.max()) == (0, 1)
    np.testing.assert_allclose(fuse(b, a, method), fused, atol=1e-6)
    np.testing.assert_allclose(fuse((a * scale + shift).astype(np.float32), b, method), fused, atol=2e-3)


def test_a_map_without_anything_adds_nothing() -> None:
    a, nothing = scaled(noise(0)), np.zeros((6, 8), np.float32)
    for method in ("sum", "max", "itti"):
        np.testing.assert_allclose(fuse(a, nothing, method), a, atol=1e-6)
        assert not fuse(nothing, nothing, method).any()
    assert not fuse(a, nothing, "product").any()


def test_maps_that_cannot_be_fused_are_refused() -> None:
    with pytest.raises(SparsightError, match=r"\(6, 8\) and \(3, 8\)"):
        fuse(noise(0), noise(0)[:3])
    with pytest.raises(SparsightError, match="NaN"):
        fuse(noise(0), np.full((6, 8), np.nan, np.float32))
    for odd in ([[1.0, 2.0]], None, "map", np.array([["a"]]), noise(0) + 1j, np.zeros((0, 3), np.float32)):
        for pair in ((odd, noise(0)), (noise(0), odd), (odd, odd)):
            with pytest.raises(SparsightError, match=r"cannot (be )?fuse"):
                fuse(*pair)  # type: ignore[arg-type]
    with pytest.raises(SparsightError, match="did you mean 'product'"):
        fuse(noise(0), noise(1), "produkt")


def test_a_fused_model_is_its_two_models_fused() -> None:
    random, centre = saliency.build("random"), saliency.build("center_bias", sigma=0.1)
    model = saliency.build("fused:random+center_bias", method="product", top_down={"sigma": 0.1})
    result = model(IMAGE)
    np.testing.assert_array_equal(result.map, fuse(random(IMAGE).map, centre(IMAGE).map, "product"))
    np.testing.assert_array_equal(result.levels["bottom_up"], random(IMAGE).map)
    np.testing.assert_array_equal(result.levels["top_down"], centre(IMAGE).map)


def test_names_reach_the_parts_of_a_fused_model(tmp_path: Path) -> None:
    media.write_image(tmp_path / "one.png", IMAGE[..., 0])
    model = saliency.build(f"fused:uniform+maps:{tmp_path}")
    stored = predict(saliency.build(f"maps:{tmp_path}"), IMAGE, "one.jpg").map
    np.testing.assert_allclose(predict(model, IMAGE, "one.jpg").map, scaled(stored), atol=1e-6)
    with pytest.raises(SparsightError, match="no map for the image two"):
        predict(model, IMAGE, "two.jpg")


def test_a_part_may_have_options_in_its_name() -> None:
    model = saliency.build("fused:center_bias(sigma=0.1)+center_bias(sigma=0.4)")
    assert [vars(part)["sigma"] for part in (model.bottom_up, model.top_down)] == [0.1, 0.4]


def test_options_behind_the_two_are_the_pairs_or_the_seconds(tmp_path: Path) -> None:
    model = saliency.build("fused:uniform+center_bias(method=max)")
    assert isinstance(model, Fused) and model.method == "max"
    model = saliency.build("fused:uniform+center_bias(method=max, sigma=0.1)")
    assert (model.method, vars(model.top_down)["sigma"]) == ("max", 0.1)  # type: ignore[attr-defined]
    model = saliency.build("fused:center_bias(sigma=0.3)+center_bias(method=product)")
    assert vars(model.bottom_up)["sigma"] == 0.3  # type: ignore[attr-defined]
    np.save(tmp_path / "one.npy", np.ones((4, 5)))
    model = saliency.build(f"fused:uniform+maps:{tmp_path}(method=itti, resize=True)")
    assert model.method == "itti" and model.top_down.resize  # type: ignore[attr-defined]
    assert not saliency.build(f"fused:uniform+maps:{tmp_path}(method=itti)").top_down.resize  # type: ignore[attr-defined]
    with pytest.raises(SparsightError, match="no way to fuse maps called 'mix'"):
        saliency.build("fused:uniform+center_bias(method=mix)")
    with pytest.raises(SparsightError, match="called 'sgima': did you mean 'sigma'"):
        saliency.build("fused:uniform+center_bias(sgima=1)")


def test_a_plus_sign_in_a_path_parts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a+b"
    folder.mkdir()
    media.write_image(folder / "one.png", IMAGE[..., 0])
    for name in (f"fused:maps:{folder}+uniform", f"fused:uniform+maps:{folder}"):
        model = saliency.build(name)
        assert isinstance(model, Fused)
        assert predict(model, IMAGE, "one.png").map.max() == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fused:itti", "does not name two models"),
        ("fused:itti+gbvs+uniform", "does not name two models"),
        ("fused:fused:itti+gbvs", "fused itself"),
        ("fused:itti+gvbs", "no saliency model called 'gvbs': did you mean 'gbvs'"),
        ("fused:maps:nowhere+itti", "no folder nowhere"),
    ],
)
def test_names_that_cannot_be_fused_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(SparsightError, match=sentence):
        saliency.build(name)


def test_options_of_a_part_are_checked_like_its_own() -> None:
    with pytest.raises(SparsightError, match="option of the saliency model 'itti'"):
        saliency.build("fused:itti+gbvs", bottom_up={"device": "cpu"})
    with pytest.raises(SparsightError, match="way to fuse maps"):
        saliency.build("fused:itti+gbvs", method="mean")


def test_any_two_callables_can_be_fused() -> None:
    def constant(value: float, image: np.ndarray) -> SaliencyResult:
        values = np.zeros(image.shape[:2], np.float32)
        values[:, : int(value)] = 1
        return SaliencyResult(values)

    model = Fused(functools.partial(constant, 10), functools.partial(constant, 20), "sum")
    assert np.unique(model(IMAGE).map).tolist() == [0, 0.5, 1]
