"""How every ONNX Runtime session here is opened."""

import sys
from contextlib import redirect_stdout

import onnxruntime

from longwatch.model.bundle_files import BundleError
from longwatch.model.scorer.unavailable import ScorerUnavailableError

CUDA = "CUDAExecutionProvider"


def open_session(graph: bytes, threads: int, device: str) -> onnxruntime.InferenceSession:
    """Session of a graph whose rules were checked; BundleError where ONNX Runtime cannot use it all the same."""
    chosen = providers(device)
    try:
        session = onnxruntime.InferenceSession(graph, sess_options=options(threads), providers=chosen)
    except Exception as error:
        raise BundleError(
            f"a graph of the bundle cannot be used: {error}; make the bundle again, or try another onnxruntime"
        ) from error
    refuse_fallback(session, device)
    return session


def refuse_fallback(session: onnxruntime.InferenceSession, device: str) -> None:
    """ScorerUnavailableError where a session that should be on the GPU is not: ONNX Runtime says nothing of it."""
    if device == "cuda" and CUDA not in session.get_providers():
        raise ScorerUnavailableError(
            "device cuda: onnxruntime could not load its CUDA provider; install the CUDA and cuDNN libraries that it "
            "was built for (pip install 'onnxruntime-gpu[cuda,cudnn]'), or use device cpu"
        )


def options(threads: int) -> onnxruntime.SessionOptions:
    """Session options of every scorer."""
    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads = threads
    found.inter_op_num_threads = 1
    # Arena and memory plans keep the largest batch ever seen, one plan a shape; batches here have many shapes.
    found.enable_cpu_mem_arena = False
    found.enable_mem_pattern = False
    found.log_severity_level = 3
    return found


def providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    """Execution providers of a device; ScorerUnavailableError where this onnxruntime lacks it."""
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if CUDA not in onnxruntime.get_available_providers():
        raise ScorerUnavailableError(
            "device cuda: this onnxruntime has no CUDA provider; pip install 'longwatch[gpu]', or use device cpu"
        )
    with redirect_stdout(sys.stderr):  # it prints what it does not find
        onnxruntime.preload_dlls()  # from the packages of CUDA that are installed beside it
    return [(CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
