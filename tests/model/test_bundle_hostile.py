"""Bundles that someone harmed, by accident or on purpose: refused with a clear error before any session is made.

The seed of each case is its number; `pytest tests/model/test_bundle_hostile.py -k 'harmed-17'` repeats one.
"""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random

import onnx
import onnxruntime
import pytest

from longwatch.model.bundle import (
    EVIDENCE,
    GRAPH,
    MANIFEST,
    REQUIRED,
    STEP_GRAPH,
    WEIGHTS,
    Bundle,
    BundleError,
    open_bundle,
    write_bundle,
)
from longwatch.model.bundle_files import canonical, sealed
from longwatch.model.deploy.package import parts_of
from longwatch.model.scorer import open_scorer

GROUPS, CASES = 20, 100  # 2,000 in all
FILES = (*REQUIRED, STEP_GRAPH)


@pytest.fixture(scope="module")
def whole(bundle: Bundle, tmp_path_factory) -> Bundle:
    """A bundle with every kind of file."""
    folder = Path(tmp_path_factory.mktemp("hostile"))
    # Any graph will do, for none is opened, but not the same one: to exchange them would be no harm.
    step = onnx.load_from_string(bundle.read(GRAPH))
    step.doc_string = "another"
    parts = replace(parts_of(bundle), step_onnx=step.SerializeToString())
    return write_bundle(folder / "whole", parts, "2026-01-01T00:00:00Z")


@pytest.fixture(autouse=True)
def _no_session(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        pytest.fail("a session was made of a bundle that should have been refused")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)


def use(folder: Path) -> None:
    """Everything a worker does with a bundle before it scores."""
    opened = open_bundle(folder)
    assert opened.evidence is not None
    assert opened.calibration is not None
    opened.arrays(WEIGHTS)
    open_scorer(opened, "onnx")


def flip(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])


def lengthen(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes() + random.randbytes(random.randrange(1, 5000)))


def exchange(path: Path, random: Random) -> None:
    """Two files of the bundle take each other's place."""
    other = path.with_name(random.choice([name for name in FILES if name != path.name]))
    content = other.read_bytes()
    other.write_bytes(path.read_bytes())
    path.write_bytes(content)


def remove(path: Path, random: Random) -> None:
    path.unlink()


def leave(path: Path, random: Random) -> None:
    """The file becomes a link to a copy outside, or something that is no file."""
    outside = path.parents[1] / "outside"
    content = path.read_bytes()
    path.unlink()
    kind = random.randrange(3)
    if kind == 0:
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif kind == 1:
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


def damage_manifest(path: Path, random: Random) -> None:
    flip(path.with_name(MANIFEST), random)


ACCIDENTS: tuple[Callable[[Path, Random], None], ...] = (
    *(flip, truncate, lengthen, exchange, remove, leave, damage_manifest),
)


@pytest.mark.parametrize("group", range(GROUPS), ids=lambda group: f"harmed-{group}")
def test_a_harmed_bundle_is_refused_and_says_why(whole, tmp_path, group):
    for case in range(group * CASES, (group + 1) * CASES):
        folder = Path(shutil.copytree(whole.path, tmp_path / str(case) / "b"))
        random = Random(case)
        harm = random.choice(ACCIDENTS)
        harm(folder / random.choice(FILES), random)
        with pytest.raises(BundleError, match=r"(?s).{40}") as refused:
            use(folder)
        assert str(folder) in str(refused.value), (case, harm.__name__)
        shutil.rmtree(folder.parent)


def forge(folder: Path, name: str, content: bytes) -> None:
    """Replaces a file and makes all digests right again, as someone would who knows the format."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
    manifest["digest"] = sha256(canonical(manifest["files"])).hexdigest()
    (folder / MANIFEST).write_bytes(sealed(manifest))


@pytest.fixture
def copy(whole: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.path, tmp_path / "copy"))


def change_graph(copy: Path, name: str, change: Callable[[onnx.ModelProto], object]) -> None:
    proto = onnx.load_from_string((copy / name).read_bytes())
    change(proto)
    forge(copy, name, proto.SerializeToString())


def external(location: str) -> Callable[[onnx.ModelProto], object]:
    def change(proto: onnx.ModelProto) -> None:
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


FORGERIES: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "data outside the folder": (external("../../../etc/passwd"), "keeps weights in other files"),
    "data at an absolute path": (external("/etc/passwd"), "keeps weights in other files"),
    "a custom domain": (lambda p: setattr(p.graph.node[3], "domain", "evil.ops"), r"uses operators of 'evil\.ops'"),
    "a vendor's domain": (lambda p: p.opset_import.add(domain="com.microsoft", version=1), "com.microsoft"),
    "an unknown operator": (lambda p: setattr(p.graph.node[-1], "op_type", "PyOp"), "uses the operator 'PyOp'"),
    "a loop": (lambda p: setattr(p.graph.node[0], "op_type", "Loop"), "uses the operator 'Loop'"),
    "functions of its own": (lambda p: p.functions.add(name="f"), "brings functions of its own"),
    "a shape bomb": (lambda p: p.graph.initializer[0].dims.append(1 << 40), "has a tensor of .* whose shape asks for"),
    "a negative shape": (lambda p: p.graph.initializer[0].dims.append(-1), "has a tensor of .* whose shape asks for"),
}


@pytest.mark.parametrize("graph", [GRAPH, STEP_GRAPH])
@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_graph_with_right_digests_is_refused(copy, kind, graph):
    change, message = FORGERIES[kind]
    change_graph(copy, graph, change)
    with pytest.raises(BundleError, match=rf"{graph}: {message if '.*' in message else '.*' + message}"):
        open_bundle(copy)


HEADERS = {
    "a length beyond the file": struct.pack("<Q", 1 << 62) + b"{}",
    "a length beyond memory": struct.pack("<Q", 100_000_000) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"\xff\xfe{}",
    "deep JSON": struct.pack("<Q", 90_000) + b"[" * 90_000,
    "offsets that overlap": struct.pack("<Q", 144)
    + json.dumps(
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        }
    )
    .encode()
    .ljust(144)
    + b"\0" * 4,
    "a shape beyond memory": struct.pack("<Q", 80)
    + json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}).encode().ljust(80)
    + b"\0" * 4,
    "nothing": b"",
}


@pytest.mark.parametrize("name", [WEIGHTS, EVIDENCE])
@pytest.mark.parametrize("kind", HEADERS)
def test_a_forged_header_with_right_digests_is_refused(copy, name, kind):
    forge(copy, name, HEADERS[kind])
    with pytest.raises(BundleError, match=rf"{name}: its digest is right but it cannot be used"):
        use(copy)


DEEP = b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", MANIFEST])
def test_json_too_deep_to_read_is_refused(copy, name):
    if name == MANIFEST:
        (copy / MANIFEST).write_bytes(DEEP)
    else:
        forge(copy, name, DEEP)
    with pytest.raises(BundleError, match=name):
        use(copy)


@pytest.mark.parametrize("size", [-2, True, 1.5, 1 << 60, "1"])
def test_a_size_that_is_none_is_refused_before_anything_is_read(copy, size):
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][GRAPH]["bytes"] = size
    (copy / MANIFEST).write_bytes(sealed(manifest))
    with pytest.raises(BundleError, match="expected `files` with sha256 and bytes for each"):
        open_bundle(copy)


@pytest.mark.parametrize("key", ["d_model", "block_size", "word_buckets", "num_heads"])
def test_a_network_of_absurd_size_is_refused(copy, key):
    config = json.loads((copy / "config.json").read_text())
    config["model"][key] = 1 << 50
    forge(copy, "config.json", canonical(config))
    with pytest.raises(BundleError, match=rf"{key}: expected at most"):
        use(copy)
