import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels import Pattern, parse_pattern, reference_attention

TEXTS = ["dense", "sliding(3)", "strided(4, width=1)", "topk(1, block=2)", "topk(1, block=3) | sliding(2)"]
PATTERNS = pytest.mark.parametrize("pattern", [parse_pattern(text) for text in TEXTS], ids=TEXTS)
BOUNDS = torch.tensor([0, 5, 5, 6, 13])


def draw(heads: int = 2, kv_heads: int = 1, width: int = 4) -> list[Tensor]:
    torch.manual_seed(heads)
    shapes = [(13, count, width) for count in (heads, kv_heads, kv_heads)]
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return [tensor.requires_grad_() for tensor in (*tensors, torch.randn(heads, dtype=torch.float64))]


def both(pattern: Pattern, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    query, key, value, sink = inputs
    return reference_attention(query, key, value, pattern, BOUNDS, sink=sink, return_lse=True)


@pytest.mark.parametrize("pattern", [parse_pattern(text) for text in TEXTS[:3]], ids=TEXTS[:3])
def test_output_and_lse_have_the_gradients_of_finite_differences(pattern: Pattern) -> None:
    assert torch.autograd.gradcheck(lambda *inputs: both(pattern, *inputs), draw())


@PATTERNS
def test_a_sink_is_a_key_with_a_value_of_zero(pattern: Pattern) -> None:
    query, key, value, sink = draw()
    plain, lse = reference_attention(query, key, value, pattern, BOUNDS, return_lse=True)
    out, with_sink = both(pattern, query, key, value, sink)
    torch.testing.assert_close(with_sink, torch.logaddexp(lse, sink))
    torch.testing.assert_close(out, plain * torch.exp(lse - with_sink)[..., None])


@PATTERNS
def test_a_sink_far_below_changes_nothing(pattern: Pattern) -> None:
    query, key, value, sink = draw()
    plain = reference_attention(query, key, value, pattern, BOUNDS)
    torch.testing.assert_close(both(pattern, query, key, value, sink - 1e4)[0], plain, rtol=0, atol=0)


def test_a_query_that_sees_no_key_gives_zero_and_the_sink() -> None:
    pattern = parse_pattern("strided(4, width=1)")
    query, key, value, sink = draw()
    out, lse = both(pattern, query, key, value, sink)
    torch.testing.assert_close(lse[:3], sink.expand(3, -1))
    assert torch.equal(out[:3], torch.zeros_like(out[:3]))
    slopes = torch.autograd.grad(out[:3].sum() + lse[:3].sum(), [query, key, value, sink])
    assert all(bool((slope == 0).all()) for slope in slopes[:3])
    assert torch.equal(slopes[3], torch.full_like(sink, 3))


def test_weights_are_softmax_over_the_logits_and_the_sink() -> None:
    query, key, value, sink = draw(1, 1)
    out, _ = both(parse_pattern("dense"), query, key, value, sink)
    logits = torch.cat([query[10, 0] @ key[6:11, 0].T / 2, sink])
    torch.testing.assert_close(out[10, 0], F.softmax(logits, dim=0)[:-1] @ value[6:11, 0])


def test_an_error_names_the_sink() -> None:
    query, key, value, _ = draw()
    for sink in (torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1)):
        with pytest.raises(ValueError, match=r"sink: expected floating \[2\], a logit per head, got"):
            reference_attention(query, key, value, parse_pattern("dense"), BOUNDS, sink=sink)
