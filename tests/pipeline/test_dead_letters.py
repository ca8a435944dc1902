"""Dead letters: what they say, which are meant, and what of them goes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.commands.dlq_list import line_of
from longwatch.pipeline.dead_letters import PREVIEW_CHARACTERS, Choice, DeadLetter, replays_so_far


def letter(offset: int = 3, value: bytes = b"line", timestamp_ms: int = 1_000, **said: str) -> DeadLetter:
    named = {"reason": "header_mismatch", "topic": "logs", "partition": "2", "offset": "120"} | said
    headers = {f"longwatch.{name}": text.encode() for name, text in named.items()}
    return DeadLetter("app.dlq", 0, offset, timestamp_ms, b"k", value, headers)


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (Choice(), True),
        (Choice(reasons=["header_mismatch", "x"]), True),
        (Choice(reasons=["x"]), False),
        (Choice(partitions=[2]), True),
        (Choice(partitions=[0]), False),
        (Choice(positions=["app.dlq[0]@3"]), True),
        (Choice(positions=["app.dlq[0]@4"]), False),
        (Choice(since_ms=1_000), True),
        (Choice(since_ms=1_001), False),
        (Choice(reasons=["header_mismatch"], partitions=[1]), False),
    ],
)
def test_filters_are_all_met(choice: Choice, meant: bool):
    assert choice.means(letter()) is meant


def test_the_original_goes_back_into_its_partition_and_elsewhere_by_its_key():
    assert letter().to("logs", 1).partition == 2
    elsewhere = letter().to("other", 1)
    assert (elsewhere.partition, elsewhere.key, elsewhere.value) == (None, b"k", b"line")


def test_what_goes_back_says_where_it_came_from_and_how_often():
    headers = dict(letter().to("logs", 2).headers)
    assert headers == {"longwatch.replayed_from": b"app.dlq[0]@3", "longwatch.replays": b"2"}
    assert replays_so_far(headers) == 2


@given(st.binary())
def test_a_lying_count_is_none(text: bytes):
    assert replays_so_far({"longwatch.replays": text}) >= 0


@pytest.mark.parametrize("said", [{"truncated": "true"}, {"reason": "unreadable_records"}])
def test_a_letter_without_all_the_bytes_is_not_whole(said: dict[str, str]):
    assert letter().whole
    assert not letter(**said).whole


@given(st.binary(max_size=5000), st.text())
def test_a_line_is_one_harmless_short_line_whatever_the_bytes(value: bytes, origin: str):
    preview = letter(value=value).preview
    assert len(preview) <= PREVIEW_CHARACTERS
    assert preview.isprintable() or all(char.isprintable() or char == "\ufffd" or ord(char) > 0x7F for char in preview)
    assert "\x1b" not in preview
    strange = DeadLetter("t", 0, 0, 0, None, value, {"longwatch.partition": origin.encode("utf-8", "replace")})
    assert strange.origin is None
    assert "no reason given" in line_of(strange)


def test_a_line_names_letter_reason_origin_and_beginning():
    shown = line_of(letter(value=b"\x1b[31mred\n" + b"x" * 100, original_bytes="900000", target="pager"))
    assert shown.startswith(
        "app.dlq[0]@3  1970-01-01T00:00:01.000Z  header_mismatch for pager  logs[2]@120  900000 bytes"
    )
    assert "\\x1b[31mred\\x0axxx" in shown
    assert shown.endswith("...")
