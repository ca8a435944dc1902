"""Those we are measured against: FlexAttention, SDPA's cuDNN and flash kernels, and FA4's window where it installs."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch._dynamo
import torch._inductor.select_algorithm as autotune
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from attention.contender import Contender
from attention.problem import Problem
from longwatch.kernels import Dense, Global, Pattern, Sliding, Strided

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Seen = Callable[[Tensor, Tensor], Tensor]
AUTOTUNE = "max-autotune-no-cudagraphs"
# Else the mask's argsort becomes a Triton kernel that ptxas takes minutes over (pytorch/pytorch#182060).
MASK_OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"triton.persistent_reductions": False}


def prepare_compiler() -> None:
    """Lets FlexAttention compile as often as it asks for, and fails where it would fall back to its eager path."""
    torch._dynamo.config.recompile_limit = 4096
    torch._dynamo.config.accumulated_recompile_limit = 65536
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    autotune.PRINT_AUTOTUNE = False


def padded(problem: Problem) -> dict[str, Any]:
    """The problem's data as `[B, H, T, D]`, for documents of one length."""
    batch = len(problem.lengths)
    query, key, value, grad = (
        tensor.view(batch, -1, *tensor.shape[1:]).transpose(1, 2).contiguous() for tensor in problem.data()
    )
    return {
        "inputs": (query, key, value),
        "grad": grad,
        "packed": lambda tensor: tensor.transpose(1, 2).flatten(0, 1),
        "spread": lambda tensor: tensor.view(batch, 1, -1, 1),
    }


def _seen(part: Pattern) -> Seen:
    # Plain numbers in closures: dynamo need not read our classes.
    if isinstance(part, Sliding):
        span = part.span
        return lambda q, k: q - k < span
    if isinstance(part, Global):
        first = part.first
        return lambda _q, k: k < first
    if isinstance(part, Strided):
        stride, low = part.stride, part.stride - part.width
        return lambda _q, k: k % stride >= low
    assert isinstance(part, Dense)
    return lambda q, k: k <= q


def mask_mod(pattern: Pattern) -> MaskMod:
    """The pattern as FlexAttention wants it, with no gather and no class in it."""
    first, *others = (_seen(part) for part in pattern.parts)
    if not others:
        return lambda _b, _h, q, k: (k <= q) & first(q, k)
    second = others[0]
    if len(others) == 1:
        return lambda _b, _h, q, k: (k <= q) & (first(q, k) | second(q, k))
    third = others[1]
    return lambda _b, _h, q, k: (k <= q) & (first(q, k) | second(q, k) | third(q, k))


def block_mask(mod: MaskMod, tokens: int) -> BlockMask:
    """FlexAttention's own mask build, compiled; each new closure compiles anew, so keep one."""
    return mask_builder()(mod, None, None, tokens, tokens, "cuda")


@cache
def mask_builder(dynamic: bool = False) -> Callable[..., BlockMask]:
    """`create_block_mask`, compiled so that it compiles in seconds."""
    build: Callable[..., BlockMask] = torch.compile(create_block_mask, dynamic=dynamic, options=MASK_OPTIONS)
    return build


def flex(problem: Problem, mode: str | None = None) -> Contender:
    """Compiled FlexAttention with its mask already built."""
    mask = block_mask(mask_mod(problem.rule), problem.lengths[0])
    attend = torch.compile(flex_attention, dynamic=False, mode=mode)
    return Contender(lambda q, k, v: attend(q, k, v, block_mask=mask), **padded(problem))


def sdpa(problem: Problem, backend: SDPBackend) -> Contender:
    """Dense causal SDPA on one of its kernels."""

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)

    return Contender(run, **padded(problem))


def cudnn(problem: Problem) -> Contender:
    """SDPA through cuDNN, the strongest dense kernel that torch brings."""
    return sdpa(problem, SDPBackend.CUDNN_ATTENTION)


def flash(problem: Problem) -> Contender:
    """SDPA's built-in FlashAttention 2."""
    return sdpa(problem, SDPBackend.FLASH_ATTENTION)


def fa4_window(problem: Problem) -> Contender:
    """FlashAttention 4's local window (ImportError where it is not installed)."""
    from flash_attn.cute import flash_attn_func

    rule = problem.rule
    assert isinstance(rule, Sliding | Dense), "FA4's window knows sliding and dense alone"
    window = (rule.span - 1, 0) if isinstance(rule, Sliding) else (None, None)
    batch = len(problem.lengths)
    query, key, value, grad = (tensor.view(batch, -1, *tensor.shape[1:]) for tensor in problem.data())

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = flash_attn_func(query, key, value, causal=True, window_size=window)
        return output[0] if isinstance(output, tuple) else output

    pack = (lambda tensor: tensor.flatten(0, 1), lambda tensor: tensor.view(batch, -1, 1, 1))
    return Contender(run, (query, key, value), grad, *pack)
