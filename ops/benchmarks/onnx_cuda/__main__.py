"""Two halves, since a machine with a GPU may have neither the pipeline nor the exporter.

python -m ops.benchmarks.onnx_cuda prepare FOLDER [--days 36]        # anywhere: bundle, windows and graphs into FOLDER
python -m ops.benchmarks.onnx_cuda run FOLDER [--out results.jsonl]  # torch, triton, onnxruntime-gpu, longwatch's model
"""

import argparse
import json
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CASES = ("parity", "lengths", "whole", "step")


def main() -> None:
    arguments = parse_arguments()
    if arguments.verb == "prepare":
        import_module("ops.benchmarks.onnx_cuda.prepare").prepare(arguments.folder, arguments.days)
        return
    about = machine(arguments.device)
    for case in arguments.cases.split(","):
        measured = import_module(f"ops.benchmarks.onnx_cuda.{case}").measure(arguments)
        for line in measured:
            text = json.dumps({"benchmark": f"onnx_cuda_{case}", **line, **about})
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            if arguments.out is not None:
                with arguments.out.open("a") as file:
                    file.write(text + "\n")


def machine(device: str) -> dict[str, object]:
    import torch

    card = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {"device": card, "torch": torch.__version__, "onnxruntime": onnxruntime_version()}


def onnxruntime_version() -> str:
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    raise SystemExit("no onnxruntime here: pip install onnxruntime-gpu")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("prepare", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=float, default=36.0, help="of the demo's log")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="cpu: to try the script; no Triton")
    parser.add_argument("--threads", type=int, default=16, help="of the reference, torch on the CPU")
    parser.add_argument("--rounds", type=int, default=3, help="of parity, after the first")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
