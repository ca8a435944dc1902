import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.siphash import siphash13
from longwatch.pipeline.template_leaves import LeafTable, leaves
from longwatch.pipeline.template_masks import Masks
from longwatch.pipeline.templates import TemplateMatcher, TemplateSet

WORDS = ["disk", "net", "up", "down", "at", "7", "10.0.0.1:80", "user", "ann", "bob", "cyd", "12 KB", "id=3", "()"]
LINES = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=30)


def texts_by_row(table, messages):
    """The leaf of each row, as a reader of the numbers puts them together."""
    known, rows = [], []
    for piece in table.number(pl.Series(messages, dtype=pl.String)):
        known = [*([] if piece.anew else known), *piece.new_leaves]
        rows += [known[number] for number in piece.numbers]
    return rows


@settings(max_examples=200, deadline=None)
@given(LINES, st.integers(1, 6))
def test_a_full_table_starts_anew_and_still_gives_every_row_its_leaf(lines, limit):
    assert texts_by_row(LeafTable(limit=limit), lines) == [leaves(pl.Series([line]))[0] for line in lines]


def test_each_leaf_is_given_out_once():
    table = LeafTable()
    messages = pl.Series(["took 7 tries", "took 8 tries", longer := "stopped after many tries", "took 9 tries"])
    assert [piece.new_leaves for piece in table.number(messages)] == [["took <*> tries", longer]]
    assert [(list(piece.numbers), piece.new_leaves) for piece in table.number(messages)] == [([0, 0, 1, 0], [])]


def test_leaves_whose_hashes_collide_keep_their_own_numbers():
    table, leaf = LeafTable(), b"stopped"
    next(table.number(pl.Series(["started"])))
    words = np.zeros(2, np.uint64)
    words.view(np.uint8)[: len(leaf)] = np.frombuffer(leaf, np.uint8)
    arrays = table._table
    arrays.hashes[0] = siphash13(words, len(leaf), table._key)
    arrays.slots.fill(0)
    arrays.slots[int(arrays.hashes[0]) & len(arrays.slots) - 1] = 1
    piece = next(table.number(pl.Series(["stopped"])))
    assert (list(piece.numbers), piece.new_leaves) == ([1], ["stopped"])


def test_no_two_tables_hash_alike():
    assert bytes(LeafTable()._key) != bytes(LeafTable()._key)


def test_a_flood_of_long_leaves_stays_within_the_arena():
    table = LeafTable(limit=4)
    flood = ["word " * 300 + "x" * number for number in range(50)]
    assert texts_by_row(table, flood) == leaves(pl.Series(flood)).to_list()


def test_masks_of_the_user_count_as_characters_of_the_message():
    piece = next(LeafTable(Masks((r"job \w+",))).number(pl.Series(["é job abc"])))
    assert (piece.new_leaves, list(piece.chars)) == (["é <*>"], [9])


@settings(max_examples=100, deadline=None)
@given(LINES, st.integers(1, 3), st.randoms(use_true_random=False))
def test_shuffling_lines_changes_no_id(lines, above, random):
    order = list(range(len(lines)))
    random.shuffle(order)
    shuffled = [lines[row] for row in order]
    ids = [learned_ids(each, above) for each in (lines, shuffled)]
    assert [ids[0][row] for row in order] == ids[1]


def learned_ids(lines, above):
    messages = pl.Series(lines, dtype=pl.String)
    matcher = TemplateMatcher(TemplateSet.learn(leaves(messages), merge_above=above), cached_leaves=3)
    return matcher.match(messages)["template_id"].to_list()


@pytest.mark.parametrize("sliced", [slice(2, 5), slice(0, 0)])
def test_a_slice_of_a_column_is_read_as_its_own_rows(sliced):
    messages = pl.Series(["a", "b c", "d", "é f", "g", "h"])
    assert leaves(messages[sliced]).to_list() == messages.to_list()[sliced]
