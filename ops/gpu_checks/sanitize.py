"""Every kernel once, on a few small tensors, for compute-sanitizer to watch.

PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck  --error-exitcode 1 python ops/gpu_checks/sanitize.py
PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool racecheck --error-exitcode 1 python ops/gpu_checks/sanitize.py

Without torch's cache every tensor is an allocation of its own, so that a byte past its end is seen. --only picks steps.
"""

import argparse
import math
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402

from gpu_checks.call import portable, run  # noqa: E402
from gpu_checks.case import Case, make_inputs  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--implementation", default="triton")
    parser.add_argument("--portable", action="store_true", help="the kernels for any GPU, on a Hopper too")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(STEPS), help=f"of {','.join(STEPS)}")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("sanitize: needs a CUDA device, and torch sees none here")
    with portable() if given.portable else nullcontext():
        failed = [name for name in given.only if not _step(name, given.implementation, given.device)]
    sys.exit(1 if failed else 0)


def _step(name: str, implementation: str, device: str) -> bool:
    try:
        STEPS[name](implementation, device)
        if device == "cuda":
            torch.cuda.synchronize()
    except Exception as error:
        print(f"{name}: FAILED: {''.join(traceback.format_exception(error, limit=-4))}", flush=True)
        return False
    print(f"{name}: ran", flush=True)
    return True


def _attention(case: Case) -> Callable[[str, str], None]:
    def step(implementation: str, device: str) -> None:
        found = run(case, make_inputs(case, device), implementation, device)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (found.out, *found.grads.values())):
            raise ValueError("a result is not finite")

    return step


def _plan(_implementation: str, device: str) -> None:
    """The path without a sync, whose lists have room to spare."""
    from longwatch.kernels import Dense, Global, Sliding
    from longwatch.kernels.triton_impl.device_plan import build_device_plan

    cu_seqlens = torch.tensor([0, 70, 70, 271, 272], dtype=torch.int32, device=device)
    build_device_plan([Sliding(64) | Global(20), Dense()], cu_seqlens, device=device, tokens=272, max_seqlen=201)


def _decode(_implementation: str, device: str) -> None:
    from longwatch.kernels import Global, Sliding
    from longwatch.kernels.triton_impl.cache import KVCache, write_cache
    from longwatch.kernels.triton_impl.decode import attention_decode

    cache = KVCache.of(
        Sliding(100) | Global(20), slots=3, kv_heads=2, head_dim=64, chunk=4, dtype=torch.float16, device=device
    )
    rows = torch.randn(150, 2, 64).to(device, torch.float16)
    slot, position = torch.ones(150, dtype=torch.int32), torch.arange(150, dtype=torch.int32)
    write_cache(rows, rows, cache, slot.to(device), position.to(device), torch.full_like(slot, 150).to(device))
    slots, counts = (torch.tensor(values, dtype=torch.int32).to(device) for values in ((1, -1, 0), (4, 0, 2)))
    place = torch.tensor((146, 147, 148, 149, 0, 0, 0, 0, 0, 1, 0, 0), dtype=torch.int32).to(device)
    query = torch.randn(12, 4, 64).to(device, torch.float16)
    attention_decode(query, cache, slots, place, counts, 4, 1 / math.sqrt(64))


# Documents of one row, part of a tile, several tiles; columns, so that masks and column tables are read.
_LENGTHS = (70, 1, 0, 201)
_PATTERN = ("sliding(64) | global(20)",)
STEPS: dict[str, Callable[[str, str], None]] = {
    "plan": _plan,
    "attention": _attention(Case(_PATTERN, _LENGTHS)),
    "sink": _attention(Case(_PATTERN, _LENGTHS, "float16", 32, sink=True, lse_grad=True)),
    "atomic": _attention(Case(_PATTERN, _LENGTHS, deterministic=False)),
    "groups": _attention(Case(("sliding(40)", "dense"), _LENGTHS, "bfloat16", 128)),
    "split": _attention(Case(("sliding(64) | global(20)",), (4300,), "bfloat16", 32, 1, 1)),
    "topk": _attention(Case(("topk(2, block=64)",), (400, 70))),
    "decode": _decode,
}

if __name__ == "__main__":
    main()
