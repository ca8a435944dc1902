"""Our forward and gradients against float64, no further off than torch SDPA's; and what must hold bit by bit.

python ops/gpu_checks/numerics.py --out numerics.json          (CUDA; shares of the cases run in processes)
python ops/gpu_checks/numerics.py --case '{"patterns": ...}'   (one line that failed)
TRITON_INTERPRET=1 python ops/gpu_checks/numerics.py --device cpu

One line per failure, a JSON summary last; exit code 1 where anything failed.
"""

import argparse
import json
import sys
import time
import traceback
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402

from gpu_checks.call import portable, run  # noqa: E402
from gpu_checks.case import Case, Inputs, make_inputs  # noqa: E402
from gpu_checks.cases import SHARDS, cases, tiny_cases  # noqa: E402
from gpu_checks.compare import LARGEST, problems  # noqa: E402
from gpu_checks.exact import Result, chosen, definition, float64, mask_of, peer  # noqa: E402
from gpu_checks.properties import properties  # noqa: E402
from gpu_checks.shards import all_shards  # noqa: E402

Measured = tuple[Inputs, Result, Result, dict[str, torch.Tensor]]


def main() -> None:
    given = parse_arguments()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("numerics: needs a CUDA device, and torch sees none here (--device cpu runs a few tiny cases)")
    started = time.monotonic()
    with portable() if given.portable else nullcontext():
        summary = run_all(given)
    summary["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(summary), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps(summary) + "\n")
    sys.exit(1 if summary["failed"] or not summary["cases"] else 0)


def run_all(given: argparse.Namespace) -> dict[str, Any]:
    """What the arguments ask for."""
    if given.case is not None:
        return check([given.case], given.implementation, given.device)
    if given.shard is not None:
        return shard(*SHARDS[given.shard], given.implementation)
    if given.device == "cuda":
        options = ["--implementation", given.implementation, *(["--portable"] if given.portable else [])]
        return all_shards(Path(__file__).resolve(), options, given.jobs)
    summary = check(tiny_cases(), given.implementation, "cpu")
    add_failures(summary, properties("float16", 32, given.implementation, "cpu", small=True))
    return summary


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--implementation", default="triton", help="of block_sparse_attention")
    parser.add_argument("--portable", action="store_true", help="the kernels for any GPU, on a Hopper too")
    parser.add_argument("--case", type=Case.read, help="one case, as a failure's line prints it")
    parser.add_argument("--shard", type=int, help=f"one of {len(SHARDS)} dtypes and widths; all unless given")
    parser.add_argument("--jobs", type=int, default=6, help="processes at a time")
    parser.add_argument("--out", type=Path, help="the summary goes here too")
    return parser.parse_args()


def shard(dtype: str, width: int, implementation: str) -> dict[str, Any]:
    """Every case of one dtype and width, and its properties."""
    summary = check(cases(dtype, width), implementation, "cuda")
    add_failures(summary, properties(dtype, width, implementation, "cuda"))
    return summary


def check(chosen: list[Case], implementation: str, device: str) -> dict[str, Any]:
    """Counts, the worst of our errors by SDPA's, and a line for each failure."""
    summary: dict[str, Any] = {"cases": 0, "failed": 0, "worst": {}, "failures": []}
    for case in chosen:
        try:
            found, ratios = one(case, implementation, device)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
            said = " ".join(str(error).split())[:300]
            found, ratios = [f"{type(error).__name__}: {said} ({where})"], {}
        summary["cases"] += 1
        for name, ratio in ratios.items():
            summary["worst"][name] = max(summary["worst"].get(name, 0.0), round(ratio, 3))
        add_failures(summary, [f"{text}; {case}" for text in found])
    return summary


def one(case: Case, implementation: str, device: str) -> tuple[list[str], dict[str, float]]:
    """What does not hold for this case, and our errors by SDPA's."""
    if not case.tokens:
        given = make_inputs(case, device)
        ours = run(case, given, implementation, device)
        shapes = [ours.out.shape == given.query.shape, ours.grads["dk"].shape == given.key.shape]
        return ([] if all(shapes) else [f"empty plan: shapes {list(ours.out.shape)}"]), {}
    given, ours, exact, errors = measured(case, implementation, device)
    found, ratios = problems(case, given, ours, exact, errors)
    if found and all(LARGEST in text and text.partition(":")[0] in ours.grads for text in found):
        draws = [measured(replace(case, seed=seed), implementation, device) for seed in range(case.seed, case.seed + 8)]
        found = [text for text in found if not holds_over(draws, text.partition(":")[0])]
    return found, ratios


def holds_over(draws: list[Measured], name: str) -> bool:
    """Whether a gradient's largest error of all draws is within 1.5 of SDPA's: of one, it is luck."""
    ours = max(float((draw[1].grads[name].double() - draw[2].grads[name]).abs().max()) for draw in draws)
    theirs = max(float(draw[3][name].max()) for draw in draws)
    print(f"{name}: largest error of {len(draws)} draws by SDPA's: {ours / theirs:.3f}", flush=True)
    return ours <= 1.5 * theirs


def measured(case: Case, implementation: str, device: str) -> Measured:
    """Inputs, our result, the definition's, and SDPA's absolute errors."""
    given = make_inputs(case, device)
    ours = run(case, given, implementation, device)
    mask = mask_of(case, device)
    if case.by_data:
        mask = mask | chosen(case, given)
    masked, theirs = float64(case, given, mask), peer(case, given, mask)
    errors = {name: (found.double() - masked.grads[name]).abs() for name, found in theirs.grads.items()}
    errors["out"] = (theirs.out.double() - masked.out).abs()
    return given, ours, definition(case, given) if case.by_data else masked, errors


def add_failures(summary: dict[str, Any], texts: list[str]) -> None:
    """Prints and counts them; a case may have several."""
    for text in texts:
        print(f"FAILED {text}", flush=True)
    summary["failed"] += len(texts)
    summary["failures"] += texts[:20]


if __name__ == "__main__":
    main()
