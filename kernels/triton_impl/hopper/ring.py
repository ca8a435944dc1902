"""What the Hopper kernels share: whose turn it is, tiles, the ring of 64-row blocks in shared memory, edge masks."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma

__all__ = [
    "copy_block",
    "ends_of",
    "keep_columns",
    "mask_scores",
    "online_rows",
    "open_barriers",
    "skip",
    "span",
    "start_rows",
    "store_block",
    "store_rows",
    "tile_of",
    "trim",
    "turn_of",
]


@gluon.jit
def turn_of(lap, programs):
    """The work of a lap; every second lap runs backwards, which shares out the long tiles, the first ones."""
    program = gl.program_id(0)
    return lap * programs + (programs - 1 - program if lap & 1 else program)


@gluon.jit
def tile_of(work, works, tiles, rows, tile_count, HEADS: gl.constexpr, PATTERN_HEADS: gl.constexpr):
    """Head, first row, stop row, document start and stop, and the entries of a work; all zero where there is none."""
    there = work < works
    head = work % HEADS
    tile = tiles + work // HEADS * 4
    first = gl.load(tile, mask=there, other=0)
    stop = gl.load(tile + 1, mask=there, other=0)
    document = gl.load(tile + 2, mask=there, other=0)
    document_stop = gl.load(tile + 3, mask=there, other=0)
    row = rows + (head // PATTERN_HEADS * tile_count + work // HEADS) * 2
    begin = gl.load(row, mask=there, other=0)
    end = gl.load(row + 1, mask=there, other=0)
    return head, first, stop, document, document_stop, begin, end


@gluon.jit
def ends_of(begin, end, entries):
    """The first and the last entry of a list, 0 of an empty one."""
    there = begin < end
    return gl.load(entries + begin, mask=there, other=0), gl.load(entries + end - 1, mask=there, other=0)


@gluon.jit
def trim(first_entry, last_entry, count, HALF: gl.constexpr):
    """How many blocks at the start and at the end of a list of `count` only the other half sees."""
    lead = 0
    trail = 0
    if (first_entry >> 2 * HALF & 3) == 0:
        lead = gl.minimum(1, count)
    if (last_entry >> 2 * HALF & 3) == 0:
        trail = gl.minimum(1, count - lead)
    return lead, trail


@gluon.jit
def skip(step, count, full, empty, STAGES: gl.constexpr):
    """Hands blocks back unread."""
    for _ in range(0, count):
        mbarrier.wait(full.index(step % STAGES), step // STAGES & 1)
        mbarrier.arrive(empty.index(step % STAGES), count=1)
        step += 1
    return step


@gluon.jit
def copy_block(
    whole, cut, at, whole_smem, cut_smem, full, tail, tails, inside, BYTES: gl.constexpr, CUT_BOTH: gl.constexpr = False
):  # fmt: skip
    """Copies two blocks of BYTES into a stage; behind the document's end `cut` becomes zeros, since 0 * NaN is NaN.

    `inside` is how many rows the document has from the block's first on; `tails` how often this has happened.
    """
    if inside >= 64:
        mbarrier.expect(full, BYTES)
        tma.async_copy_global_to_shared(whole, at, full, whole_smem)
        tma.async_copy_global_to_shared(cut, at, full, cut_smem)
    else:
        mbarrier.expect(tail, BYTES)
        tma.async_copy_global_to_shared(whole, at, tail, whole_smem)
        tma.async_copy_global_to_shared(cut, at, tail, cut_smem)
        mbarrier.wait(tail, tails & 1)
        tails += 1
        _zero_behind(cut_smem, inside)
        if CUT_BOTH:
            _zero_behind(whole_smem, inside)
        fence_async_shared()
        mbarrier.arrive(full, count=1)
    return tails


@gluon.jit
def _zero_behind(block, inside):
    """Zeros in the rows from `inside` on, by one warp, eight rows at a time: it has few registers."""
    D: gl.constexpr = block.shape[1]
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [1, 1], [1, 0])
    place = gl.arange(0, 8, layout=gl.SliceLayout(1, layout))
    for group in gl.static_range(8):
        if inside < 8 * group + 8:
            rows = block.slice(8 * group, 8, 0)
            kept = rows.load(layout)
            rows.store(gl.where((8 * group + place < inside)[:, None], kept, gl.zeros_like(kept)))


@gluon.jit
def span(kind, band):
    """The band that an entry of this kind is held to; a block that data chose is only causal."""
    return gl.where((kind & 1) != 0, 1 << 30, band)


@gluon.jit
def keep_columns(values, low, high, needs_low, needs_high, other, layout: gl.constexpr):
    """values [M, 64] where low < column <= high, by row [M]; one compare with a constant an element and edge."""
    place = gl.arange(0, 64, layout=gl.SliceLayout(0, layout))[None, :]
    if needs_high:
        values = gl.where(place <= high[:, None], values, other)
    if needs_low:
        values = gl.where(place > low[:, None], values, other)
    return values


@gluon.jit
def mask_scores(
    scores, row, start, first, band, column, HAS_COLUMNS: gl.constexpr, layout: gl.constexpr
):  # fmt: skip
    """Scores, -inf where a row does not see a key; row [64] is the query's place, first that of row 0."""
    high = row - start
    if HAS_COLUMNS:
        place = gl.arange(0, 64, layout=gl.SliceLayout(0, layout))
        near = (place[None, :] > (high - band)[:, None]) | (gl.load(column + start + place) != 0)[None, :]
        scores = gl.where((place[None, :] <= high[:, None]) & near, scores, float("-inf"))
    else:
        needs_low = start < first + 64 - band
        needs_high = start + 63 > first
        scores = keep_columns(scores, high - band, high, needs_low, needs_high, float("-inf"), layout)
    return scores


@gluon.jit
def open_barriers(STAGES: gl.constexpr, WRITERS: gl.constexpr = 1):
    """Full and empty barriers of two tile slots, then of the stages, filled by WRITERS and handed back by both halves.

    The last one is the copying warp's own, for blocks that it must cut.
    """
    tile_full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    tile_empty = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for slot in gl.static_range(2):
        mbarrier.init(tile_full.index(slot), count=1)
        mbarrier.init(tile_empty.index(slot), count=2)
    for stage in gl.static_range(STAGES):
        mbarrier.init(full.index(stage), count=WRITERS)
        mbarrier.init(empty.index(stage), count=2)
    tail = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    mbarrier.init(tail, count=1)
    fence_async_shared()
    return tile_full, tile_empty, full, empty, tail


@gluon.jit
def start_rows(sink, HAS_SINK: gl.constexpr, layout: gl.constexpr):
    """Running maximum (base 2) and sum [64] before any key, as the portable `start_softmax`; sink is a pointer."""
    if HAS_SINK:
        row_max = gl.full([64], 0.0, gl.float32, layout) + gl.load(sink) * 1.4426950408889634
        row_sum = gl.full([64], 1.0, gl.float32, layout)
    else:
        row_max = gl.full([64], float("-inf"), gl.float32, layout)
        row_sum = gl.full([64], 0.0, gl.float32, layout)
    return row_max, row_sum


@gluon.jit
def online_rows(scores, row_max, scale_log2):
    """The portable `online_softmax`, operation by operation, without its sum, which may be added under a product."""
    new_max = gl.maximum(row_max, gl.max(scores, 1) * scale_log2)
    shift = gl.where(new_max == float("-inf"), 0.0, new_max)
    weights = gl.exp2(gl.fma(scores, scale_log2, -shift[:, None]))
    rescale = gl.exp2(row_max - shift)
    return weights, new_max, rescale


@gluon.jit
def store_rows(out, lse, acc, row_max, row_sum, first, stop, head, tokens, HEADS: gl.constexpr, D: gl.constexpr):
    """Stores a half's output and log-sum-exp; sums are divided out here."""
    out_row: gl.constexpr = gl.SliceLayout(1, acc.type.layout)
    query_at = first + gl.arange(0, 64, layout=row_max.type.layout)
    natural = gl.where(row_sum > 0, (row_max + gl.log2(row_sum)) * 0.6931471805599453, float("-inf"))
    gl.store(lse + head * tokens + query_at, natural, mask=query_at < stop)
    acc = acc * gl.convert_layout(1.0 / gl.where(row_sum > 0, row_sum, 1.0), out_row)[:, None]
    store_block(out, acc, first, stop, head, HEADS, D)


@gluon.jit
def store_block(to, values, first, stop, head, HEADS: gl.constexpr, D: gl.constexpr):
    """Stores values [64, D] of one head as rows `first` to `stop` of to [T, HEADS, D].

    By way of shared memory: as a product leaves them, a warp's store touches eight rows in 16 bytes each.
    """
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    values = gl.convert_layout(values.to(to.dtype.element_ty), layout)
    row = gl.arange(0, 64, layout=gl.SliceLayout(1, layout))[:, None]
    lane = gl.arange(0, D, layout=gl.SliceLayout(0, layout))[None, :]
    corner = to + (first.to(gl.int64) * HEADS + head) * D
    gl.store(corner + row * (HEADS * D) + lane, values, mask=row < stop - first)
