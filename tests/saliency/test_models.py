from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsight import SparsightError, media, saliency
from sparsight.registry import resolve
from sparsight.saliency.models import SCHEMES, accepts, predict

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def test_every_name_leads_to_a_constructor_whose_options_have_defaults() -> None:
    for target in saliency.MODELS.values():
        for parameter in inspect.signature(resolve(target)).parameters.values():
            assert parameter.default is not parameter.empty
    for target in SCHEMES.values():
        first, *options = inspect.signature(resolve(target)).parameters.values()
        assert first.default is first.empty
        assert all(option.default is not option.empty for option in options)


def test_an_unknown_model_is_told_the_nearest() -> None:
    with pytest.raises(SparsightError, match="did you mean 'deeprare'"):
        saliency.build("deprare")
    with pytest.raises(SparsightError, match=r"did you mean 'onnx:\.\.\.'"):
        saliency.build("onx:net.onnx")
    with pytest.raises(SparsightError, match=r"'maps': did you mean 'maps:\.\.\.'"):
        saliency.build("maps")


def test_an_unknown_option_is_told_the_nearest() -> None:
    with pytest.raises(SparsightError, match="did you mean 'bins'"):
        saliency.build("deeprare", bin=3)
    with pytest.raises(SparsightError, match="did you mean 'method'"):
        saliency.build("fused:itti+gbvs", methd="sum")


def test_options_may_stand_in_the_name() -> None:
    plain = saliency.build("center_bias(sigma=0.1)")
    assert vars(plain) == vars(saliency.build("center_bias", sigma=0.1))
    assert vars(saliency.build("center_bias(sigma=0.1)", sigma=0.3)) == vars(
        saliency.build("center_bias", sigma=0.3)
    )
    assert accepts("center_bias(sigma=0.1)", "sigma") and not accepts("center_bias()", "device")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("center_bias(0.1)", "options without names"),
        ("center_bias(size=1)", "no option of the saliency model 'center_bias' called 'size'"),
        ("center_bias(sigma=open('x'))", "is not a name"),
        ("center_bais(sigma=1)", "did you mean 'center_bias'"),
    ],
)
def test_bad_options_in_the_name(name: str, said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        saliency.build(name)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("deeprare(size=abc)", {}, "cannot have size='abc': give a whole number or numbers in brackets"),
        ("deeprare2021", {"size": "a"}, "cannot have size='a': give a whole number"),
        ("deeprare2019", {"bins": "x"}, "cannot have bins='x': give a whole number"),
        ("deeprare2021", {"bins": None}, "cannot have bins=None: give a whole number"),
        ("center_bias", {"sigma": "wide"}, "cannot have sigma='wide': give a number"),
        ("signature", {"colour": 3}, "cannot have colour=3: give a word"),
        ("maps:.", {"resize": "no"}, "cannot have resize='no': give True or False"),
        (None, {}, "goes by its name, not NoneType"),
        (3, {}, "goes by its name, not int"),
        ("deeprare(size", {}, "is not a name, alone or with parameters"),
        ("deeprare(size={[]: 1})", {}, "is not a name, alone or with parameters"),
    ],
)
def test_values_of_the_wrong_type_are_refused_in_one_sentence(
    name: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SparsightError, match=re.escape(said)) as caught:
        saliency.build(name, **options)
    assert "agp" not in str(caught.value) and "\n" not in str(caught.value)


def test_words_need_no_quotes() -> None:
    plain = vars(saliency.build("signature(colour=rgb)"))
    assert plain == vars(saliency.build("signature", colour="rgb"))
    saliency.build("center_bias", sigma=np.float32(0.2))
    saliency.build("center_bias", sigma=1)


def test_any_prediction_can_be_explained() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 10:20] = 255
    result = predict(saliency.build("spectral_residual"), image, "a.png")
    assert result.image is image
    assert saliency.explain(result).shape[1] == 1280


def test_models_say_which_options_they_have() -> None:
    assert accepts("deeprare", "device")
    assert not accepts("itti", "device")
    assert accepts("fused:itti+gbvs", "device")
    assert not accepts("maps:somewhere", "folder")
    with pytest.raises(SparsightError, match="no saliency model"):
        accepts("nothing", "device")


def test_a_model_that_must_know_the_name_is_told(tmp_path: Path) -> None:
    media.write_image(tmp_path / "one.png", IMAGE[..., 0])
    model = saliency.build(f"maps:{tmp_path}")
    assert predict(model, IMAGE, "one.jpg").map.shape == (48, 64)
    centre = saliency.build("center_bias")
    np.testing.assert_array_equal(predict(centre, IMAGE, "any").map, centre(IMAGE).map)


def test_the_room_opens_without_its_furniture() -> None:
    code = (
        "import sys, sparsight.saliency; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'cv2', 'onnxruntime', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_functions_are_to_be_had_from_the_room_itself() -> None:
    """No module of the same name hides them, whatever was imported before."""
    command = (
        "import pkgutil, sparsight.saliency as room; "
        "modules = {module.name for module in pkgutil.iter_modules(room.__path__)}; "
        "assert not modules & set(room.__all__), modules; "
        "import sparsight.saliency.blending, sparsight.saliency.sheet; "
        "assert all(callable(getattr(room, name)) for name in ('build', 'predict', 'fuse', 'explain'))"
    )
    subprocess.run([sys.executable, "-c", command], check=True)


def test_priors_do_not_look_at_the_picture() -> None:
    centre = saliency.build("center_bias")(IMAGE).map
    assert centre.max() == 1
    np.testing.assert_allclose(centre, centre[::-1, ::-1], atol=1e-6)
    # One deviation from the middle, a quarter of the width away.
    wide = saliency.build("center_bias")(np.zeros((101, 401, 3), np.uint8)).map
    assert wide[50, 200] == 1
    assert wide[50, 300] == pytest.approx(np.exp(-0.5 * (100 / 401 / 0.25) ** 2), rel=1e-4)
    assert (saliency.build("uniform")(IMAGE).map == 1).all()


def test_noise_is_the_same_for_the_same_image_and_seed_only() -> None:
    model = saliency.build("random")
    np.testing.assert_array_equal(model(IMAGE).map, saliency.build("random")(IMAGE).map)
    other = IMAGE.copy()
    other[0, 0] ^= 1
    for different in (model(other).map, saliency.build("random", seed=1)(IMAGE).map):
        assert abs(np.corrcoef(model(IMAGE).map.ravel(), different.ravel())[0, 1]) < 0.1
