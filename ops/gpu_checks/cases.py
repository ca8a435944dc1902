"""Which cases: every pattern, length, kind of input and option, not every product of them."""

from itertools import product

from gpu_checks.case import DTYPES, INPUTS, Case

WIDTHS = (32, 64, 128)
PATTERNS = (
    "dense",
    "sliding(1)",
    "sliding(2)",
    "sliding(63)",
    "sliding(64)",
    "sliding(65)",
    "sliding(128)",
    "sliding(129)",
    "sliding(512)",
    "sliding(100000)",
    "global(1)",
    "global(100)",
    "strided(96, width=32)",
    "strided(64, width=64)",
    "strided(7, width=3)",
    "sliding(64) | global(16)",
    "sliding(100) | strided(96, width=32)",
    "sliding(128) | strided(256, width=64) | global(64)",
    "sliding(200) | global(200) | strided(50, width=50)",
    "sliding(5) | global(3) | dense",
)
MIXED = "sliding(70) | global(20)"
LENGTHS = (
    (),
    (0, 0),
    (1,),
    (63,),
    (64,),
    (65,),
    (1000,),
    (1, 2, 3) * 20,
    (127, 128, 129),
    (255, 0, 257),
    (20,) * 50,
    (1,) * 200,
)


def cases(dtype: str, width: int) -> list[Case]:
    """Those of one dtype and head width."""
    packed = (300, 1, 500, 0, 64)
    found = [Case((pattern,), packed, dtype, width) for pattern in PATTERNS]
    found += [Case((MIXED,), lengths, dtype, width) for lengths in LENGTHS]
    found += [
        Case((pattern,), (257, 100), dtype, width, inputs=inputs)
        for inputs, pattern in product(INPUTS, (MIXED, "dense", "strided(96, width=32)"))
    ]
    # Fresh numbers for the same few shapes.
    found += [Case((MIXED,), packed, dtype, width, seed=seed) for seed in range(1, 4)]
    return found + _heads(dtype, width) + _options(dtype, width) + _long(dtype, width) + _topk(dtype, width)


def _topk(dtype: str, width: int) -> list[Case]:
    return [
        Case(("topk(2, block=64)",), (700, 1, 64, 200), dtype, width),
        Case(("topk(3, block=64) | sliding(100)",), (700, 1, 65), dtype, width, 8, 2),
        Case(("topk(1, block=128) | global(10)",), (900, 130), dtype, width, 4, 4),
        Case(("topk(2, block=64)",), (500,), dtype, width, inputs="near_ties"),
        Case(("topk(20, block=64)",), (500, 63), dtype, width),
    ]


def _heads(dtype: str, width: int) -> list[Case]:
    packed = (200, 130)
    groups = ("sliding(40)", "dense")
    four = ("global(9)", "sliding(33) | strided(64, width=8)", "sliding(300)", "dense")
    return [
        *(Case((MIXED,), packed, dtype, width, heads, kv) for heads, kv in ((1, 1), (4, 4), (8, 2), (8, 1), (6, 2))),
        Case(groups, packed, dtype, width, 4, 2),
        Case(groups, packed, dtype, width, 4, 4),
        Case(four, packed, dtype, width, 8, 4),
        Case(four, packed, dtype, width, 4, 4, inputs="near_ties"),
    ]


def _options(dtype: str, width: int) -> list[Case]:
    packed = (300, 1, 65)
    patterns = (MIXED, "dense", "strided(96, width=32)")
    found = [Case((pattern,), packed, dtype, width, sink=True) for pattern in patterns]
    found += [Case((pattern,), packed, dtype, width, deterministic=False) for pattern in patterns]
    found += [Case((pattern,), packed, dtype, width, lse_grad=True) for pattern in patterns[:2]]
    return [
        *found,
        Case((MIXED,), packed, dtype, width, sink=True, lse_grad=True),
        Case((MIXED,), packed, dtype, width, sink=True, inputs="huge"),
        Case((MIXED,), packed, dtype, width, 8, 2, sink=True, deterministic=False),
        Case(("sliding(40)", "dense"), packed, dtype, width, sink=True),
    ]


def _long(dtype: str, width: int) -> list[Case]:
    # Long enough for heavy key columns to be cut in parts; two heads keep float64 small.
    heads = {"heads": 2, "kv_heads": 1}
    return [
        Case(("sliding(64) | global(100)",), (5000, 70), dtype, width, **heads),
        Case(("sliding(64) | global(100)",), (5000, 70), dtype, width, deterministic=False, **heads),
        Case(("dense",), (5000,), dtype, width, **heads),
        Case(("sliding(2048)",), (4500,), dtype, width, **heads),
    ]


def tiny_cases() -> list[Case]:
    """A handful that the interpreter can run on a CPU; it cuts bfloat16 off where a GPU rounds, so float16 alone."""
    shape = {"heads": 2, "kv_heads": 1, "width": 32}
    return [
        Case(("sliding(20) | global(3)",), (70, 1, 33), "float16", **shape),
        Case(("dense",), (65,), "float16", **shape),
        Case(("topk(1, block=64)",), (200, 30), "float16", **shape),
        Case(("strided(16, width=4)",), (40, 20), "float16", **shape),
        Case(("sliding(9)",), (1, 0, 2) * 12, "float16", sink=True, **shape),
        Case(("sliding(20)", "dense"), (66,), "float16", 32, 4, 2, lse_grad=True),
        Case((MIXED,), (), "float16", **shape),
    ]


SHARDS = tuple(product(DTYPES, WIDTHS))
