"""The interpreter lets pass what the compiler refuses: every kernel of a choice must compile, and spill no register."""

import os
import subprocess
import sys
from pathlib import Path

COMPILE = """
import re, subprocess, sys
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from longwatch.kernels.triton_impl import topk_choice, topk_gradient, topk_lists

ASSEMBLER = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
FIXED = {
    "CHUNK": 32, "BLOCK": 64, "KV_HEADS": 8, "GROUP": 2, "PATTERN_HEADS": 8, "GROUPS": 1, "D": 64,
    "COUNT": 8, "LANES": 8, "STEPS": 1, "ROWS": 16, "ADDED": 32, "SUMS": 256,
}
TYPES = {
    **dict.fromkeys(["query", "key", "grad_query", "grad_key"], "*bf16"), "means": "*fp64", "scale": "fp32",
    **dict.fromkeys(["by_half", "sums"], "*fp32"), "scale_bits": "i64",
    **dict.fromkeys(["documents", "block_count", "tile_count", "tokens", "longest", "steps", "limit"], "i32"),
    **dict.fromkeys(["base_entries", "capacity", "per_head", "query_row", "query_head", "key_row", "key_head"], "i32"),
}
KERNELS = [
    topk_choice.lay_blocks, topk_choice.mean_blocks, topk_choice.choose_blocks, topk_lists.list_queries,
    topk_lists.count_readers, topk_lists.list_readers, topk_gradient._sum_gates, topk_gradient._add_gradient,
]
for kernel in KERNELS:
    fixed = {name: value for name, value in FIXED.items() if name in kernel.arg_names}
    types = {name: "constexpr" if name in fixed else TYPES.get(name, "*i32") for name in kernel.arg_names}
    built = compile(ASTSource(kernel, types, fixed), target=GPUTarget("cuda", 90, 32), options={"num_warps": 2})
    path = Path(sys.argv[1]) / "kernel.ptx"
    path.write_text(built.asm["ptx"])
    command = [ASSEMBLER, "-v", "-arch=sm_90a", path, "-o", path.with_suffix(".cubin")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    products = re.findall("mma.sync[^;]*f64", built.asm["ptx"])
    print(kernel.__name__, *re.findall(r"([0-9]+) bytes spill stores", report), len(products))
"""


def test_every_kernel_of_a_choice_compiles_for_hopper_without_spilling(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-c", COMPILE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = {name: (spilled, products) for name, spilled, products in map(str.split, done.stdout.splitlines())}
    assert len(report) == 8
    assert {spilled for spilled, _ in report.values()} == {"0"}
    # Gates are products of float64, and those run on the tensor cores.
    assert int(report["choose_blocks"][1]) > 0
