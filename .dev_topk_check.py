# ruff: noqa
"""Top-k on the H100: equal to the plain construction, no sync, no recompiling, in a graph, and its times against cuDNN.

python3 .dev_topk_check.py            everything (about two minutes); needs torch, triton, numpy alone
python3 .dev_topk_check.py --small    equality alone on small packs (runs in the interpreter without a GPU too)
Prints JSON lines; exit status 1 if anything differs.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
HOME = Path(tempfile.mkdtemp()) / "longwatch"
HOME.mkdir()
(HOME / "__init__.py").touch()
(HOME / "kernels").symlink_to(ROOT / "kernels")
sys.path[:0] = [str(HOME.parent), str(ROOT / "tests")]

import torch  # noqa: E402

CUDA = torch.cuda.is_available()
if not CUDA:
    os.environ.setdefault("TRITON_INTERPRET", "1")
DEVICE = "cuda" if CUDA else "cpu"

from longwatch.kernels import block_sparse_attention, parse_pattern, plan_on_device  # noqa: E402
from longwatch.kernels.topk import block_table, choose_packed  # noqa: E402
from longwatch.kernels.triton_impl import plan_kernels, topk_choice, topk_gradient, topk_lists  # noqa: E402
from longwatch.kernels.triton_impl.topk import select  # noqa: E402
from support.chosen_lists import chosen_by_torch  # noqa: E402

SMALL = "--small" in sys.argv or not CUDA
FAILED = []


def say(name, ok=None, **facts):
    print(json.dumps({"check": name, **({} if ok is None else {"ok": bool(ok)}), **facts}), flush=True)
    if ok is False:
        FAILED.append(name)


def plan_lists(plan):
    entries, keys = plan.query_entries.tolist(), plan.key_entries.tolist()
    query = [entries[a:b] for a, b in plan.query_rows.flatten(0, 1).tolist()]
    heads = []
    for items in plan.key_items.tolist():
        found = {}
        for tile, begin, end, _ in sorted(item for item in items if item[0] >= 0):
            found.setdefault(tile, []).extend(keys[begin:end])
        heads.append(found)
    return query, heads, plan.key_parts[..., 1].tolist()


def named(plan, index):
    entries, none = plan.query_entries.tolist(), 2 * len(plan.query_entries)
    return [(-1, -1) if at == none else (entries[at // 2] >> 4, at % 2) for at in index.flatten().tolist()]


def old_choice(query, key, plan, table, scale):
    found = []
    parts = zip(query.chunk(plan.groups, 1), key.chunk(plan.groups, 1), plan.parts, strict=True)
    for rows, keys, part in parts:
        blocks = torch.full((keys.shape[1], len(table.local), plan.count), -1, device=key.device)
        if part is not None:
            blocks[..., : part.count] = choose_packed(rows, keys, table, part, scale).blocks
        found.append(blocks)
    return torch.cat(found)


def equality(texts, lengths, share, width=64, dtype=torch.bfloat16, seed=0):
    torch.manual_seed(seed)
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    tokens, kv_heads = int(bounds[-1]), share * len(texts)
    plan = plan_on_device([parse_pattern(text) for text in texts], bounds, device=DEVICE)
    query, key = (torch.randn(tokens, heads, width, device=DEVICE).to(dtype) for heads in (2 * kv_heads, kv_heads))
    made = select(query, key, plan, 0.125, backward=True, traced=False)
    table = block_table(plan.base.cu_seqlens, plan.block, len(plan.blocks.table))
    chosen = old_choice(query, key, plan, table, 0.125)
    same = made.gates.chosen.long() == chosen
    say("choice", same.all(), texts=texts, tokens=tokens, differ=int((~same).sum()))
    wanted, index, _ = chosen_by_torch(plan, made.gates.chosen.long(), table)
    say("lists", plan_lists(made.plan) == plan_lists(wanted), texts=texts, tokens=tokens)
    say("gates", named(made.plan, made.gates.entries) == named(wanted, index), texts=texts, tokens=tokens)


def gradients(texts, lengths, dtype, budget):
    torch.manual_seed(1)
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    patterns = [parse_pattern(text) for text in texts]
    block = next(p.data_chosen.block for p in patterns if p.data_chosen)
    from longwatch.kernels import build_plan

    host = build_plan(patterns, bounds.tolist(), block)
    inputs = [
        torch.randn(int(bounds[-1]), heads, 64, device=DEVICE, dtype=dtype).requires_grad_() for heads in (8, 4, 4)
    ]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    ours = block_sparse_attention(*inputs, host, implementation="triton")
    theirs = block_sparse_attention(*exact, host, implementation="gather")
    up = torch.randn_like(ours)
    got, want = torch.autograd.grad(ours, inputs, up), torch.autograd.grad(theirs, exact, up.double())
    again = torch.autograd.grad(block_sparse_attention(*inputs, host, implementation="triton"), inputs, up)
    worst = [
        float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip([ours, *got], [theirs, *want], strict=True)
    ]
    say("against gather in float64", max(worst) < budget, texts=texts, worst=worst)
    say("bitwise the same again", all(torch.equal(a, b) for a, b in zip(got, again, strict=True)), texts=texts)


def kernels():
    every = [topk_choice.mean_blocks, topk_choice.choose_blocks, topk_choice.lay_blocks, topk_lists.list_queries]
    every += [topk_lists.count_readers, topk_lists.list_readers, topk_gradient._sum_gates, topk_gradient._add_gradient]
    return [*every, plan_kernels.cut_items, plan_kernels.count_tiles]


def compiled():
    return sum(len(cache[0]) for kernel in kernels() for cache in kernel.device_caches.values())


def no_recompiling():
    counts = []
    for step in range(12):
        lengths = [64 * step + 17, 1000 + 13 * step, 1 + step]
        bounds = torch.tensor([0, *lengths]).cumsum(0)
        plan = plan_on_device(parse_pattern("topk(4) | sliding(100)"), bounds, device=DEVICE)
        inputs = [torch.randn(sum(lengths), 8, 64, device=DEVICE, dtype=torch.bfloat16).requires_grad_() for _ in "qkv"]
        block_sparse_attention(*inputs, plan).sum().backward()
        counts.append(compiled())
    say("no recompiling", len(set(counts[2:])) == 1, compiled=counts)


def graph_and_sync():
    bounds = torch.tensor([0, 3000, 8192], dtype=torch.int32, device=DEVICE)
    pattern, known = parse_pattern("topk(8) | sliding(128)"), {"tokens": 8192, "max_seqlen": 8192}
    inputs = [torch.randn(8192, 8, 64, device=DEVICE, dtype=torch.bfloat16) for _ in "qkv"]

    def whole():
        return block_sparse_attention(*inputs, plan_on_device(pattern, bounds, **known))

    for _ in range(2):
        whole()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    whole()
    torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = whole()
    for tensor in inputs:
        tensor.copy_(torch.randn_like(tensor))
    bounds.copy_(torch.tensor([0, 5000, 8192], dtype=torch.int32))
    graph.replay()
    torch.cuda.synchronize()
    say("a graph with the plan inside, new inputs and lengths", torch.equal(out, whole()))


def median_of(functions, runs=30):
    """Medians in microseconds, interleaved: wall between two events on the device, the host's part included."""
    for function in functions.values():
        for _ in range(3):
            function()
    torch.cuda.synchronize()
    times = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            function()
            end.record()
            torch.cuda.synchronize()
            times[name].append(1000 * begin.elapsed_time(end))
    return {name: round(statistics.median(found), 1) for name, found in times.items()}


def graphed(function):
    for _ in range(2):
        function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def speed(tokens, text="topk(8)"):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    torch.manual_seed(2)
    plan = plan_on_device(parse_pattern(text), [0, tokens], device=DEVICE)
    inputs = [torch.randn(tokens, 8, 64, device=DEVICE, dtype=torch.bfloat16).requires_grad_() for _ in "qkv"]
    plain = [tensor.detach() for tensor in inputs]
    up = torch.randn_like(plain[0])

    def dense(given):
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            rows = (tensor.transpose(0, 1)[None] for tensor in given)
            return torch.nn.functional.scaled_dot_product_attention(*rows, is_causal=True)

    def both(attend, shaped):
        torch.autograd.grad(attend(inputs), inputs, shaped)

    def ours(given):
        return block_sparse_attention(*given, plan)

    made = select(*plain[:2], plan, 0.125, backward=True, traced=False)
    functions = {
        "ours": lambda: ours(plain),
        "dense": lambda: dense(plain),
        "choice and query lists": lambda: select(*plain[:2], plan, 0.125, backward=False, traced=False),
        "choice and all lists": lambda: select(*plain[:2], plan, 0.125, backward=True, traced=False),
        "attention on a made plan": lambda: block_sparse_attention(*plain, made.plan),
        "ours both": lambda: both(ours, up),
        "dense both": lambda: both(dense, up.transpose(0, 1)[None]),
    }
    functions |= {
        f"{name}, graph": graphed(functions[name])
        for name in ("ours", "dense", "choice and query lists", "choice and all lists", "attention on a made plan")
    }
    found = median_of(functions)
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(20):
        functions["choice and all lists"]()
    host = (time.perf_counter() - begin) / 20 * 1e6
    ratios = {
        "forward": found["dense"] / found["ours"],
        "forward in a graph": found["dense, graph"] / found["ours, graph"],
        "forward + backward": found["dense both"] / found["ours both"],
    }
    say(
        "speed",
        tokens=tokens,
        pattern=text,
        host_us=round(host, 1),
        us=found,
        dense_by_ours={name: round(value, 3) for name, value in ratios.items()},
    )


def per_kernel(tokens):
    from torch.profiler import ProfilerActivity, profile

    plan = plan_on_device(parse_pattern("topk(8)"), [0, tokens], device=DEVICE)
    inputs = [torch.randn(tokens, 8, 64, device=DEVICE, dtype=torch.bfloat16).requires_grad_() for _ in "qkv"]
    step = lambda: block_sparse_attention(*inputs, plan).sum().backward()  # noqa: E731
    step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
    rows = sorted(seen.key_averages(), key=lambda row: -row.device_time_total)[:18]
    say("kernels", tokens=tokens, us={row.key[:48]: round(row.device_time_total / 5, 1) for row in rows})


def main():
    cases = [(["topk(2)"], [300, 0, 70, 513], 2), (["topk(2, block=128) | global(70)", "sliding(70)"], [700, 65], 1)]
    if not SMALL:
        cases += [
            (["topk(8)"], [8192], 8),
            (["topk(8) | sliding(512)"], [20000, 1, 63, 64, 65, 4000], 4),
            (["topk(32)"], [16384], 2),
            (["topk(3, block=192) | strided(1000, width=8)", "dense"], [5000, 3000], 1),
            (["topk(4)"], [20] * 500, 8),
        ]
    for number, case in enumerate(cases):
        equality(*case, seed=number)
    if not SMALL:
        for texts in (["topk(4)"], ["topk(2, block=128) | sliding(100)", "topk(1, block=128)"]):
            gradients(texts, [1500, 64, 700], torch.float16, 1e-2)
        no_recompiling()
        graph_and_sync()
        for tokens in (4096, 8192, 16384, 32768, 65536):
            speed(tokens)
        for tokens in (8192, 65536):
            per_kernel(tokens)
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()
