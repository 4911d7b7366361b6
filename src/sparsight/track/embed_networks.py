"""Embedders of whole people, each a network and what it needs to know about its weights."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.embed import HEIGHT, MEAN, STD, WIDTH, NetworkEmbedder

if TYPE_CHECKING:
    import onnx

_log = logging.getLogger("sparsight.track")

_CENTRED = 0.4
"""Greatest distance of networks whose common part is taken off; measured with OSNet x0.25 on TUD and PETS."""
_PLAIN = 0.28
"""The same where it is not."""

_OPTIONS = re.compile(r",(size|mean|std)=([^,]*)$")


def auto(device: str) -> NetworkEmbedder:
    """OSNet x0.25, or MobileNetV2 where its weights cannot be had; it says so then."""
    try:
        return osnet_x0_25(device)
    except SparsightError as error:
        _log.warning(
            "OSNet's weights cannot be had, so people are told apart by MobileNetV2's features, which see "
            "clothes less well: %s",
            error,
        )
        return mobilenet_v2(device)


def osnet_x0_25(device: str, file: str = "") -> NetworkEmbedder:
    """OSNet with a quarter of the channels, trained on MSMT17; ``file``: other weights for it."""
    from sparsight import assets
    from sparsight.nets import Session, build

    if file:
        return _person("osnet_x0_25", device, file)
    try:
        path = assets.path("osnet_x0_25_msmt17")
    except SparsightError:
        # The same weights as their authors give them out; the classifier of their training comes along.
        return _person("osnet_x0_25", device)
    if device == "cpu" or (device == "auto" and not _has_nvidia_driver()):
        session = Session(path, "cpu", input_shape=(3, HEIGHT, WIDTH))
    else:
        session = Session(build("osnet_x0_25", weights="osnet_x0_25_msmt17", num_classes=0), device)
    return NetworkEmbedder(session, named("osnet_x0_25", path), _CENTRED, onnx_centre(path))


def osnet_x1_0(device: str, file: str = "") -> NetworkEmbedder:
    """OSNet at full width, trained on MSMT17; ``file``: other weights for it."""
    return _person("osnet_x1_0", device, file)


def osnet_ain_x1_0(device: str, file: str = "") -> NetworkEmbedder:
    """OSNet-AIN, made for cameras that it was not trained on; ``file``: other weights for it."""
    return _person("osnet_ain_x1_0", device, file)


def mlfn(device: str, file: str = "") -> NetworkEmbedder:
    """MLFN, trained on MSMT17; ``file``: other weights for it."""
    return _person("mlfn", device, file)


def mobilenet_v2(device: str, file: str = "") -> NetworkEmbedder:
    """The mean features of MobileNetV2, trained on ImageNet; ``file``: other weights for it."""
    from torch import nn

    from sparsight.nets import Session, build
    from sparsight.nets.weights import find

    path = find(Path(file) if file else "mobilenet_v2")
    model: Any = build("mobilenet_v2", weights=path, num_classes=trained_classes(path, "classifier.1") or 1)
    pooled = nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    session = Session(pooled, device, input_shape=(3, HEIGHT, WIDTH))
    return NetworkEmbedder(session, named("mobilenet_v2", path), 0.125)


def onnx_network(device: str, file: str) -> NetworkEmbedder:
    """Any network in an ONNX file, from crops (N, 3, H, W) to one vector each.

    Args:
        device: as for ``sparsight.nets.Session``.
        file: its path, and any of these behind it: ``,size=HxW`` of a crop in pixels (default: the file's
            own, 256x128 where it leaves that free); ``,mean=R/G/B`` and ``,std=R/G/B``, by which colours in
            [0, 1] are normalised (default: ImageNet's), one number for all three. A network that takes 0 to
            255 as it is has ``,mean=0,std=0.00392157``.

    Raises:
        SparsightError: an option that cannot be read, or a file that is no such network.
    """
    from sparsight.nets import Session

    given: dict[str, str] = {}
    while match := _OPTIONS.search(file):
        given[match[1]], file = match[2], file[: match.start()]
    path = Path(file)
    size = _size(given["size"]) if "size" in given else None
    mean = _colours("mean", given["mean"]) if "mean" in given else MEAN
    std = _colours("std", given["std"]) if "std" in given else STD
    if not (std > 0).all():
        raise SparsightError(f"std={given['std']} cannot be divided by: give numbers greater than zero.")
    session = Session(path, device, input_shape=(3, *(size or _free_size(path))))
    centre = onnx_centre(path)
    name = named(path.stem, path)
    if size or given:
        # Other pixels give other vectors, never to be compared with these.
        told = f"{session.input_shape}{mean.tolist()}{std.tolist()}"
        name += f"-{hashlib.sha256(told.encode()).hexdigest()[:6]}"
    return NetworkEmbedder(session, name, _PLAIN if centre is None else _CENTRED, centre, mean=mean, std=std)


def named(stem: str, path: Path) -> str:
    """The name of an embedder: a stem, and which weights."""
    return f"{stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def trained_classes(path: Path, layer: str) -> int:
    """How many classes the classifier called ``layer`` in a weight file has; 0 where there is none.

    The networks here are never asked for classes, but what a file holds must fit what is built.
    """
    from sparsight.nets.weights import read_safetensors, read_torch

    if path.suffix.lower() == ".onnx":
        return 0
    read = read_safetensors if path.suffix.lower() == ".safetensors" else read_torch
    weight = read(path).get(f"{layer}.weight")
    return len(weight) if weight is not None and weight.ndim else 0


def rectified_mean(
    scale: NDArray[Any], shift: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and mean square of max(0, N(shift, scale²)): what a ReLU gives after a batch norm in training.

    A batch norm's output has, over the training set, mean ``shift`` and standard deviation |``scale``| in
    each channel. If it is normal, its rectification has mean b Φ(b/s) + s φ(b/s) and mean square
    (b² + s²) Φ(b/s) + b s φ(b/s).
    """
    from scipy.stats import norm

    b = np.asarray(shift, np.float64)
    s = np.maximum(np.abs(np.asarray(scale, np.float64)), 1e-12)
    below, density = norm.cdf(b / s), norm.pdf(b / s)
    return b * below + s * density, (b * b + s * s) * below + b * s * density


def mean_output(*norms: tuple[NDArray[Any], NDArray[Any]]) -> NDArray[np.float32]:
    """The mean over the training set of unit outputs, where an output is the mean of rectified batch norms.

    Args:
        norms: scale and shift (D,) of each; several are taken to be independent.

    Returns:
        (D,) float32: the mean output over the root of the mean square length.
    """
    moments = [rectified_mean(scale, shift) for scale, shift in norms]
    firsts, squares = (np.stack(values) for values in zip(*moments, strict=True))
    mean = firsts.mean(axis=0)
    # The variance of a mean of independent numbers is the mean variance over how many they are.
    variance = (squares - firsts**2).mean(axis=0) / len(moments)
    centre: NDArray[np.float32] = np.float32(mean / np.sqrt((mean**2 + variance).sum()))
    return centre


def onnx_centre(path: Path) -> NDArray[np.float32] | None:
    """The mean unit output over the training set, read off the file's last batch norm, without any data.

    Args:
        path: an ONNX network that ends in a batch norm and a ReLU.

    Returns:
        (D,) float32, or None where the network ends otherwise.
    """
    import onnx
    from onnx import numpy_helper

    graph: onnx.GraphProto = onnx.load(str(path)).graph
    made_by = {name: node for node in graph.node for name in node.output}
    last = made_by.get(graph.output[0].name)
    norm = made_by.get(last.input[0]) if last is not None and last.op_type == "Relu" else None
    if norm is None or norm.op_type != "BatchNormalization":
        return None
    known = {tensor.name: tensor for tensor in graph.initializer}
    if norm.input[1] not in known or norm.input[2] not in known:
        return None
    scale, shift = (numpy_helper.to_array(known[norm.input[i]]) for i in (1, 2))
    return mean_output((scale, shift))


def _person(network: str, device: str, file: str = "") -> NetworkEmbedder:
    """A network of torchreid's; the last batch norms say what its outputs have in common."""
    from sparsight.nets import Session, build
    from sparsight.nets.weights import find

    path = find(Path(file) if file else network)
    model = build(network, weights=path, num_classes=trained_classes(path, "classifier"))
    norms: list[Any] = [
        model.get_submodule(name) for name in (("fc_x.1", "fc_s.1") if network == "mlfn" else ("fc.1",))
    ]
    centre = mean_output(*((n.weight.detach().numpy(), n.bias.detach().numpy()) for n in norms))
    return NetworkEmbedder(Session(model, device), named(network, path), _CENTRED, centre)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if not match:
        raise SparsightError(f"size={text} is no size of a crop: write HEIGHTxWIDTH, such as size=256x128.")
    return int(match[1]), int(match[2])


def _colours(option: str, text: str) -> NDArray[np.float32]:
    try:
        values = np.array([float(part) for part in text.split("/")], np.float32)
    except ValueError:
        values = np.zeros(0, np.float32)
    if len(values) not in (1, 3) or not np.isfinite(values).all():
        raise SparsightError(
            f"{option}={text} is not three numbers: write red, green and blue, such as {option}=0.5/0.5/0.5."
        )
    return np.broadcast_to(values, 3)


def _free_size(path: Path) -> tuple[int, int]:
    """Height and width that a file asks for; 256 and 128 where it leaves them free."""
    import onnx

    try:
        dims = onnx.load(str(path), load_external_data=False).graph.input[0].type.tensor_type.shape.dim
        height, width = (int(dim.dim_value) for dim in dims[2:4])
    # Whatever is wrong with the file, the session says it better.
    except Exception:
        return HEIGHT, WIDTH
    return height if height > 0 else HEIGHT, width if width > 0 else WIDTH


def _has_nvidia_driver() -> bool:
    """Whether asking PyTorch for a GPU can be worth the seconds that importing it takes."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
