"""What a graph must keep to before any session sees it, read from its bytes: a worker needs no onnx package.

Operators are those that our exports make. None of them reads a file, and none but If runs another graph.
"""

from collections.abc import Iterator
from math import prod

from longwatch.model.onnx_wire import fields, messages, uses_external_data, varints

MAX_NODES = 100_000
DOMAINS = {b"", b"ai.onnx"}
OPERATORS = frozenset(
    b"""
    Abs Add And Cast CastLike Clip Concat Constant ConstantOfShape CumSum DequantizeLinear Div DynamicQuantizeLinear
    Einsum Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm Greater GreaterOrEqual Identity If
    IsInf IsNaN Less LessOrEqual Log LogSoftmax MatMul MatMulInteger Max Min Mod Mul Neg Not OneHot Or Pad Pow
    QLinearMatMul QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceSum Reshape ScatterElements ScatterND Shape
    Sigmoid Sign Size Slice Softmax Split Sqrt Squeeze Sub Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()
)
# Bytes of an element by TensorProto data type; the types that our graphs hold.
ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}

# Fields of onnx.proto.
MODEL_OPSET, MODEL_FUNCTION = 8, 25
OPSET_DOMAIN = 1
NODE_OP_TYPE, NODE_DOMAIN = 4, 7
TENSOR_DIMS, TENSOR_DATA_TYPE, TENSOR_RAW_DATA = 1, 2, 9


def refusal(model: bytes) -> str | None:
    """Why a serialised ModelProto must not be opened, None if it may be; ValueError where it is none."""
    if uses_external_data(model):
        return "keeps weights in other files, expected all inside"
    return next(_refusals(model), None)


def _refusals(model: bytes) -> Iterator[str]:
    for field, value in fields(memoryview(model)):
        if field == MODEL_FUNCTION:
            yield "brings functions of its own, expected standard operators alone"
        if field == MODEL_OPSET and isinstance(value, memoryview):
            yield from _foreign(b"".join(bytes(v) for f, v in fields(value) if f == OPSET_DOMAIN and _is_bytes(v)))
    nodes = 0
    for kind, message in messages(model):
        if kind == "Node":
            nodes += 1
            yield from _node_refusals(message)
        if kind == "Tensor":
            yield from _tensor_refusals(message)
    if nodes > MAX_NODES:
        yield f"has {nodes:,} operators, expected at most {MAX_NODES:,}"


def _node_refusals(node: memoryview) -> Iterator[str]:
    texts = {field: bytes(value) for field, value in fields(node) if _is_bytes(value)}
    yield from _foreign(texts.get(NODE_DOMAIN, b""))
    operator = texts.get(NODE_OP_TYPE, b"")
    if operator not in OPERATORS:
        yield f"uses the operator {operator.decode(errors='replace')!r}, which no export makes"


def _foreign(domain: bytes) -> Iterator[str]:
    if domain not in DOMAINS:
        yield f"uses operators of {domain.decode(errors='replace')!r}, expected standard ones alone"


def _tensor_refusals(tensor: memoryview) -> Iterator[str]:
    found = list(fields(tensor))
    dims = [dim for field, value in found if field == TENSOR_DIMS for dim in varints(value)]
    raw = next((value for field, value in found if field == TENSOR_RAW_DATA), None)
    element = next((value for field, value in found if field == TENSOR_DATA_TYPE), 0)
    if not isinstance(raw, memoryview):
        return
    expected = prod(dims) * ELEMENT_BYTES.get(element if isinstance(element, int) else 0, -1)
    if expected != len(raw):
        yield f"has a tensor of {len(raw):,} bytes whose shape asks for {expected:,}"


def _is_bytes(value: int | memoryview) -> bool:
    return isinstance(value, memoryview)
