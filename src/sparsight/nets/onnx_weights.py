"""Weights out of an ONNX file, also one whose exporter folded the batch norms into the convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.export import evaluating

if TYPE_CHECKING:
    import onnx

MAX_BYTES = (2 << 30) - 1
"""What protocol buffers can hold."""


def read_onnx(path: Path, model: nn.Module) -> dict[str, Tensor]:
    """The parameters of ``model`` that the ONNX file holds.

    Initialisers that carry a parameter's or buffer's name are taken as they are. PyTorch's exporter folds
    the batch norm that follows a convolution into it and gives the folded weights made-up names. These are
    put back by the order in which convolutions run, which is the file's order: the folded weight becomes
    the convolution's, the folded bias becomes the batch norm's, and the batch norm's other numbers are set
    so that it only adds its bias. Outputs are then the file's; each channel's own scale is lost.

    Args:
        path: an ``.onnx`` file with its weights inside.
        model: the network to fill, of the architecture that was exported; it is run once on zeros if the
            file has folded convolutions.

    Raises:
        SparsightError: not an ONNX file, weights kept in other files, or convolutions that are not the
            network's.
    """
    graph = _graph(path)
    initialisers = {tensor.name: tensor for tensor in graph.initializer}
    own = model.state_dict()
    state = {name: _tensor(path, initialisers[name]) for name in own if name in initialisers}
    convolutions = [list(node.input) for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    if all(inputs[1] in own for inputs in convolutions if len(inputs) > 1):
        return state
    pairs = _convolutions(model)
    if len(pairs) != len(convolutions):
        raise SparsightError(
            f"{path} has {len(convolutions)} convolutions and {type(model).__name__} runs {len(pairs)}: "
            "it was exported from another network."
        )
    for inputs, (convolution, norm) in zip(convolutions, pairs, strict=True):
        weight = inputs[1] if len(inputs) > 1 else ""
        if weight in own:
            if weight != f"{convolution}.weight":
                raise SparsightError(
                    f"{path} runs {weight} where {type(model).__name__} runs {convolution}.weight: "
                    "it was exported from another network."
                )
            continue
        if weight not in initialisers:
            raise SparsightError(f"{path} does not hold the weights of {convolution}: export it again.")
        state[f"{convolution}.weight"] = _tensor(path, initialisers[weight])
        bias = inputs[2] if len(inputs) > 2 else ""
        if bias not in initialisers:
            continue
        if norm is None:
            state[f"{convolution}.bias"] = _tensor(path, initialisers[bias])
            continue
        shift = _tensor(path, initialisers[bias])
        layer = model.get_submodule(norm)
        assert isinstance(layer, nn.BatchNorm2d)
        state[f"{norm}.weight"] = torch.ones_like(shift)
        state[f"{norm}.bias"] = shift
        state[f"{norm}.running_mean"] = torch.zeros_like(shift)
        state[f"{norm}.running_var"] = torch.full_like(shift, 1 - layer.eps)
        if f"{convolution}.bias" in own:
            state[f"{convolution}.bias"] = torch.zeros_like(shift)
    return state


def _graph(path: Path) -> onnx.GraphProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if path.stat().st_size > MAX_BYTES:
        raise SparsightError(f"{path} is larger than an ONNX file can be: give another.")
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (DecodeError, ValueError, UnicodeDecodeError) as error:
        raise SparsightError(f"{path} is not an ONNX file: download or export it again.") from error


def _tensor(path: Path, proto: onnx.TensorProto) -> Tensor:
    from onnx import TensorProto, numpy_helper

    if proto.data_location == TensorProto.EXTERNAL:
        raise SparsightError(f"{path} keeps {proto.name} in another file: put them inside.")
    try:
        return torch.from_numpy(numpy_helper.to_array(proto).copy())
    except (ValueError, TypeError, KeyError, MemoryError) as error:
        raise SparsightError(f"{path} is damaged at {proto.name}: download or export it again.") from error


def _convolutions(model: nn.Module) -> list[tuple[str, str | None]]:
    """Names of the convolutions in the order they run, each with that of the batch norm fed by it alone."""
    order: list[str] = []
    norms: dict[str, str] = {}
    made_by: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no two tensors share an id

    def ran(name: str, module: nn.Module, output: Tensor) -> None:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            order.append(name)
            made_by[id(output)] = name
            kept.append(output)

    def runs(name: str, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made_by:
            norms[made_by[id(inputs[0])]] = name

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(lambda _, inputs, name=name: runs(name, inputs)))
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            handles.append(
                module.register_forward_hook(lambda module, _, output, name=name: ran(name, module, output))
            )
    shape = getattr(model, "input_shape", None)
    if shape is None:
        raise SparsightError(f"{type(model).__name__} does not say its input_shape: set it on the network.")
    try:
        parameter = next(model.parameters())
        with torch.no_grad(), evaluating(model):
            model(torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return [(name, norms.get(name)) for name in order]
