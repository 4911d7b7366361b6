"""``model.pt``: a network that was made smaller, as tensors and plain values, and how to build it again.

The file says which network it came from and how wide each of its layers is now; it holds no code, and reading
it executes none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsight import nets
from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.nets.weights import MAX_BYTES, fill, load_into
from sparsight.prune.layer import prunable_layers
from sparsight.prune.shrinking import apply_layout, layout
from sparsight.spelling import spelled

_FORMAT = "sparsight model 1"

_MAX_SIZE = 1 << 30
"""Most numbers in one tensor."""


@dataclass(frozen=True)
class Recipe:
    """What is to be known of a trained network beside its weights.

    Attributes:
        network: its name in ``nets.NETWORKS``, with options.
        input_shape: channels, height, width.
        classes: names, in the order of the outputs.
        mean: of each channel in 0..1, subtracted from the input.
        std: of each channel in 0..1, by which it is divided.
        colours: ``"RGB"`` or ``"grey"``.
    """

    network: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colours: str

    def build(self) -> nn.Module:
        """The network as it was before anything was removed, with random weights.

        Raises:
            SparsightError: no such network or option.
        """
        name, values, options = spelled(self.network)
        if values:
            raise SparsightError(f"{self.network!r} must name its options, as in 'convnet(widths=(16, 32))'.")
        return nets.build(name, num_classes=len(self.classes), input_shape=self.input_shape, **options)


def fill_but_head(model: nn.Module, recipe: Recipe, weights: str) -> None:
    """Fill ``model``, which ``recipe`` builds, with ``weights``, even if they know other classes.

    Where only the last layer does not fit, it stays as it is, and all others are filled.

    Raises:
        SparsightError: they do not fit.
    """
    try:
        load_into(model, weights)
        return
    except SparsightError as error:
        reason = error
    name, _, options = spelled(recipe.network)
    try:
        donor = nets.build(name, weights, input_shape=recipe.input_shape, **options).state_dict()
    except SparsightError:
        raise reason from None
    head = f"{[*prunable_layers(model)][-1]}."
    own = model.state_dict()
    if any(own[key].shape != donor[key].shape and not key.startswith(head) for key in own):
        raise reason
    own.update({key: value for key, value in donor.items() if not key.startswith(head)})
    model.load_state_dict(own)


def save(path: Path, model: nn.Module, recipe: Recipe) -> None:
    """Write ``model``, which came from ``recipe`` by removing channels, at once or not at all.

    Raises:
        SparsightError: the network is not what the recipe builds with other widths.
    """
    content = {
        "format": _FORMAT,
        "recipe": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(recipe).items()},
        "layout": layout(model),
        "state": model.state_dict(),
    }
    again = _rebuild(content, recipe, str(path))
    sample = torch.rand(2, *recipe.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not torch.allclose(again(sample), model.eval()(sample), rtol=1e-4, atol=1e-5):
            raise SparsightError(
                f"{path} cannot hold this network, as it does more than {recipe.network} of other widths."
            )
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load(path: Path) -> tuple[nn.Module, Recipe]:
    """Build the network in ``path``, in evaluation mode, and say what it is.

    Raises:
        SparsightError: no such file, or one that is damaged or holds something else.
    """
    if not path.is_file():
        raise SparsightError(f"there is no file {path}: give the model.pt of a run.")
    if path.stat().st_size > MAX_BYTES:
        raise SparsightError(f"{path} is larger than {MAX_BYTES >> 30} GiB: that is no model.pt.")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    # Whatever a damaged or hostile file makes the unpickler do, it is the file's fault.
    except Exception as error:
        raise _broken(path, "it is corrupt or holds more than tensors") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _broken(path, "it was not written by sparsight prune run")
    try:
        recipe = _recipe(content["recipe"])
        model = _rebuild(content, recipe, str(path))
        with torch.inference_mode():
            model(torch.zeros(1, *recipe.input_shape))
    except SparsightError:
        raise
    except KeyError as error:
        raise _broken(path, f"it lacks {error}") from error
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise _broken(path, str(error).split("\n", 1)[0]) from error
    return model, recipe


def _recipe(values: Mapping[str, Any]) -> Recipe:
    channels, height, width = (int(side) for side in values["input_shape"])
    return Recipe(
        network=str(values["network"]),
        input_shape=(channels, height, width),
        classes=tuple(str(name) for name in values["classes"]),
        mean=tuple(float(value) for value in values["mean"]),
        std=tuple(float(value) for value in values["std"]),
        colours=str(values["colours"]),
    )


def _rebuild(content: Mapping[str, Any], recipe: Recipe, source: str) -> nn.Module:
    shapes: Mapping[str, Any] = content["layout"]["shapes"]
    if any(min(shape, default=0) < 0 or math.prod(shape) > _MAX_SIZE for shape in shapes.values()):
        raise ValueError("its layout has sizes that cannot be")
    model = apply_layout(recipe.build(), content["layout"])
    fill(model, content["state"], source)
    return model.eval()


def _broken(path: Path, why: str) -> SparsightError:
    return SparsightError(f"{path} is not a saved model that can be read ({why.rstrip('.')}).")
