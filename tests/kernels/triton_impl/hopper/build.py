"""Compiles one Hopper kernel without a GPU and prints what the assembler says of it: kernel, D, PTX path."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource

KERNELS = {
    "forward": "_forward",
    "quantised": "_forward",
    "query_gradient": "_gradient",
    "key_gradients": "_gradients",
}
FLOATS = ("lse", "sink", "numbers", "parts", "grad_lse", "table")
INTEGERS = ("tiles", "rows", "entries", "bands", "items")
RESULTS = ("out", "grad_out_ptr", "grad_query", "grad_key", "grad_value")
FLAGS = {"HAS_SINK": True, "HAS_COLUMNS": False, "HAS_GRAD_LSE": True, "SPLIT": False, "LIMIT": 50.0}


def main(kernel: str, width: int, ptx: Path) -> None:
    """Compiles and assembles; raises where either fails."""
    module = import_module(f"longwatch.kernels.triton_impl.hopper.{kernel}")
    launch = module.launch_of(width)
    function = getattr(module, KERNELS[kernel])
    constants = {"HEADS": 8, "KV_HEADS": 8, "GROUP": 1, "PATTERN_HEADS": 8, "D": width, **FLAGS}
    constants |= {"STAGES": launch.stages, "WORKER_REGS": launch.worker_registers, "COPY_REGS": launch.copy_registers}
    signature = {name: kind(name, constants, width) for name in function.arg_names}
    fixed = {(place,): constants[name] for place, name in enumerate(function.arg_names) if name in constants}
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, name in enumerate(function.arg_names) if signature[name][0] == "*"
    }
    source = GluonASTSource(function, signature, fixed, attrs=aligned)
    options = {"num_warps": 4, "maxnreg": launch.registers}
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    ptx.write_text(built.asm["ptx"])
    assembler = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    command = [str(assembler), "-v", "-arch=sm_90a", str(ptx), "-o", str(ptx.with_suffix(".cubin"))]
    report = subprocess.run(command, capture_output=True, text=True, check=True)
    sys.stdout.write(report.stderr)


def kind(name: str, constants: dict[str, object], width: int) -> str:
    """The argument's type as Triton writes it."""
    if name in constants:
        return "constexpr"
    if name in ("query", "key", "value", "grad_out"):
        layout = gl.NVMMASharedLayout.get_default_for([64, width], gl.bfloat16)
        return f"tensordesc<bf16[64, {width}],{layout!r}>"
    if name == "steps":
        return f"tensordesc<i8[64, {width}],{gl.NVMMASharedLayout.get_default_for([64, width], gl.int8)!r}>"
    pointers = {"columns": "*u8", **dict.fromkeys(FLOATS, "*fp32"), **dict.fromkeys(INTEGERS, "*i32")}
    pointers |= dict.fromkeys(RESULTS, "*bf16")
    return pointers.get(name, "fp32" if name.startswith("scale") else "i32")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
