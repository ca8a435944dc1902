"""What a case should give: in float64, and from torch SDPA in the case's own dtype over an explicit mask."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpu_checks.case import Case, Inputs
from longwatch.kernels import reference_attention
from longwatch.kernels.topk import choose


@dataclass(frozen=True)
class Result:
    """Output `[T, H, D]`, log-sum-exp `[T, H]` and gradients by name; what a path lacks is absent."""

    out: Tensor
    lse: Tensor | None
    grads: dict[str, Tensor]


def mask_of(case: Case, device: str) -> Tensor:
    """Bool `[H, T, T]`: what each query head sees."""
    lengths = torch.tensor(case.lengths, device=device, dtype=torch.int64)
    document = torch.repeat_interleave(torch.arange(len(case.lengths), device=device), lengths)
    starts = torch.tensor(case.bounds[:-1], device=device, dtype=torch.int64)
    position = torch.arange(case.tokens, device=device) - starts[document]
    same = document[:, None] == document[None, :]
    masks = [rule.certain(position[:, None], position[None, :]) & same for rule in case.rules]
    return torch.stack([masks[head * len(masks) // case.heads] for head in range(case.heads)])


def chosen(case: Case, given: Inputs) -> Tensor:
    """Bool `[H, T, T]`: what topk adds for each head, from the module that both reference and kernels choose by."""
    group = case.heads // case.kv_heads
    seen = torch.zeros(case.heads, case.tokens, case.tokens, dtype=torch.bool, device=given.query.device)
    for head in range(case.kv_heads):
        part = case.rules[head * len(case.rules) // case.kv_heads].data_chosen
        for start, stop in pairwise(case.bounds):
            if part is None or start == stop:
                continue
            beyond = -(stop - start) % part.block
            queries = given.query[start:stop, head * group : (head + 1) * group]
            queries = F.pad(queries, (0, 0, 0, 0, 0, beyond))[None]
            keys = F.pad(given.key[start:stop, head], (0, 0, 0, beyond))[None]
            picked = choose(queries, keys, part, case.scale).blocks[0]
            blocks = torch.arange(len(picked), device=seen.device)
            reads = (picked[:, :, None] == blocks).any(1)
            block = torch.arange(stop - start, device=seen.device) // part.block
            seen[head * group : (head + 1) * group, start:stop, start:stop] = reads[block[:, None], block[None, :]]
    return seen


def definition(case: Case, given: Inputs) -> Result:
    """The package's own reference in float64: for topk, whose choice has a gradient that a mask does not have."""
    leaves = [tensor.double().requires_grad_() for tensor in (given.query, given.key, given.value)]
    bounds = torch.tensor(case.bounds)
    out, lse = reference_attention(*leaves, case.rules[0], bounds, case.scale, return_lse=True)
    grads = torch.autograd.grad(out, leaves, given.grad.double())
    return Result(out.detach(), lse.detach(), dict(zip(("dq", "dk", "dv"), grads, strict=True)))


def float64(case: Case, given: Inputs, mask: Tensor) -> Result:
    """The definition, and its gradients by autograd."""
    leaves = [tensor.double().requires_grad_() for tensor in (given.query, given.key, given.value)]
    names = ["dq", "dk", "dv"]
    query, key, value = leaves
    group = case.heads // case.kv_heads
    keys, values = (tensor.repeat_interleave(group, dim=1) for tensor in (key, value))
    scores = (torch.einsum("qhd,khd->hqk", query, keys) * case.scale).masked_fill(~mask, -math.inf)
    logits = scores
    if given.sink is not None:
        sink = given.sink.double().requires_grad_()
        leaves, names = [*leaves, sink], [*names, "dsink"]
        logits = torch.cat([scores, sink[:, None, None].expand(-1, case.tokens, 1)], dim=-1)
    # A row that sees nothing: any finite number in place of -inf keeps its weights 0 and its gradients clean.
    empty = (logits == -math.inf).all(dim=-1)
    lse = torch.logsumexp(logits.masked_fill(empty[..., None], 0), dim=-1)
    weights = torch.exp(scores - lse[..., None])
    out = torch.einsum("hqk,khd->qhd", weights, values)
    loss = (out * given.grad.double()).sum()
    if given.lse_grad is not None:
        loss = loss + (lse.masked_fill(empty, 0).T * given.lse_grad.double()).sum()
    grads = torch.autograd.grad(loss, leaves)
    found = dict(zip(names, grads, strict=True))
    return Result(out.detach(), lse.detach().masked_fill(empty, -math.inf).T, found)


def peer(case: Case, given: Inputs, mask: Tensor) -> Result:
    """What we are judged by: torch's fused SDPA; on a CPU, whose SDPA rounds nothing on the way, one that does."""
    return sdpa(case, given, mask) if mask.is_cuda else rounded(case, given, mask)


def rounded(case: Case, given: Inputs, mask: Tensor) -> Result:
    """Float32 sums, with weights, logit gradients and output rounded to the dtype, as fused kernels round them."""
    dtype, group = given.query.dtype, case.heads // case.kv_heads
    query, grad = given.query.float(), given.grad.float()
    key, value = (tensor.float().repeat_interleave(group, dim=1) for tensor in (given.key, given.value))
    scores = (torch.einsum("qhd,khd->hqk", query, key) * case.scale).masked_fill(~mask, -math.inf)
    lse = torch.logsumexp(scores, dim=-1)
    if given.sink is not None:
        lse = torch.logaddexp(lse, given.sink[:, None])
    weights = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0)[..., None])
    short = weights.to(dtype).float()
    out = torch.einsum("hqk,khd->qhd", short, value).to(dtype)
    delta = (grad * out.float()).sum(-1).T[..., None]
    inner = (weights * (torch.einsum("qhd,khd->hqk", grad, value) - delta)).to(dtype).float()
    grads = {
        "dq": torch.einsum("hqk,khd->qhd", inner, key) * case.scale,
        "dk": torch.einsum("hqk,qhd->khd", inner, query) * case.scale,
        "dv": torch.einsum("hqk,qhd->khd", short, grad),
    }
    shared = {name: grads[name].unflatten(1, (case.kv_heads, group)).sum(2) for name in ("dk", "dv")}
    return Result(out, None, {name: grad.to(dtype) for name, grad in (grads | shared).items()})


def sdpa(case: Case, given: Inputs, mask: Tensor) -> Result:
    """As torch computes it; a sink is one more key of value 0 with its logit as the mask's bias."""
    group = case.heads // case.kv_heads
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (given.query, given.key, given.value)]
    query, key, value = (tensor.transpose(0, 1)[None] for tensor in leaves)
    key, value = (tensor.repeat_interleave(group, dim=1) for tensor in (key, value))
    empty = ~mask.any(dim=-1)
    shown = mask | (empty[..., None] & torch.eye(case.tokens, device=mask.device, dtype=torch.bool))
    bias = torch.zeros(shown.shape, device=mask.device, dtype=query.dtype).masked_fill(~shown, -math.inf)
    if given.sink is not None:
        logit = given.sink.to(query.dtype)[:, None, None].expand(-1, case.tokens, 1)
        bias = torch.cat([bias, logit], dim=-1)
        key, value = (F.pad(tensor, (0, 0, 0, 1)) for tensor in (key, value))
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=_aligned(bias), scale=case.scale)
    out = out[0].transpose(0, 1).masked_fill(empty.T[..., None], 0)
    grads = torch.autograd.grad(out, leaves, given.grad.masked_fill(empty.T[..., None], 0))
    return Result(out.detach(), None, dict(zip(("dq", "dk", "dv"), grads, strict=True)))


def _aligned(bias: Tensor) -> Tensor:
    # The fused kernel wants rows that start at multiples of 16 bytes.
    columns = bias.shape[-1]
    return F.pad(bias, (0, -columns % 16))[..., :columns][None]
