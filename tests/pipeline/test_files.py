import gzip
import io
import tracemalloc
from itertools import pairwise

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.sources.lines import CHUNK_BYTES, LineSplitter, read_lines
from longwatch.pipeline.sources.partitioner import murmur2, partition_of
from longwatch.pipeline.sources.zstd_frames import is_whole
from support.records import decoder_of

TOPIC = TopicShape("logs")
DECODER = decoder_of(
    {"text": {"header": r"(?P<time>\S+) (?P<message>.*)", "timestamp": {"format": "epoch_s", "from": "{time}"}}},
    {"pattern": r"(?P<entity>user\d+)"},
)


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


def drain(source):
    while batches := source.poll():
        yield from batches


def values(source):
    return [value for batch in drain(source) for value in batch.frame["value"]]


def by_partition(source):
    found = {}
    for batch in drain(source):
        found.setdefault(batch.partition.partition, []).append(batch.frame)
    return {number: pl.concat(frames) for number, frames in found.items()}


def zstd(content):
    return zstandard.ZstdCompressor().compress(content)


def test_the_nth_line_has_offset_n(write):
    source = FilesSource([write("a.log", b"a\nb\nc\n")], TOPIC, arrival_ms=7, poll_records=2)
    first, second = drain(source)
    assert first.partition == Partition("logs", "file:logs", 0)
    assert (first.frame["offset"].to_list(), first.next_offset) == ([0, 1], 2)
    assert (second.frame["offset"].to_list(), second.next_offset) == ([2], 3)
    assert first.frame["timestamp_ms"].to_list() == [7, 7]
    assert source.exhausted


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd, lambda content: zstd(content[:3]) + zstd(content[3:])])
def test_files_are_read_plain_or_compressed_by_what_they_hold(write, pack):
    assert values(FilesSource([write("x", pack(b"one\ntwo\r\n\nfour"))], TOPIC)) == [b"one", b"two", b"", b"four"]


def test_an_empty_file_has_no_lines(write):
    source = FilesSource([write("a.log", b"")], TOPIC)
    assert not source.exhausted
    assert source.poll() == []
    assert source.exhausted


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=6).map(b"\n".join), st.lists(st.integers(1, 9)), st.integers(1, 8))
def test_lines_do_not_depend_on_the_pieces_they_come_in(content, sizes, max_bytes):
    splitter, stream = LineSplitter(max_bytes), io.BytesIO(content)
    lines = [line for size in sizes for line in splitter.feed(stream.read(size))]
    lines += splitter.feed(stream.read()) + splitter.finish()
    expected = content.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    assert lines == [line[: max_bytes + 1].removesuffix(b"\r") for line in expected]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_compressed_endless_line_is_cut_behind_max_bytes_in_bounded_memory(write, pack):
    path = write("bomb", pack(b"x" * (64 << 20) + b"\nnext\n"))
    tracemalloc.start()
    lengths = [len(line) for lines in read_lines(path, 100) for line in lines]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lengths == [101, 4]
    assert peak < 16 * CHUNK_BYTES


def test_a_line_that_was_cut_is_too_large_for_decode(write):
    path = write("a.log", b"1 user1 " + b"x" * (2 << 20) + b"\n1 user1 ok\n")
    (batch,) = drain(FilesSource([path], TOPIC))
    decoded = DECODER.decode(batch.frame)
    assert decoded.rejected["reason"].to_list() == ["too_large"]
    assert decoded.events["offset"].to_list() == [1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.gz", gzip.compress(bytes(range(256)) * 99)[:-20]),
        ("broken.gz", b"\x1f\x8b" + b"\0" * 50),
        ("broken.zst", zstd(b"abc")[:4] + b"\xff" * 50),
        ("cut.zst", zstd(bytes(range(256)) * 99)[:-20]),
    ],
)
def test_a_damaged_file_says_where_it_broke(write, name, content):
    with pytest.raises(InputError, match=rf"{name}:\d+: cannot read on"):
        values(FilesSource([write(name, content)], TOPIC))


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("content", [b"", b"a\n", b"x" * 300_000, bytes(range(256)) * 2000])
def test_a_zstd_file_is_whole_at_its_full_length_only(checksum, content):
    packed = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=checksum).compress(content)
    skippable = (0x184D2A50).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"ab"
    for whole in (packed, packed + packed, skippable + packed):
        assert is_whole(io.BytesIO(whole))
        assert not is_whole(io.BytesIO(whole[:-1]))
        assert not is_whole(io.BytesIO(whole[: len(whole) - len(packed) // 2 - 1]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.log"):
        values(FilesSource([tmp_path / "missing.log"], TOPIC))


def test_files_that_do_not_overlap_come_one_after_the_other_whatever_order_they_are_named_in(write):
    late, early = write("late", b"30 user1 c\n40 user1 d"), write("early", b"10 user1 a\n20 user1 b\n")
    for paths in ([late, early], [early, late]):
        assert [value[:2] for value in values(FilesSource(paths, TOPIC, DECODER))] == [b"10", b"20", b"30", b"40"]


def test_overlapping_files_are_merged_by_event_time_with_ties_in_the_order_named(write):
    first, second = write("a", b"10 user1 a\n20 user1 a\n"), write("b", b"10 user2 b\n15 user2 b\n30 user2 b\n")
    merged = values(FilesSource([first, second], TOPIC, DECODER))
    assert merged == [b"10 user1 a", b"10 user2 b", b"15 user2 b", b"20 user1 a", b"30 user2 b"]


def test_a_line_without_a_time_stays_behind_the_line_before_it(write):
    first, second = write("a", b"header\n10 user1 a\n  at main\n30 user1 a\n"), write("b", b"20 user2 b\n")
    merged = values(FilesSource([first, second], TOPIC, DECODER))
    assert merged == [b"header", b"10 user1 a", b"  at main", b"20 user2 b", b"30 user1 a"]


TIMES = st.lists(st.integers(0, 30), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(TIMES, min_size=2, max_size=3), st.integers(1, 7))
def test_a_merge_keeps_every_line_and_the_order_of_each_file(tmp_path_factory, files, poll_records):
    folder = tmp_path_factory.mktemp("merge")
    paths = []
    for index, times in enumerate(files):
        paths.append(folder / str(index))
        paths[-1].write_text("".join(f"{time} user{index} {row}\n" for row, time in enumerate(times)))
    merged = [line.decode().split() for line in values(FilesSource(paths, TOPIC, DECODER, poll_records=poll_records))]
    assert len(merged) == sum(map(len, files))
    for index, times in enumerate(files):
        assert [int(time) for time, user, _ in merged if user == f"user{index}"] == times
    if all(times == sorted(times) for times in files):
        assert all(int(a[0]) <= int(b[0]) for a, b in pairwise(merged))


KEYED = b"".join(b"%d user%d line\n" % (time, time % 5) for time in range(40)) + b"no entity\n"


def test_lines_of_several_partitions_are_placed_by_their_entity_and_numbered_in_each(write):
    source = FilesSource([write("a", KEYED)], TopicShape("logs", "id", 3), DECODER, poll_records=7)
    found = by_partition(source)
    assert sum(map(len, found.values())) == 41
    for number, frame in found.items():
        assert frame["offset"].to_list() == list(range(len(frame)))
        keys = [key for key in frame["key"] if key is not None]
        assert {partition_of(key, 3) for key in keys} <= {number}
    assert found[0].row(-1, named=True)["value"] == b"no entity"
    assert found[0].row(-1, named=True)["key"] is None


@pytest.mark.parametrize("poll_records", [1, 7, 1000])
def test_seeking_reads_the_same_records_again(write, poll_records):
    source = FilesSource([write("a", KEYED)], TopicShape("logs", "", 3), DECODER, poll_records=poll_records)
    whole = by_partition(source)
    source.seek(source.partitions[1], 2)
    assert not source.exhausted
    again = by_partition(source)
    assert again.keys() == {1}
    assert again[1].equals(whole[1][2:])
    source.seek(source.partitions[0], 0)
    source.seek(source.partitions[2], len(whole[2]) - 1)
    again = by_partition(source)
    assert again[0].equals(whole[0])
    assert again[2].equals(whole[2][-1:])


def test_seeking_forward_skips(write):
    source = FilesSource([write("a.log", b"a\nb\nc\n")], TOPIC, poll_records=1)
    source.seek(source.partitions[0], 2)
    assert values(source) == [b"c"]


def test_several_files_or_partitions_need_a_decoder(tmp_path):
    with pytest.raises(ValueError, match="decoder"):
        FilesSource([tmp_path / "a", tmp_path / "b"], TOPIC)
    with pytest.raises(ValueError, match="decoder"):
        FilesSource([tmp_path / "a"], TopicShape("logs", "", 2))


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_hashes_that_kafka_publishes(key, signed):
    assert murmur2(key) == signed % (1 << 32)
