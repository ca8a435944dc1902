"""Runs the kernels in Triton's interpreter where there is no GPU; it must be asked for before triton is imported."""

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The interpreter's loops, and the logarithm of a masked row's sum.
IGNORED = (
    "ignore:Conversion of an array with ndim > 0:DeprecationWarning",
    "ignore:divide by zero encountered in log2:RuntimeWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for rule in IGNORED:
                item.add_marker(pytest.mark.filterwarnings(rule))
