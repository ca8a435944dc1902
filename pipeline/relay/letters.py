"""The relay's own dead letters, as records of a topic or as lines of a file."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.kafka_settings import Output
from longwatch.pipeline.outputs import KEY_BYTES, ORIGINAL_BYTES
from longwatch.pipeline.relay.message import Letter


def as_outputs(topic: str, letters: Sequence[Letter]) -> list[Output]:
    """Records for the transaction that commits past them; each has the original's key and bytes."""
    return [
        Output(topic, None if key is None else key[:KEY_BYTES], letter.record.value[:ORIGINAL_BYTES], letter.headers())
        for letter in letters
        for key in (letter.record.key,)
    ]


def append_to(file: Path, letters: Sequence[Letter]) -> None:
    """Lines of JSON, on the disk when this returns; after a crash the last ones may be there twice."""
    lines = b"".join(msgspec.json.encode(_as_line(letter)) + b"\n" for letter in letters)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _write_all(handle, lines)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(
            f"dead letters cannot be written: {error.strerror}", "make room, or correct the path", source=str(file)
        ) from error


def _as_line(letter: Letter) -> dict[str, str | None]:
    key = letter.record.key
    headers = {name.removeprefix("longwatch."): value.decode() for name, value in letter.headers()}
    original = {
        "key_base64": None if key is None else base64.b64encode(key).decode(),
        "value_base64": base64.b64encode(letter.record.value).decode(),
    }
    return headers | {"truncated": "false"} | original


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
