"""The comparison of `verify`: any planted fault is found, whatever order is free stays free, clean topics are clean."""

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.verify.comparison import Upto
from longwatch.pipeline.verify.fields import SCORE_TOLERANCE
from longwatch.pipeline.verify.findings import Fault
from longwatch.pipeline.verify.record import Content, Written, identify
from support.verifying import PARTITIONS, compared, comparison, contents, scope, topic_of

COMPARED = [kind for kind in Kind if not kind.is_record]
KINDS = st.sampled_from(COMPARED)

patient = settings(deadline=None)


def faults(written: list[Written], kind: Kind = Kind.ALERT) -> Counter[Fault]:
    return Counter(each.fault for each in compared(written, kind).differences)


def alert_of(content: Content) -> Alert:
    return msgspec.json.decode(content.value, type=Alert)


def with_alert(content: Content, **changes: object) -> Content:
    return replace(content, value=msgspec.structs.replace(alert_of(content), **changes).encode())


def test_the_sample_has_every_kind_of_output():
    assert {kind: len(contents(kind)) > 1 for kind in COMPARED} == dict.fromkeys(COMPARED, True)
    assert {alert_of(each).lifecycle for each in contents()} == {"open", "update", "close"}


@pytest.mark.parametrize("kind", COMPARED)
def test_what_a_worker_writes_is_clean(kind):
    findings = compared(topic_of(contents(kind)), kind)
    assert (findings.total, findings.checked[kind], findings.rounded) == (0, len(contents(kind)), 0)


@patient
@given(data=st.data())
def test_the_order_between_input_partitions_does_not_matter(data):
    """Two partitions' outputs shuffled into one topic as cards are, each partition's own order kept."""
    parts = [[each for each in contents() if identify(Kind.ALERT, each).source == at] for at in PARTITIONS]
    deal = data.draw(st.permutations([0] * len(parts[0]) + [1] * len(parts[1])))
    mixed = [parts[number].pop(0) for number in deal]
    assert faults(topic_of(mixed)) == {}


@patient
@given(data=st.data())
def test_alerts_may_lie_in_any_partition_of_the_topic_together_with_their_own_messages(data):
    ids = sorted({identify(Kind.ALERT, each).name for each in contents()})
    places = dict(zip(ids, data.draw(st.lists(st.integers(0, 3), min_size=len(ids), max_size=len(ids))), strict=True))
    written = [
        replace(each, partition=places[identify(Kind.ALERT, each.content).name]) for each in topic_of(contents())
    ]
    assert faults(sorted(written, key=lambda each: each.partition)) == {}


@patient
@given(kind=KINDS, data=st.data())
def test_a_dropped_output_is_found(kind, data):
    records = contents(kind)
    gone = records.pop(data.draw(st.integers(0, len(records) - 1)))
    (difference,) = compared(topic_of(records), kind).differences
    assert (difference.fault, difference.written) == (Fault.MISSING, "")
    assert difference.cause == identify(kind, gone).cause


@patient
@given(kind=KINDS, data=st.data())
def test_a_doubled_output_is_found(kind, data):
    records = contents(kind)
    again = records[data.draw(st.integers(0, len(records) - 1))]
    records.insert(data.draw(st.integers(0, len(records))), again)
    assert faults(topic_of(records), kind)[Fault.DOUBLED] == 1


@patient
@given(kind=KINDS, data=st.data())
def test_one_changed_byte_is_found(kind, data):
    """Anywhere: but for who wrote the alert, and for a score within the tolerance of a replay."""
    records = contents(kind)
    place = data.draw(st.integers(0, len(records) - 1))
    value = bytearray(records[place].value)
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != value[at]))
    changed = replace(records[place], value=bytes(value))
    assume(not kind.holds_alert or not equal_but_for_noise(changed, records[place]))
    records[place] = changed
    assert compared(topic_of(records), kind).total >= 1


def equal_but_for_noise(one: Content, other: Content) -> bool:
    try:
        ours, theirs = (msgspec.to_builtins(alert_of(each)) for each in (one, other))
        written_so = alert_of(one).encode() == one.value
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return written_so and near(ours | {"instance": ""}, theirs | {"instance": ""})


def near(one: object, other: object, name: str = "") -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return all(near(one[key], other[key], key) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if name in ("score", "surprise"):
        return abs(one - other) <= 2 * SCORE_TOLERANCE
    return one == other


@patient
@given(data=st.data())
def test_two_swapped_outputs_of_one_partition_are_found_unless_one_record_caused_both(data):
    records = contents()
    one, two = sorted(data.draw(st.lists(st.integers(0, len(records) - 1), min_size=2, max_size=2, unique=True)))
    first, second = (identify(Kind.ALERT, records[place]) for place in (one, two))
    assume(first.source == second.source)
    assume(first.trigger_offset != second.trigger_offset or first.name == second.name)
    records[one], records[two] = records[two], records[one]
    assert faults(topic_of(records)).keys() == {Fault.REORDERED}


@patient
@given(data=st.data())
def test_a_changed_key_or_header_is_found(data):
    kind = data.draw(KINDS)
    records = contents(kind)
    place = data.draw(st.integers(0, len(records) - 1))
    old = records[place]
    if kind.holds_alert or data.draw(st.booleans()):
        records[place] = replace(old, key=(old.key or b"") + b"x")
    else:
        name, value = old.headers[0]
        records[place] = replace(old, headers=((name, value + b"x"), *old.headers[1:]))
    assert faults(topic_of(records), kind) == {Fault.CHANGED: 1}


def test_an_alert_that_no_replay_gives_is_extra():
    records = contents()
    made_up = with_alert(records[5], alert_id="0" * 32)
    (difference,) = compared(topic_of([*records[:6], replace(made_up, key=b"0" * 32), *records[6:]])).differences
    assert difference.fault is Fault.EXTRA


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff\xfe", b'{"alert_id":', b"[1, 2]"])
def test_a_record_that_is_no_alert_is_extra_and_says_why(value):
    (difference,) = compared(topic_of([*contents(), Content(None, value, ())])).differences
    assert difference.fault is Fault.EXTRA
    assert "cannot be read as an alert" in difference.detail


def test_an_offset_that_cannot_be_is_extra():
    alert = alert_of(contents()[0])
    source = msgspec.structs.replace(alert.source, trigger_offset=2**70)
    found = faults(topic_of([*contents(), with_alert(contents()[0], source=source)]))
    assert found == {Fault.EXTRA: 1}


def test_outputs_behind_the_commit_are_later_ones_and_not_judged():
    first = [identify(Kind.ALERT, each) for each in contents()]
    within = scope(covered=400)
    findings = compared(topic_of(contents()), within=within)
    assert findings.total == 0
    assert findings.checked[Kind.ALERT] == sum(each.trigger_offset <= 400 for each in first)
    assert findings.later[Kind.ALERT] == len(first) - findings.checked[Kind.ALERT]


def test_alerts_of_other_topics_are_counted_and_left_alone():
    elsewhere = with_alert(contents()[0], source=msgspec.structs.replace(alert_of(contents()[0]).source, topic="other"))
    made = comparison(topic_of([elsewhere, *contents()]))
    assert (made.finish().total, made.of_others) == (0, 1)


def test_one_alert_of_another_bundle_is_a_changed_one_and_two_are_a_past_that_cannot_be_judged():
    records = contents()
    for place, expected in ((0, 0), (1, 1)):
        digests = msgspec.structs.replace(alert_of(records[place]).digests, bundle="f" * 64)
        records[place] = with_alert(records[place], digests=digests)
        made = comparison(topic_of(records))
        assert len(made.unprovable()) == expected
    assert "2 alerts were made with bundle ffff" in made.unprovable()[0]
    assert made.finish().counts[Kind.ALERT, Fault.CHANGED] == 2


def test_an_alert_whose_id_fits_an_earlier_topic_shows_that_the_topic_was_made_again():
    from longwatch.pipeline.alerts import AlertKey
    from longwatch.pipeline.records import Partition

    alert = alert_of(contents()[0])
    source = msgspec.structs.replace(alert.source, topic_id="older")
    rule = f"{alert.rule}/{alert.kind}"
    older = AlertKey(
        Partition("logs", "older", alert.source.partition), alert.entity, alert.window.first_offset, rule
    ).alert_id
    genuine = with_alert(contents()[0], source=source, alert_id=older)
    assert "id older" in comparison(topic_of([genuine, *contents()])).unprovable()[0]
    forged = comparison(topic_of([with_alert(contents()[0], source=source), *contents()]))
    assert forged.unprovable() == []
    assert forged.finish().counts[Kind.ALERT, Fault.EXTRA] == 1


def test_closes_at_the_committed_offset_are_due_only_where_no_window_was_open():
    last = max(identify(Kind.ALERT, each).trigger_offset for each in contents())
    dropped = [each for each in contents() if identify(Kind.ALERT, each).trigger_offset < last]
    assert len(dropped) < len(contents())
    for settled, missing in ((True, len(contents()) - len(dropped)), (False, 0)):
        upto = {partition.partition: Upto(last, settled) for partition in PARTITIONS}
        findings = compared(topic_of(dropped), within=replace(scope(), upto=upto))
        assert findings.counts[Kind.ALERT, Fault.MISSING] == missing


def test_an_output_of_the_record_behind_the_commit_is_no_extra_one():
    """A worker goes on while it is checked: silence closed all windows at an offset, then its record came."""
    last = max(identify(Kind.ALERT, each).trigger_offset for each in contents())
    new = with_alert(contents()[-1], alert_id="1" * 32)
    source = msgspec.structs.replace(alert_of(new).source, trigger_offset=last + 1)
    new = replace(with_alert(new, source=source), key=b"1" * 32)
    for next_offset, faults_ in ((last + 1, 0), (last + 2, 1)):
        assert compared(topic_of([*contents(), new]), within=scope(next_offset)).total == faults_
