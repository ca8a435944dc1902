"""A committed offset's metadata survives the broker, and what is not ours is refused by name and place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.checkpoint import VERSION, WITH_BUNDLES, Metadata, Position, decode_position
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.records import Partition
from longwatch.pipeline.window_state import NEVER_MS

LOGS = Partition("logs", "topic-uuid", 3)
OFFSETS = st.integers(0, 2**63 - 1)
DIGESTS = st.text("0123456789abcdef", min_size=16, max_size=16)
POSITIONS = st.builds(
    Position, OFFSETS, st.builds(Metadata, st.just(VERSION), OFFSETS, st.integers(NEVER_MS, 2**62), DIGESTS, DIGESTS)
)


@given(POSITIONS)
def test_a_position_survives_its_encoding(position):
    assert decode_position(LOGS, position.next_offset, position.encode_metadata()) == position


@given(POSITIONS)
def test_metadata_is_short_ascii_json_with_the_documented_names(position):
    text = position.encode_metadata()
    assert set(json.loads(text)) >= {"v", "replay_from", "event_time", "bundle", "config"}
    assert text.isascii()
    assert len(text) < 300


def test_an_offset_that_another_tool_set_replays_nothing_before_it():
    position = decode_position(LOGS, 17, "")
    assert position.next_offset == position.metadata.replay_from == 17
    assert position.metadata.event_time == NEVER_MS


@pytest.mark.parametrize(
    "metadata",
    [
        "hello",
        "{",
        "[]",
        "null",
        "{}",
        '{"v":1}',
        '{"v":1,"replay_from":"0","event_time":0,"bundle":"","config":""}',
        '{"v":1,"replay_from":0,"event_time":0,"bundle":null,"config":""}',
        '{"v":"1","replay_from":0,"event_time":0,"bundle":"","config":""}',
    ],
)
def test_metadata_that_is_not_ours_is_refused_at_its_topic_partition_and_offset(metadata):
    with pytest.raises(StateError, match=r"^logs\[3\]@17: .* not longwatch's") as caught:
        decode_position(LOGS, 17, metadata)
    assert "give the pipeline a name of its own" in caught.value.hint


@pytest.mark.parametrize("version", [0, WITH_BUNDLES + 1, 99])
def test_another_checkpoint_version_is_refused_at_its_topic_partition_and_offset(version):
    metadata = Position(17, Metadata(version, 0, 0, "b", "c")).encode_metadata()
    with pytest.raises(StateError, match=rf"^logs\[3\]@17: committed by checkpoint version {version}, .* reads 1"):
        decode_position(LOGS, 17, metadata)


def test_a_newer_version_with_other_fields_is_named_as_newer():
    metadata = json.dumps({"v": WITH_BUNDLES + 1, "replay": [1, 2], "state": "elsewhere"})
    with pytest.raises(StateError, match=rf"^logs\[3\]@17: committed by checkpoint version {WITH_BUNDLES + 1}"):
        decode_position(LOGS, 17, metadata)
