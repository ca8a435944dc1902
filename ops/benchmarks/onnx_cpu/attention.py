"""One attention layer, span 512, H 4, D 64: GroupQueryAttention's window (quadratic on a CPU) beside our ring."""

import argparse
import io
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from longwatch.kernels import parse_pattern
from longwatch.kernels.ring import Ring, ring_attention, ring_write, stream_view
from longwatch.model.scorer.onnx_session import options, providers

HEADS, WIDTH, SPAN = 4, 64, 512
CHUNKS = (64, 128, 256, 512)
ROUNDS = 5


class RingLayer(nn.Module):
    """Attention of the next events of one stream."""

    def forward(
        self, position: Tensor, query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Output, and the caches as they are afterwards."""
        slot = torch.zeros_like(position)
        places = position[:, None] + torch.arange(query.shape[1])
        view = stream_view(parse_pattern(f"sliding({SPAN})"), places, [keys.shape[2]], query.dtype)
        ring = ring_write(Ring(keys, values), slot, view.rows[0], key, value)
        return ring_attention(query, [ring], slot, view), ring.key, ring.value


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    quadratic = session(gqa_graph(), arguments)
    ring = session(ring_graph(), arguments)
    for length in (1024, 4096, 16_384):
        heads = np.random.default_rng(0).standard_normal((3, 1, length, HEADS, WIDTH), np.float32)
        runs: dict[str, Callable[[], np.ndarray]] = {"quadratic": lambda h=heads: run_gqa(quadratic, h)}
        runs |= {f"ring, {c} at once": lambda h=heads, c=c: run_ring(ring, h, c) for c in CHUNKS}
        expected = run_gqa(quadratic, heads)
        times = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                started = time.perf_counter()
                found = run()
                times[name].append(time.perf_counter() - started)
                assert np.abs(found - expected).max() < 1e-4, name
        medians = {name: round(float(np.median(seconds)), 4) for name, seconds in times.items()}
        best = min(seconds for name, seconds in medians.items() if name != "quadratic")
        yield {"length": length, "span": SPAN, "seconds": medians, "ratio": round(medians["quadratic"] / best, 2)}


def run_gqa(quadratic: onnxruntime.InferenceSession, heads: np.ndarray) -> np.ndarray:
    length = heads.shape[2]
    query, key, value = (part.reshape(1, length, HEADS * WIDTH) for part in heads)
    empty = np.zeros((1, HEADS, 0, WIDTH), np.float32)
    sizes = {"seqlens": np.array([length - 1], np.int32), "total": np.array(length, np.int32)}
    feeds = {"query": query, "key": key, "value": value, "past_key": empty, "past_value": empty, **sizes}
    return quadratic.run(["output"], feeds)[0].reshape(1, length, HEADS, WIDTH)


def run_ring(ring: onnxruntime.InferenceSession, heads: np.ndarray, chunk: int) -> np.ndarray:
    rows = np.zeros((2, 1, HEADS, SPAN + chunk - 1, WIDTH), np.float32)
    caches = [onnxruntime.OrtValue.ortvalue_from_numpy(part.copy()) for part in rows]
    binding, outputs = ring.io_binding(), []
    for name, cache in zip(("keys", "values"), caches, strict=True):
        binding.bind_ortvalue_input(name, cache)
        binding.bind_ortvalue_output(f"next_{name}", cache)
    for start in range(0, heads.shape[2], chunk):
        binding.bind_cpu_input("position", np.array([start], np.int64))
        for name, part in zip(("query", "key", "value"), heads, strict=True):
            binding.bind_cpu_input(name, np.ascontiguousarray(part[:, start : start + chunk]))
        binding.bind_output("output")
        ring.run_with_iobinding(binding)
        outputs.append(binding.get_outputs()[-1].numpy())
    return np.concatenate(outputs, axis=1)


def session(graph: bytes, arguments: argparse.Namespace) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, options(arguments.threads), providers(arguments.device))


def ring_graph() -> bytes:
    heads = [torch.randn(1, 3, HEADS, WIDTH) for _ in range(3)]
    caches = [torch.zeros(1, HEADS, SPAN + 2, WIDTH) for _ in range(2)]
    events, rows = torch.export.Dim("events"), torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            RingLayer(),
            (torch.zeros(1, dtype=torch.int64), *heads, *caches),
            dynamo=True,
            dynamic_shapes=(None, *[{1: events}] * 3, *[{2: rows}] * 2),
            input_names=("position", "query", "key", "value", "keys", "values"),
            output_names=("output", "next_keys", "next_values"),
            opset_version=18,
            verbose=False,
        )
    assert program is not None
    buffer = io.BytesIO()
    onnx.save_model(program.model_proto, buffer)
    return buffer.getvalue()


def gqa_graph() -> bytes:
    names = ["query", "key", "value", "past_key", "past_value", "seqlens", "total"]
    node = helper.make_node(
        "GroupQueryAttention",
        names,
        ["output", "present_key", "present_value"],
        domain="com.microsoft",
        num_heads=HEADS,
        kv_num_heads=HEADS,
        local_window_size=SPAN,
    )
    flat, past = [1, "length", HEADS * WIDTH], [1, HEADS, "past", WIDTH]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, flat) for name in names[:3]]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, past) for name in names[3:5]]
    inputs += [
        helper.make_tensor_value_info("seqlens", TensorProto.INT32, [1]),
        helper.make_tensor_value_info("total", TensorProto.INT32, []),
    ]
    present = [1, HEADS, "total", WIDTH]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, flat)]
    outputs += [helper.make_tensor_value_info(f"present_{n}", TensorProto.FLOAT, present) for n in ("key", "value")]
    model = helper.make_model(
        helper.make_graph([node], "window", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    return model.SerializeToString()
