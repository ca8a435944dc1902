import torch

from longwatch.kernels.triton_impl.embed import embed_rows

torch.manual_seed(0)
TABLES = (torch.randn(5, 24), torch.randn(3, 24), torch.randn(4, 24))
ROTARY = (torch.randn(2, 1024, 8), torch.randn(2, 1024, 8))


def numbers(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


AT = (numbers(4, 0, 2, 1), numbers(0, 1, 2, 2), numbers(3, 3, 0, 1))


def test_a_row_is_the_sum_of_its_rows_of_the_tables():
    out, _, _ = embed_rows(TABLES, AT, ROTARY, numbers(0, 1, 2, 0), 1, TABLES[0])
    assert torch.equal(out, TABLES[0][AT[0]] + TABLES[1][AT[1]] + TABLES[2][AT[2]])


def test_each_row_follows_the_one_before_it_and_the_first_the_start():
    source = embed_rows(TABLES, AT, ROTARY, numbers(0, 1, 2, 0), 1, TABLES[0])[2]
    assert source.tolist() == [0, 1, 2, 0]


def test_streams_know_where_they_are():
    slots, cursors, counts = numbers(1, 2), numbers(9, 0, 7), numbers(1, 2)
    position = numbers(9, 9, 9, 9)
    source = embed_rows(TABLES, AT, ROTARY, position, 4, TABLES[0], (slots, cursors, counts), 2)[2]
    assert position.tolist() == [0, -1, 7, 8]
    assert source.tolist() == [0, 0, 3, 6]


def test_rows_that_are_no_token_are_zeros():
    position = numbers(0, 0, 0, 0)
    out, angles, _ = embed_rows(
        TABLES, AT, ROTARY, position, 3, TABLES[0], (numbers(-1, 0), numbers(5, 5), numbers(2, 1)), 2
    )
    assert position.tolist() == [-1, -1, 5, -1]
    for tensor in (out, *angles):
        assert tensor[[0, 1, 3]].eq(0).all()
        assert tensor[2].ne(0).all()
