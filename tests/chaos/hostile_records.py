"""Records that must not be read, bad by construction, and odd ones that must be; all drawn from one seed."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

GOOD_TIME = "2026-11-02T09:00:06.000Z"
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Record:
    """What a producer writes. `bad`: it must become one dead letter; else it is an event of an entity of its own."""

    kind: str
    value: bytes | None
    bad: bool = True
    key: bytes | None = None
    arrival_ms: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def line(time: str, host: str, message: str) -> bytes:
    """A record as its readers expect it."""
    return json.dumps({"timestamp": time, "host": host, "message": message}).encode()


def _random_bytes(draw: random.Random) -> bytes:
    return b"\xfe" + draw.randbytes(draw.randrange(1, 2 * KIB))


def _mutated(draw: random.Random) -> bytes:
    """A flipped bit in the brace that opens it, and more of them anywhere."""
    content = bytearray(_fine(draw))
    content[0] ^= 1 << draw.randrange(7)
    for _ in range(draw.randrange(8)):
        content[draw.randrange(1, len(content))] ^= 1 << draw.randrange(8)
    return bytes(content).replace(b"\n", b"x")


def _cut(draw: random.Random) -> bytes:
    content = _fine(draw)
    return content[: draw.randrange(1, len(content) - 1)]


def _two_in_one(draw: random.Random) -> bytes:
    return _fine(draw) + draw.choice([b"", b"\n", b"\0", b","]) + _fine(draw)


def _length_prefixed(draw: random.Random) -> bytes:
    content = _fine(draw)
    return draw.choice([len(content), 0, 2**31 - 1, 2**32 - 1]).to_bytes(4, "big") + content


def _deep(draw: random.Random) -> bytes:
    depth = draw.choice([20_000, 100_000])
    opening, closing = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    whole = opening * depth + b"1" + closing * depth
    return draw.choice(
        [whole, opening * depth, b'{"timestamp": "' + GOOD_TIME.encode() + b'", "message": ' + whole + b"}"]
    )


def _not_a_number(draw: random.Random) -> bytes:
    value = draw.choice(["NaN", "Infinity", "-Infinity", "0x10", "1e", "--1", "1" * 400 + "e" + "9" * 400])
    return f'{{"timestamp": "{GOOD_TIME}", "host": "x", "message": {value}}}'.encode()


def _not_a_time(draw: random.Random) -> bytes:
    value = draw.choice(
        ['"never"', '""', '"2026-13-45T99:00:00Z"', "-1", "9" * 300, "{}", "[]", '"9999-01-01T00:00:00Z"']
    )
    return f'{{"timestamp": {value}, "host": "x", "message": "m"}}'.encode()


def _double_key(draw: random.Random) -> bytes:
    return f'{{"timestamp": "{GOOD_TIME}", "host": "x", "timestamp": "no time", "message": "m"}}'.encode()


def _lacking(draw: random.Random) -> bytes:
    fields = {"timestamp": GOOD_TIME, "host": "x", "message": "m"}
    fields[draw.choice(list(fields))] = None  # type: ignore[assignment]
    return json.dumps(fields).encode()


def _other_json(draw: random.Random) -> bytes:
    return draw.choice([b"null", b"true", b"17", b'"text"', b"[]", b"[{}]", b"{}", b"\xef\xbb\xbf", b'{"":""}'])


def _nothing(draw: random.Random) -> bytes:
    return draw.choice([b"", b" ", b"\0" * draw.randrange(1, 500), b"\r\n\t", b"\xff" * draw.randrange(1, 500)])


def _long_entity(draw: random.Random) -> bytes:
    return line(GOOD_TIME, "h" * draw.randrange(10_000, 50_000), "m")


def _large(draw: random.Random) -> bytes:
    return line(GOOD_TIME, "x", "y" * draw.randrange(MIB, 3 * MIB))


def _fine(draw: random.Random) -> bytes:
    return line(GOOD_TIME, f"x{draw.randrange(100)}", "m" * draw.randrange(1, 300))


BAD: dict[str, tuple[int, Callable[[random.Random], bytes | None]]] = {
    "random bytes": (20, _random_bytes),
    "mutated bytes": (20, _mutated),
    "cut": (10, _cut),
    "two in one": (5, _two_in_one),
    "length prefixed": (5, _length_prefixed),
    "deep": (1, _deep),
    "not a number": (5, _not_a_number),
    "not a time": (5, _not_a_time),
    "double key": (3, _double_key),
    "lacking a field": (5, _lacking),
    "other JSON": (5, _other_json),
    "nothing": (5, _nothing),
    "null": (5, lambda _: None),
    "half a character": (1, lambda _: line(GOOD_TIME, "x", "m").replace(b'"m"', b'"\\ud800"')),
    "long entity": (1, _long_entity),
}


def hostile(draw: random.Random, number: int, now: str) -> Record:
    """One hostile record, written when its neighbours say `now`; few odd, fewer large, one in 30 from long ago."""
    headers = _lying_headers(draw)
    key = draw.choice([None, b"", b"k", draw.randbytes(30), b"\xff" * 5000])
    if number % 1000 == 500:
        return Record("large", _large(draw), key=key, headers=headers)
    if (lot := draw.random()) < 0.02:
        return Record("odd", _odd(draw, now), bad=False, key=key, headers=headers)
    if lot < 0.05:
        # Its own time is more than a day ahead of when it says it was written.
        return Record("arrived long ago", _fine(draw), key=key, arrival_ms=draw.randrange(2**40), headers=headers)
    kind = draw.choices(list(BAD), [weight for weight, _ in BAD.values()])[0]
    return Record(kind, BAD[kind][1](draw), key=b"k" if kind == "null" else key, headers=headers)


def _odd(draw: random.Random, now: str) -> bytes:
    """Strange and still an event: no UTF-8, NUL, a key twice, a number no float holds, deep but not too deep."""
    host = f"odd-{draw.randrange(20)}".encode()
    text = draw.choice([b'"caf\xe9 \xff"', b'"a\\u0000b"', b"[" * 200 + b"]" * 200, b"1" * 300])
    return b'{"host": "other", "timestamp": "%s", "message": %s, "host": "%s"}' % (now.encode(), text, host)


def _lying_headers(draw: random.Random) -> tuple[tuple[str, bytes], ...]:
    lies = [("content-type", b"application/x-protobuf"), ("content-encoding", b"gzip"), ("charset", b"utf-16")]
    lies += [("longwatch.offset", b"1"), ("longwatch.replays", b"9" * 50), ("", b""), ("\N{BELL}", draw.randbytes(50))]
    return tuple(draw.sample(lies, draw.randrange(3)))
