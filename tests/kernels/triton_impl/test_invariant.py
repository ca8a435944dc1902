import pytest
import torch
from torch.nn import functional as F

from longwatch.kernels.triton_impl.invariant import column_tile, invariant_linear, invariant_rms_norm

torch.manual_seed(0)
# Too wide for one step over K, and no multiple of it.
ROWS, WEIGHT = torch.randn(70, 80), torch.randn(40, 80)


def normed(rows: torch.Tensor) -> torch.Tensor:
    return rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + 1e-6)


def test_a_linear_layer_is_torchs():
    bias, residual = torch.randn(40), torch.randn(70, 40)
    found = invariant_linear(ROWS, WEIGHT, bias=bias, residual=residual)
    assert torch.allclose(found, F.linear(ROWS, WEIGHT, bias) + residual, atol=1e-4)


def test_a_norm_before_the_layer_is_folded_in():
    gain = torch.rand(80)
    found = invariant_linear(ROWS, WEIGHT * gain, norm_eps=1e-6)
    assert torch.allclose(found, F.linear(normed(ROWS) * gain, WEIGHT), atol=1e-4)


def test_gates_are_the_even_rows_of_the_weight():
    found = invariant_linear(ROWS, WEIGHT, norm_eps=1e-6, gated=True)
    product = F.linear(normed(ROWS), WEIGHT)
    assert torch.allclose(found, F.silu(product[:, ::2]) * product[:, 1::2], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [1, 3, 64, 65])
def test_a_row_depends_bitwise_on_itself_alone(dtype, rows):
    values, weight = ROWS.to(dtype), WEIGHT.to(dtype)
    options = {"norm_eps": 1e-6, "residual": torch.ones(70, 40, dtype=dtype)}
    whole = invariant_linear(values, weight, **options)
    options["residual"] = options["residual"][:rows]
    for first in (0, 70 - rows):
        part = invariant_linear(values[first : first + rows].contiguous(), weight, **options)
        assert torch.equal(part, whole[first : first + rows])


def test_nan_in_a_row_stays_there():
    values = ROWS.clone()
    values[5] = torch.nan
    found, clean = (invariant_linear(rows, WEIGHT, norm_eps=1e-6) for rows in (values, ROWS))
    others = torch.arange(70) != 5
    assert found[5].isnan().all()
    assert torch.equal(found[others], clean[others])


def test_no_rows_give_no_rows():
    assert invariant_linear(ROWS[:0], WEIGHT).shape == (0, 40)
    assert invariant_rms_norm(ROWS[:0], torch.ones(80)).shape == (0, 80)


def test_rms_norm_is_torchs_and_row_by_row():
    gain = torch.rand(80)
    found = invariant_rms_norm(ROWS, gain)
    assert torch.allclose(found, normed(ROWS) * gain, atol=1e-6)
    assert torch.equal(invariant_rms_norm(ROWS[7:8], gain)[0], found[7])


def test_few_rows_get_narrow_tiles_and_every_tile_divides():
    assert [column_tile(rows) for rows in (1, 300, 1000, 60_000)] == [16, 32, 64, 128]
    assert all(96 % column_tile(rows, 96) == 0 for rows in (1, 300, 1000, 60_000))
