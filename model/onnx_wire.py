"""Whether an ONNX file points at other files: read from its bytes, so that a worker needs no onnx package."""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
EXTERNAL = 1

# Message type -> field number -> type of the message in that field; from onnx.proto.
MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
EXTERNAL_DATA_FIELD, DATA_LOCATION_FIELD = 13, 14


def uses_external_data(model: bytes) -> bool:
    """True if any tensor of the serialised ModelProto is kept outside it; raises ValueError for a malformed file."""
    return any(
        field == EXTERNAL_DATA_FIELD or (field, value) == (DATA_LOCATION_FIELD, EXTERNAL)
        for kind, message in messages(model)
        if kind == "Tensor"
        for field, value in fields(message)
    )


def messages(model: bytes) -> Iterator[tuple[str, memoryview]]:
    """Every message of the ModelProto whose type is in MESSAGES, however deep, itself first."""
    waiting: list[tuple[str, memoryview]] = [("Model", memoryview(model))]
    while waiting:
        kind, buffer = waiting.pop()
        yield kind, buffer
        for field, value in fields(buffer) if MESSAGES[kind] else ():
            child = MESSAGES[kind].get(field)
            if child is not None and isinstance(value, memoryview):
                waiting.append((child, value))


def varints(value: int | memoryview) -> Iterator[int]:
    """The numbers of a repeated field's entry: one, or several packed."""
    if isinstance(value, int):
        yield value
        return
    place = 0
    while place < len(value):
        number, place = _varint(value, place)
        yield number


def fields(buffer: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message; ValueError where it is cut short or garbled."""
    place = 0
    while place < len(buffer):
        key, place = _varint(buffer, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(buffer, place)
            yield key >> 3, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size, place = _varint(buffer, place)
        if size is None or place + size > len(buffer):
            raise ValueError(f"not an ONNX model: byte {place} of a message of {len(buffer)} bytes cannot be read")
        yield key >> 3, buffer[place : place + size]
        place += size


def _varint(buffer: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(buffer):
            break
        byte = buffer[place]
        value, place = value | (byte & 0x7F) << shift, place + 1
        if byte < 0x80:
            return value, place
    raise ValueError(f"not an ONNX model: no number ends by byte {place} of a message of {len(buffer)} bytes")
