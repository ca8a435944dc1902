"""The Hopper kernels cannot run in the interpreter: here they must compile, without a wait after each product."""

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

BUILD = Path(__file__).parent / "build.py"


@pytest.mark.parametrize(
    ("kernel", "width"),
    [("forward", 128), *product(["forward", "query_gradient", "key_gradients"], [32, 64])],
)
def test_a_kernel_fits_the_registers_and_keeps_its_products_asynchronous(
    kernel: str, width: int, tmp_path: Path
) -> None:
    report = assembled(kernel, width, tmp_path)
    assert "wgmma.mma_async instructions are serialized" not in report
    assert "0 bytes spill stores" in report


@pytest.mark.parametrize("width", [64, 128])
def test_the_int8_forward_spills_only_what_its_inner_loop_has_no_use_for(width: int, tmp_path: Path) -> None:
    report = assembled("quantised", width, tmp_path)
    assert "wgmma.mma_async instructions are serialized" not in report
    assert max(int(size) for size in re.findall(r"(\d+) bytes spill stores", report)) <= 160


def assembled(kernel: str, width: int, tmp_path: Path) -> str:
    """What the assembler says of a kernel."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(BUILD), kernel, str(width), str(tmp_path / "kernel.ptx")]
    report = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert report.returncode == 0, report.stderr[-3000:]
    return report.stdout
