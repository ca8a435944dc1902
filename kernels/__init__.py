"""Block-sparse attention over packed documents: patterns, plans and what runs them. Knows nothing of logs.

Patterns need no torch; the rest of the room loads it on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from longwatch.kernels.pattern import (
    Dense,
    Global,
    Pattern,
    Sliding,
    Strided,
    TopK,
    Union,
    receptive_field,
)
from longwatch.kernels.pattern_text import PatternError, parse_pattern

if TYPE_CHECKING:
    from longwatch.kernels.api import block_sparse_attention, plan_on_device
    from longwatch.kernels.gather import gather_attention
    from longwatch.kernels.packed import packed_gather_attention
    from longwatch.kernels.plan import FULL, PARTIAL, Plan, build_plan
    from longwatch.kernels.reference import reference_attention

__all__ = [
    "FULL",
    "PARTIAL",
    "Dense",
    "Global",
    "Pattern",
    "PatternError",
    "Plan",
    "Sliding",
    "Strided",
    "TopK",
    "Union",
    "block_sparse_attention",
    "build_plan",
    "gather_attention",
    "packed_gather_attention",
    "parse_pattern",
    "plan_on_device",
    "receptive_field",
    "reference_attention",
]

_HOME = {
    "FULL": "plan",
    "PARTIAL": "plan",
    "Plan": "plan",
    "block_sparse_attention": "api",
    "build_plan": "plan",
    "gather_attention": "gather",
    "packed_gather_attention": "packed",
    "plan_on_device": "api",
    "reference_attention": "reference",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
