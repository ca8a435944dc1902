import subprocess
import sys

import pytest
import torch

from longwatch.model.bundle import GRAPH
from longwatch.model.scorer import ScorerUnavailableError, open_scorer
from longwatch.model.scorer.onnx_session import open_session, refuse_fallback

ONE_SCORE = """
import sys
for name in {blocked}:
    sys.modules[name] = None
from longwatch.model.scorer import open_bundle, open_scorer
from support.windows import make_tokens
scorer = open_scorer(open_bundle({path!r}))
print(scorer.name, len(scorer.score(make_tokens([5, 3]))))
"""


def run_without(blocked: list[str], path: str) -> str:
    code = f"import sys; sys.path[:0] = {sys.path!r}\n" + ONE_SCORE.format(blocked=blocked, path=path)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_onnx_worker_needs_no_torch_and_no_onnx_package(bundle):
    assert run_without(["torch", "onnx", "onnxscript", "triton"], str(bundle.path)) == "onnx 8"


def test_auto_takes_torch_where_onnx_runtime_is_not(bundle):
    assert run_without(["onnxruntime"], str(bundle.path)) == "torch 8"


def test_no_backend_at_all_says_what_to_install(bundle):
    with pytest.raises(subprocess.CalledProcessError) as error:
        run_without(["onnxruntime", "torch"], str(bundle.path))
    assert "pip install 'longwatch[cpu]' or pip install 'longwatch[train]'" in error.value.stderr


def test_importing_the_scorer_imports_no_backend():
    code = "import sys, longwatch.model.scorer; print([m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_auto_takes_onnx_where_it_is(bundle):
    assert open_scorer(bundle).name == "onnx"


def test_an_unknown_backend_is_refused(bundle):
    with pytest.raises(ValueError, match="backend: expected auto, onnx, torch or triton, found 'tpu'"):
        open_scorer(bundle, "tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_device_that_is_not_there_is_refused_with_advice(bundle, backend):
    with pytest.raises(ScorerUnavailableError, match=r"device cuda: .* use device cpu"):
        open_scorer(bundle, backend, device="cuda")


def test_a_session_that_fell_back_to_the_cpu_is_refused_where_the_gpu_was_asked_for(bundle):
    session = open_session(bundle.read(GRAPH), 1, "cpu")
    refuse_fallback(session, "cpu")
    with pytest.raises(ScorerUnavailableError, match="could not load its CUDA provider"):
        refuse_fallback(session, "cuda")
