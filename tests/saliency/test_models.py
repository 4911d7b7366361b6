from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from sparsight import SparsightError, saliency
from sparsight.registry import resolve


def test_every_name_leads_to_a_constructor_with_options() -> None:
    for target in saliency.MODELS.values():
        assert "device" in inspect.signature(resolve(target)).parameters


def test_an_unknown_model_is_told_the_nearest() -> None:
    with pytest.raises(SparsightError, match="did you mean 'deeprare'"):
        saliency.build("deprare")


def test_an_unknown_option_is_told_the_nearest() -> None:
    with pytest.raises(SparsightError, match="did you mean 'bins'"):
        saliency.build("deeprare", bin=3)


def test_the_room_opens_without_its_furniture() -> None:
    code = (
        "import sys, sparsight.saliency; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'cv2', 'onnxruntime', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
