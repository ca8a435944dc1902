"""Must show 7: the next tokens of many streams, by bytes moved, and one event through a whole network in a graph."""

import math
from typing import Any

import torch
from torch import Tensor

from attention.match import in_turn
from attention.report import Run, Target
from attention.timing import Times, Work, wall_ms

STREAMS, SPAN, HEADS, WIDTH = 256, 512, 8, 64


def decode(run: Run) -> None:
    """256 streams at span 512: bytes of the keys and values that must be read, over time, beside the copy's rate."""
    for kv_heads, chunk in ((8, 1), (2, 1), (8, 4), (8, 16)):
        name = f"kv {kv_heads}, {chunk} new"
        _, failed = run.attempt(name, lambda kv_heads=kv_heads, chunk=chunk: _streams(run, kv_heads, chunk))
        if failed is not None:
            run.report("decode", shape=name, failed=failed)
    _, failed = run.attempt("network", lambda: _network(run))
    if failed is not None:
        run.report("decode network", shape="one event, 6 layers", failed=failed)


def _streams(run: Run, kv_heads: int, chunk: int) -> None:
    from longwatch.kernels import Sliding
    from longwatch.kernels.triton_impl.cache import KVCache
    from longwatch.kernels.triton_impl.decode import attention_decode

    torch.manual_seed(0)
    cache = KVCache.of(Sliding(SPAN), slots=STREAMS, kv_heads=kv_heads, head_dim=WIDTH, chunk=chunk)
    cache.key.normal_()
    cache.value.normal_()
    query = torch.randn(STREAMS * chunk, HEADS, WIDTH, device="cuda", dtype=torch.bfloat16)
    slots = torch.randperm(STREAMS, device="cuda").int()
    first = torch.randint(2 * SPAN, 9 * SPAN, (STREAMS,), device="cuda", dtype=torch.int32)
    position = (first[:, None] + torch.arange(chunk, device="cuda")).int().flatten()
    counts = torch.full((STREAMS,), chunk, device="cuda", dtype=torch.int32)
    scale = 1 / math.sqrt(WIDTH)

    def step(_state: object = None) -> Tensor:
        return attention_decode(query, cache, slots, position, counts, chunk, scale)

    out = step()
    error = max(
        _error(cache, query, out, int(slots[stream]), int(first[stream]), stream, scale)
        for stream in (0, 1, STREAMS - 1)
    )
    row: dict[str, Any] = {}
    times = in_turn(run, {"ours": Work(step)}, row)["ours"]
    # The band of the first new token to the last one, keys and values, once for each stream; and the queries.
    moved = STREAMS * (SPAN + chunk - 1) * kv_heads * WIDTH * 2 * 2 + 2 * query.numel() * 2
    rate = moved / times.median / 1e9
    row["ours"] = (
        times.row() | {"tb_s": round(rate, 3), "errors": {"out": error}} | ({} if error < 2e-2 else {"wrong": True})
    )
    of_copy = rate / run.constants["ceilings"]["copy_tb_s"]
    row["ours"]["of_copy"] = round(of_copy, 3)
    targets = (Target("bytes a second / copy's", of_copy, 0.8),) if chunk == 1 and kv_heads == HEADS else ()
    run.report("decode", targets, shape=f"256, kv {kv_heads}, {chunk} new", bytes=moved, contenders=row)


def _error(cache: Any, query: Tensor, out: Tensor, slot: int, first: int, stream: int, scale: float) -> float:
    """Of one stream's new tokens against float64, relative; its keys read from where the cache says they lie."""
    chunk = len(query) // STREAMS
    position = torch.arange(first - SPAN + 1, first + chunk, device="cuda")
    block = position // cache.key_block
    page = slot * cache.pages + cache.pinned + (block - cache.pinned) % cache.ring
    group = HEADS // cache.key.shape[1]
    keys, values = (
        tensor[page, :, position % cache.key_block].double().repeat_interleave(group, dim=1)
        for tensor in (cache.key, cache.value)
    )
    rows = slice(stream * chunk, (stream + 1) * chunk)
    at = first + torch.arange(chunk, device="cuda")[:, None]
    seen = (position <= at) & (at - position < SPAN)
    scores = torch.einsum("qhd,khd->hqk", query[rows].double(), keys) * scale
    exact = torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -math.inf).softmax(-1), values)
    return float(f"{float((out[rows].double() - exact).norm() / exact.norm()):.3g}")


def _network(run: Run) -> None:
    """One stream, one event: inputs to the device, six layers, the score back, by the host's clock."""
    import numpy as np

    from longwatch.model.config import ModelConfig
    from longwatch.model.stream import StepGraph, StreamNetwork
    from longwatch.model.transformer import EventTransformer

    torch.manual_seed(0)
    config = ModelConfig(d_model=512, num_heads=8, num_kv_heads=8, layers=("sliding(512)",) * 6, dropout=0.0)
    words = torch.randint(0, config.word_buckets, (1024, config.max_words))
    network = StreamNetwork(EventTransformer(config, words).eval())
    events = network.events(words.cuda(), torch.arange(1024, device="cuda"))
    state = network.new_state(slots=1, chunk=1)
    graph = StepGraph(network, events, state, streams=1)
    one = np.ones(1, np.int32)

    def step() -> object:
        return graph.run(one * 0, one, one, one, one, one)

    for _ in range(700):
        step()
    host = Times.of([wall_ms(step) for _ in range(1000)])
    device = in_turn(run, {"replay": Work(lambda _: graph.graph.replay())}, {})["replay"]
    rows = {"ours": host.row(), "ours/device": device.row()}
    targets = (Target("p50, us", host.median * 1e3, 100.0, most=True),)
    run.report("decode network", targets, shape="one event, 6 layers", model=config.to_dict(), contenders=rows)
