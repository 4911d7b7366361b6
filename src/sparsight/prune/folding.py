"""Batch norms into the convolutions before them: fewer layers, the same numbers.

In evaluation mode a batch norm is a scale and a shift per channel (Ioffe and Szegedy, arXiv 1502.03167,
Algorithm 2): y = s (x - mean) + beta with s = gamma / sqrt(variance + eps). After a layer x = W * z + b, that
is the layer y = (s W) * z + s (b - mean) + beta. It holds only where nothing else sees x, so what follows
what is learnt from a run, not from the order of names.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsight.errors import SparsightError
from sparsight.prune.profiling import does_not_run, sample_inputs
from sparsight.prune.shrinking.surgery import sharing_copy

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)

TOLERANCE = 1e-5
"""Largest change of an output that is put down to rounding, relative to the largest output."""


@dataclass(frozen=True)
class FoldResult:
    """A network without the batch norms that could be folded.

    Attributes:
        model: the new network, in evaluation mode.
        folded: batch norm → the layer it went into; in its place is now an ``nn.Identity``.
        kept: batch norm that is still there → why.
    """

    model: nn.Module
    folded: dict[str, str]
    kept: dict[str, str]


def fold_batchnorm(
    model: nn.Module, example_inputs: Tensor | Sequence[Tensor] | tuple[int, int, int] | None = None
) -> FoldResult:
    """Fold batch norms into the convolution or linear layer right before them, wherever that is exact.

    Args:
        model: the network; the same after as before. The way that data takes through it must not depend on
            the data.
        example_inputs: as for ``profile``.

    Returns:
        The new network, whose outputs are those of ``model`` in evaluation mode to ``TOLERANCE``, and what
        became of each batch norm.

    Raises:
        SparsightError: the network cannot be copied, does not run on the input, or gives other outputs once
            folded.
    """
    inputs = sample_inputs(model, example_inputs)
    new = copy.deepcopy(sharing_copy(model)).eval()
    trace = _Trace(new)
    before = trace.run(inputs)
    folded: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name, norm in list(new.named_modules()):
        if not isinstance(norm, _BatchNorm):
            continue
        reason = trace.obstacle(norm)
        if reason is not None:
            kept[name] = reason
            continue
        layer = trace.sources[norm][0]
        assert layer is not None
        _fold(layer, norm)
        _replace(new, norm, nn.Identity())
        folded[name] = trace.names[layer]
    _compare(before, _outputs(new, inputs), type(model).__name__)
    return FoldResult(new, folded, kept)


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What reads the outputs and the weights of the layers that a batch norm can be folded into.

    Attributes:
        names: module → its name.
        sources: batch norm → for each of its calls, the layer whose output it was given, or None.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.sources: dict[nn.Module, list[nn.Module | None]] = defaultdict(list)
        self._hooked = {module for module in self.names if module._forward_hooks or module._forward_pre_hooks}
        self._owners = Counter(
            id(parameter) for module in self.names for parameter in module._parameters.values()
        )
        self._calls: Counter[nn.Module] = Counter()
        # By identity: whose tensor it is. The tensor is held, or another could take its identity.
        self._watched: dict[int, tuple[Tensor, nn.Module]] = {}
        self._norms_after: dict[nn.Module, list[nn.Module]] = defaultdict(list)
        self._misfit: set[nn.Module] = set()
        self._read_elsewhere: set[nn.Module] = set()
        self._inside = 0

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run the network once; its output tensors."""
        handles = []
        for module in self.names:
            if isinstance(module, _LAYERS):
                for parameter in module._parameters.values():
                    if parameter is not None:
                        self._watched[id(parameter)] = parameter, module
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave_layer))
            elif isinstance(module, _BatchNorm):
                handles.append(module.register_forward_pre_hook(self._enter_norm))
                handles.append(module.register_forward_hook(self._leave))
        try:
            with self:
                outputs = _outputs(self.model, inputs)
        finally:
            for handle in handles:
                handle.remove()
        self._note_reads(outputs)
        return outputs

    def obstacle(self, norm: nn.Module) -> str | None:
        """Why ``norm`` cannot be folded; None if it can."""
        assert isinstance(norm, _BatchNorm)
        sources = self.sources[norm]
        if not sources:
            return "it does not run on the example"
        layer = sources[0]
        if layer is None or any(source is not layer for source in sources):
            return "its input is not the output of one convolution or linear layer"
        name = self.names[layer]
        if norm.running_mean is None or norm.running_var is None:
            return "it has no running statistics"
        if type(norm).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward) or norm in self._hooked:
            return "it does more than normalise"
        kind = next(kind for kind in _LAYERS if isinstance(layer, kind))
        if type(layer).forward is not kind.forward or layer in self._hooked:
            return f"{name} does more than its kind of layer"
        if layer in self._misfit:
            return f"it does not normalise the channels of {name}"
        if self._norms_after[layer] != [norm] * self._calls[layer] or layer in self._read_elsewhere:
            return f"the output or the weight of {name} is used elsewhere too"
        if "weight" not in layer._parameters:
            return f"{name} computes its weight from other parameters"
        if any(self._owners[id(each)] > 1 for each in layer._parameters.values() if each is not None):
            return f"{name} shares its weight or bias with another layer"
        return None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._inside:
            self._note_reads((args, kwargs))
        return func(*args, **(kwargs or {}))

    def _note_reads(self, values: Any) -> None:
        for leaf in tree_leaves(values):
            if id(leaf) in self._watched:
                self._read_elsewhere.add(self._watched[id(leaf)][1])

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._inside -= 1

    def _leave_layer(self, module: nn.Module, args: Any, output: Any) -> None:
        # A kernel has as many sides as a batch that it gives; only then are channels the second side.
        if output.ndim != module.weight.ndim:
            self._misfit.add(module)
        self._calls[module] += 1
        self._watched[id(output)] = output, module
        self._inside -= 1

    def _enter_norm(self, module: nn.Module, args: Any) -> None:
        self._inside += 1
        layer = self._watched[id(args[0])][1] if id(args[0]) in self._watched else None
        self.sources[module].append(layer)
        if layer is not None:
            self._norms_after[layer].append(module)


def _outputs(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that a network gives."""
    try:
        with torch.no_grad():
            result = model(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise SparsightError(does_not_run(model, inputs, error)) from error
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def _fold(layer: nn.Module, norm: _BatchNorm) -> None:
    """Make ``layer`` give what ``norm`` would give after it."""
    weight = layer.get_parameter("weight")
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    bias = torch.zeros_like(mean) if layer.bias is None else layer.get_parameter("bias").detach().double()
    scale = gamma / (variance + norm.eps).sqrt()
    if isinstance(layer, _TRANSPOSED):  # (inputs, outputs / groups, ...), the inputs group by group
        per_group = scale.reshape(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, 0)
        factor = per_group.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))
    else:
        factor = scale.reshape(-1, *[1] * (weight.ndim - 1))
    with torch.no_grad():
        weight.copy_(weight.double() * factor)
    layer.bias = nn.Parameter(((bias - mean) * scale + beta).to(weight), weight.requires_grad)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``model`` has ``old``."""
    for module in model.modules():
        for name, child in module._modules.items():
            if child is old:
                module._modules[name] = new


def _compare(before: Sequence[Tensor], after: Sequence[Tensor], name: str) -> None:
    """Refuse outputs that differ by more than rounding does."""
    for old, new in zip(before, after, strict=True):
        if not old.is_floating_point():
            continue  # places of maxima, say, which rounding may move
        scale = max(1.0, float(old.abs().max())) if old.numel() else 1.0
        allowed = scale * max(TOLERANCE, 16 * torch.finfo(old.dtype).eps)
        difference = float((old - new).abs().max()) if old.numel() else 0.0
        if not difference <= allowed:
            raise SparsightError(
                f"{name} gives other outputs without its batch norms (by {difference:.3g}): it is random or "
                "gives numbers that are not finite, so leave it as it is."
            )
