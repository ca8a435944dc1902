"""Runs one case and appends its JSON lines to a file.

python -m ops.benchmarks.onnx_cpu CASE [--out ops/benchmarks/results/onnx.jsonl] [--threads 1] [--days 36]
"""

import argparse
import json
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

CASES = ("attention", "prefill", "step", "parity", "labelled", "twice")


def main() -> None:
    arguments = parse_arguments()
    machine = {"machine": platform.machine(), "onnxruntime": version("onnxruntime"), "threads": arguments.threads}
    case = import_module(f"ops.benchmarks.onnx_cpu.{arguments.case}")
    for line in case.measure(arguments):
        text = json.dumps({"benchmark": f"onnx_cpu_{arguments.case}", **line, **machine})
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        if arguments.out is not None:
            with arguments.out.open("a") as file:
                file.write(text + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--days", type=float, default=36.0, help="of the demo's log, for parity")
    parser.add_argument("--networks", nargs="*", help="only these, for prefill and step")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="public sets, for labelled and twice")
    parser.add_argument(
        "--sets", default="adfa_ld,hdfs_sequences,ait_ads", help="for labelled and twice; twice knows demo too"
    )
    parser.add_argument("--steps", type=int, default=300, help="of training, for labelled and twice")
    return parser.parse_args()


if __name__ == "__main__":
    main()
