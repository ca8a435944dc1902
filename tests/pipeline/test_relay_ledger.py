"""What may be committed: never an offset behind a message that some target lacks."""

from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.ledger import Ledger
from longwatch.pipeline.relay.message import Letter, Record
from support.alert_messages import TOPIC

OTHER = Partition("alerts", "id", 1)


def record(offset: int, partition: Partition = TOPIC) -> Record:
    return Record(partition, offset, None, b"12345")


@given(st.data())
def test_a_commit_is_below_the_first_message_that_a_target_lacks_and_letters_come_once(data: st.DataObject):
    ledger, lacking, letters = Ledger(), {}, []
    gaps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=30))
    offset = 0
    for gap in gaps:
        lacking[offset] = {"a", "b"}
        ledger.add(record_at := record(offset), {"a", "b"})
        lacking[offset, "record"] = record_at
        offset += gap
        ledger.reach(TOPIC, offset)
    offsets = [each for each in lacking if isinstance(each, int)]
    for place, target in data.draw(st.permutations([(each, name) for each in offsets for name in "ab"])):
        letter = Letter(record(place), target, "rejected", "") if data.draw(st.booleans()) else None
        lacking[place].discard(target)
        ledger.done(lacking[place, "record"], target, letter)
        settled = ledger.settled()
        for committed in settled.offsets.values():
            assert all(not lacking[each] for each in offsets if each < committed)
            assert committed == offset or lacking[committed]
        assert all(each.record.offset < settled.offsets[TOPIC] for each in settled.letters)
        if data.draw(st.booleans()):
            ledger.committed(settled)
            letters += settled.letters
            assert not ledger.settled().letters
    settled = ledger.settled()
    ledger.committed(settled)
    assert (ledger.messages, ledger.bytes) == (0, 0)
    kept = [(each.record.offset, each.target) for each in (*letters, *settled.letters)]
    assert len(kept) == len(set(kept))


def test_a_commit_that_failed_is_settled_again_with_its_letters():
    ledger = Ledger()
    ledger.add(record(0), (), [Letter(record(0), "", "not_an_alert", "")])
    ledger.reach(TOPIC, 1)
    assert ledger.settled() == ledger.settled()
    assert len(ledger.settled().letters) == 1


def test_control_records_at_the_end_are_committed_too():
    ledger = Ledger()
    ledger.reach(TOPIC, 7)
    assert ledger.settled().offsets == {TOPIC: 7}


def test_a_result_of_an_earlier_life_changes_nothing():
    ledger, old, new = Ledger(), record(0), record(0)
    ledger.add(old, {"a"})
    ledger.forget(TOPIC)
    ledger.add(new, {"a"})
    ledger.reach(TOPIC, 1)
    ledger.done(old, "a")
    assert ledger.settled().offsets == {}
    ledger.done(new, "a")
    assert ledger.settled().offsets == {TOPIC: 1}


def test_only_the_partitions_that_go_are_settled_at_a_revoke():
    ledger = Ledger()
    for partition in (TOPIC, OTHER):
        ledger.add(record(0, partition), ())
        ledger.reach(partition, 1)
    assert ledger.settled([OTHER]).offsets == {OTHER: 1}
    assert (ledger.messages, ledger.bytes) == (2, 10)
