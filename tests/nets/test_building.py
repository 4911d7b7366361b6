from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparsight import SparsightError, nets


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(SparsightError, match="did you mean 'resnet18'"):
        nets.build("resnet-18")


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(SparsightError, match=r"num_clases.*did you mean 'num_classes'"):
        nets.build("resnet18", num_clases=3)


def test_a_missing_option_is_named() -> None:
    with pytest.raises(SparsightError, match="cfg"):
        nets.build("darknet")


def test_weights_are_loaded_and_the_network_evaluates(tmp_path: Path) -> None:
    source = nets.build("convnet", widths=(4,))
    torch.save(source.state_dict(), tmp_path / "w.pt")
    model = nets.build("convnet", tmp_path / "w.pt", widths=(4,))
    assert not model.training
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(x), source(x))
