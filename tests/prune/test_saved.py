from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparsight import SparsightError
from sparsight.prune import Sparsifier, saved, shrink
from sparsight.prune.saved import Recipe

RECIPES = {
    "convnet": Recipe("convnet(widths=(8, 16))", (1, 12, 12), ("a", "b", "c"), (0.5,), (0.2,), "grey"),
    "mobilenet_v2": Recipe("mobilenet_v2", (3, 16, 16), ("a", "b"), (0.5,) * 3, (0.2,) * 3, "RGB"),
    "resnet18": Recipe("resnet18", (3, 8, 8), ("a", "b"), (0.5,) * 3, (0.2,) * 3, "RGB"),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def small(recipe: Recipe) -> nn.Module:
    """What a run leaves of the network: filters gone, constants folded in."""
    model = recipe.build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
    with Sparsifier(model, 0.5, granularity="filter") as sparsifier:
        sparsifier.mask()
        sparsifier.remove()
    return shrink(model, torch.zeros(1, *recipe.input_shape)).model


@pytest.mark.parametrize("name", RECIPES)
def test_a_shrunk_network_comes_back(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name]
    model = small(recipe)
    saved.save(tmp_path / "model.pt", model, recipe)
    again, known = saved.load(tmp_path / "model.pt")
    assert known == recipe
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in recipe.build().parameters())
    images = torch.randn(3, *recipe.input_shape)
    with torch.inference_mode():
        assert torch.equal(again(images), model.eval()(images))
    shrunk_again = shrink(again, images[:1])
    saved.save(tmp_path / "again.pt", shrunk_again.model, known)


def test_a_network_that_does_more_is_not_saved(tmp_path: Path) -> None:
    recipe = RECIPES["convnet"]
    model = recipe.build()
    model.register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(SparsightError, match="cannot hold this network"):
        saved.save(tmp_path / "model.pt", model, recipe)
    assert not (tmp_path / "model.pt").exists()


def written(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "model.pt"
    saved.save(path, small(RECIPES["convnet"]), RECIPES["convnet"])
    return path, torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="other"), "not written by"),
        (lambda c: c["recipe"].update(network="nothing"), "no network called 'nothing'"),
        (lambda c: c["recipe"].update(network="__import__('os').system('true')"), "is not a name"),
        (lambda c: c["recipe"].update(input_shape=[1, 12]), "not a saved model"),
        (lambda c: c["recipe"].pop("mean"), "lacks 'mean'"),
        (lambda c: c["layout"]["shapes"].update({"classifier.weight": [1 << 20, 1 << 20]}), "cannot be"),
        (lambda c: c["layout"]["shapes"].update({"classifier.weight": [-1, 4]}), "cannot be"),
        (lambda c: c["layout"]["shapes"].update({"other.weight": [1]}), "other.weight"),
        (lambda c: c["state"].pop("classifier.weight"), "lacks classifier.weight"),
        (lambda c: c["state"].update({"classifier.weight": torch.zeros(3, 99)}), "does not fit"),
        (lambda c: c.pop("state"), "not a saved model"),
    ],
)
def test_damaged_files(tmp_path: Path, change: Any, message: str) -> None:
    path, content = written(tmp_path)
    change(content)
    torch.save(content, path)
    with pytest.raises(SparsightError, match=message):
        saved.load(path)


@pytest.mark.parametrize("data", [b"", b"nonsense", pickle.dumps({"format": "sparsight model 1"}, 2)[:-3]])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(SparsightError, match="not a saved model"):
        saved.load(tmp_path / "model.pt")


def test_a_file_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "evil").touch, ())

    torch.save({"format": "sparsight model 1", "x": Evil()}, tmp_path / "model.pt")
    with pytest.raises(SparsightError, match="not a saved model"):
        saved.load(tmp_path / "model.pt")
    assert not (tmp_path / "evil").exists()


def test_weights_that_know_other_classes_fill_all_but_the_head(tmp_path: Path) -> None:
    recipe = RECIPES["convnet"]
    donor = Recipe(
        **{**vars(recipe), "classes": tuple("abcdefghij")}
    ).build()  # ten, as the network has itself
    torch.save(donor.state_dict(), tmp_path / "donor.pth")
    model = recipe.build()
    head = model.classifier.weight.clone()  # type: ignore[union-attr,operator]
    saved.fill_but_head(model, recipe, str(tmp_path / "donor.pth"))
    own, theirs = model.state_dict(), donor.state_dict()
    assert torch.equal(own["classifier.weight"], head)
    assert all(torch.equal(own[key], theirs[key]) for key in own if not key.startswith("classifier"))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    recipe = RECIPES["convnet"]
    other = Recipe(**{**vars(recipe), "network": "convnet(widths=(8, 17))"}).build()
    torch.save(other.state_dict(), tmp_path / "donor.pth")
    with pytest.raises(SparsightError, match="does not fit"):
        saved.fill_but_head(recipe.build(), recipe, str(tmp_path / "donor.pth"))
