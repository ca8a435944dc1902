import torch
from torch.nn import functional as F

from longwatch.kernels.triton_impl.surprise import class_surprise

torch.manual_seed(0)
CLASSES = 70  # more than two partial sums
BUFFER, TABLE, BIAS = torch.randn(9, 32), torch.randn(CLASSES, 32), torch.randn(CLASSES)
SOURCE = torch.tensor([0, 5, 2, 8], dtype=torch.int32)
TARGET = torch.tensor([0, 69, 31, 32], dtype=torch.int32)


def test_surprise_is_minus_log_softmax_of_the_class_that_came():
    rows = BUFFER[SOURCE]
    logits = F.linear(rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + 1e-6), TABLE, BIAS)
    expected = F.cross_entropy(logits, TARGET.long(), reduction="none")
    assert torch.allclose(class_surprise(BUFFER, SOURCE, TABLE, BIAS, TARGET, 1e-6), expected, atol=1e-4)


def test_surprise_depends_bitwise_on_its_own_row_alone():
    whole = class_surprise(BUFFER, SOURCE, TABLE, BIAS, TARGET, 1e-6)
    for row in range(4):
        one = slice(row, row + 1)
        assert torch.equal(class_surprise(BUFFER, SOURCE[one], TABLE, BIAS, TARGET[one], 1e-6), whole[one])


def test_huge_logits_and_certain_classes_are_numbers():
    table = torch.zeros(CLASSES, 32)
    table[3] = 1e4
    target = torch.tensor([3, 4], dtype=torch.int32)
    found = class_surprise(torch.ones(1, 32), torch.zeros(2, dtype=torch.int32), table, BIAS, target, 1e-6)
    assert found[0] == 0
    assert found[1].isfinite()
    assert found[1] > 1e4


def test_streams_go_on_by_their_counts_and_keep_their_newest_row():
    buffer = torch.arange(1 + 3 + 4.0)[:, None].repeat(1, 32)
    slots, counts = torch.tensor([2, -1], dtype=torch.int32), torch.tensor([1, 2], dtype=torch.int32)
    cursors = torch.tensor([7, 7, 7], dtype=torch.int32)
    source = torch.tensor([3, 4, 0, 0], dtype=torch.int32)
    found = class_surprise(buffer, source, TABLE, BIAS, TARGET, 1e-6, streams=(slots, cursors, counts), chunk=2, base=4)
    assert found[0] > 0
    assert found[1:].eq(0).all()
    assert cursors.tolist() == [7, 7, 8]
    assert buffer[:, 0].tolist() == [0, 1, 2, 4, 4, 5, 6, 7]
