"""What an output topic holds, changed as no worker would change it, and written into another topic."""

from dataclasses import dataclass, replace

from support.live import Live

SETTINGS = {"alerts": "alerts", "dlq": "dead_letters", "late": "late"}


@dataclass(frozen=True)
class Record:
    """What an output topic holds, to be written into another."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


def written(live: Live, output: str = "alerts") -> list[Record]:
    """The committed records of an output topic."""
    return [Record(each.key, each.value, list(each.headers)) for each in live.kafka.read(f"{live.outputs}.{output}")]


def planted(live: Live, records: list[Record], output: str = "alerts") -> str:
    """The `--set` that has `verify` read these records instead."""
    topic = live.kafka.create_topic()
    with live.kafka.producer(linger_ms=20) as producer:
        for future in [producer.send(topic, record.value, record.key, record.headers) for record in records]:
            future.get(60)
    return f"sink.kafka.{SETTINGS[output]}={topic}"


def dropped(records: list[Record], place: int) -> list[Record]:
    """One is not there."""
    return [*records[:place], *records[place + 1 :]]


def doubled(records: list[Record], place: int) -> list[Record]:
    """One is there twice."""
    return [*records[: place + 1], *records[place:]]


def changed(records: list[Record], place: int) -> list[Record]:
    """One byte of one is another."""
    value = bytearray(records[place].value)
    value[value.index(b'"entity":"') + len(b'"entity":"')] ^= 1
    return [*records[:place], replace(records[place], value=bytes(value)), *records[place + 1 :]]


def swapped(records: list[Record], place: int) -> list[Record]:
    """The first two messages of one alert from here on change places."""
    keys = [record.key for record in records]
    first = next(at for at in range(place, len(keys)) if keys[at] in keys[at + 1 : at + 1000])
    second = keys.index(keys[first], first + 1)
    records = list(records)
    records[first], records[second] = records[second], records[first]
    return records
