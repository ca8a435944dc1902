"""A model as one folder: every file is named with its digest in manifest.json and checked before it is parsed."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from longwatch.model.calibrate import Calibration
from longwatch.model.config import ModelConfig
from longwatch.model.evidence import Evidence
from longwatch.model.onnx_wire import uses_external_data
from longwatch.model.successors import Successors
from longwatch.model.vocabulary import Vocabulary

FORMAT = 1
MANIFEST = "manifest.json"
CONFIG, TEMPLATES, VOCABULARY = "config.json", "templates.json", "vocabulary.json"
WEIGHTS, GRAPH = "weights.safetensors", "model.onnx"
EVIDENCE, CALIBRATION = "evidence.safetensors", "calibration.safetensors"
SUCCESSORS = "successors.safetensors"  # not in bundles made before alerts said what was expected
REQUIRED = (CONFIG, TEMPLATES, VOCABULARY, WEIGHTS, GRAPH, EVIDENCE, CALIBRATION)
MAX_MANIFEST_BYTES = 1 << 20

Arrays = Mapping[str, NDArray[Any]]
Part = TypeVar("Part")


class BundleError(ValueError):
    """A bundle that must not be used: what was read, where, what was expected, what to do next."""


@dataclass(frozen=True)
class BundleParts:
    """What a bundle is made of.

    weights: float32 by parameter name. onnx: the serialised graph. template_set_json: as the pipeline wrote it.
    config: JSON-able, with the model's under `model`. versions: of the packages that made it, for a person.
    """

    weights: Arrays
    onnx: bytes
    template_set_json: str
    vocabulary: Vocabulary
    evidence: Evidence
    calibration: Calibration
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    successors: Successors | None = None


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file had the digest that its manifest gives; files are read, and checked anew, on use."""

    path: Path
    digest: str
    manifest: dict[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config the bundle was made with; the network's is under `model`."""
        return self._json(CONFIG)

    @cached_property
    def model_config(self) -> ModelConfig:
        """Shape of the network."""
        return self._parsed(CONFIG, lambda: ModelConfig.from_dict(self.config["model"], str(self.path / CONFIG)))

    @cached_property
    def template_set_json(self) -> str:
        """The template set, as the pipeline wrote it."""
        return self.read(TEMPLATES).decode()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Known templates and their output classes."""
        return self._parsed(VOCABULARY, lambda: Vocabulary.from_json(self.read(VOCABULARY).decode()))

    @cached_property
    def evidence(self) -> Evidence:
        """What the fit split contained."""
        return self._parsed(EVIDENCE, lambda: Evidence.from_arrays(self.arrays(EVIDENCE)))

    @cached_property
    def calibration(self) -> Calibration:
        """What scores were on held-out normal windows."""
        return self._parsed(CALIBRATION, lambda: Calibration.from_arrays(self.arrays(CALIBRATION)))

    @cached_property
    def successors(self) -> Successors:
        """What followed what in the fit split; nothing in a bundle that does not say."""
        if SUCCESSORS not in self.manifest["files"]:
            return Successors.none()
        return self._parsed(SUCCESSORS, lambda: Successors.from_arrays(self.arrays(SUCCESSORS)))

    def read(self, name: str) -> bytes:
        """Bytes of one of its files; raises BundleError unless they still have the manifest's digest."""
        return _read_checked(self.path, name, self.manifest["files"])

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of one of its safetensors files."""
        return self._parsed(name, lambda: dict(load(self.read(name))))

    def _json(self, name: str) -> dict[str, Any]:
        return _json_object(self.path / name, self.read(name))

    def _parsed(self, name: str, parse: Callable[[], Part]) -> Part:
        try:
            return parse()
        except BundleError:
            raise
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            raise BundleError(
                f"{self.path / name}: its digest is right but it cannot be used: {error!r}; "
                "make the bundle again with this version of longwatch"
            ) from error


def write_bundle(path: Path, parts: BundleParts, created_at: str) -> Bundle:
    """Writes a bundle at once or not at all: into a folder beside `path`, then renamed to it.

    created_at: ISO 8601, kept out of the digest, so equal parts give equal digests. Raises BundleError where `path`
    exists.
    """
    if path.exists():
        raise BundleError(f"{path}: expected nothing there yet; a bundle is never changed: choose another name")
    _refuse_external_data(path / GRAPH, parts.onnx)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        files = _contents(parts)
        manifest = _manifest(files, parts.versions, created_at)
        for name, content in {**files, MANIFEST: _canonical(manifest)}.items():
            _write_synced(scratch / name, content)
        scratch.chmod(0o755)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_bundle(path)


def open_bundle(path: Path) -> Bundle:
    """Bundle at `path`, every file's digest checked; raises BundleError for anything that is not whole."""
    path = Path(path)
    manifest = _read_manifest(path / MANIFEST)
    table = manifest["files"]
    for name in sorted({*REQUIRED, *table}):
        content = _read_checked(path, name, table)
        if name == GRAPH:
            _refuse_external_data(path / name, content)
    digest = _table_digest(table)
    if manifest.get("digest") != digest:
        raise BundleError(
            f"{path / MANIFEST}: digest of the file table is {digest}, the manifest says {manifest.get('digest')}; "
            "the manifest was changed: copy the bundle again from where it was made"
        )
    return Bundle(path, digest, manifest)


def _contents(parts: BundleParts) -> dict[str, bytes]:
    known = {} if parts.successors is None else {SUCCESSORS: _save_arrays(parts.successors.to_arrays())}
    return {
        **known,
        CONFIG: _canonical(parts.config),
        TEMPLATES: parts.template_set_json.encode(),
        VOCABULARY: parts.vocabulary.to_json().encode(),
        WEIGHTS: _save_arrays(parts.weights),
        GRAPH: parts.onnx,
        EVIDENCE: _save_arrays(parts.evidence.to_arrays()),
        CALIBRATION: _save_arrays(parts.calibration.to_arrays()),
    }


def _save_arrays(arrays: Arrays) -> bytes:
    return bytes(save({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}))


def _manifest(files: Mapping[str, bytes], versions: Mapping[str, str], created_at: str) -> dict[str, Any]:
    table = {name: {"sha256": sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()}
    return {
        "format": FORMAT,
        "created_at": created_at,
        "versions": dict(versions),
        "files": table,
        "digest": _table_digest(table),
    }


def _table_digest(table: Mapping[str, Any]) -> str:
    return sha256(_canonical(table)).hexdigest()


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = _json_object(path, _read(path, MAX_MANIFEST_BYTES, "a bundle's manifest"))
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{path}: bundle format {manifest.get('format')!r}, expected {FORMAT}; "
            "use the version of longwatch that made it, or train again with this one"
        )
    table = manifest.get("files")
    if not isinstance(table, dict) or not all(_is_entry(entry) for entry in table.values()):
        raise BundleError(f"{path}: expected `files` with sha256 and bytes for each; copy the bundle again")
    for name in table:
        if name != Path(name).name or name in ("", ".", "..") or "\\" in name or "\0" in name:
            raise BundleError(f"{path}: file name {name!r} leaves the bundle's folder; do not use this bundle")
    return manifest


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and isinstance(entry.get("bytes"), int)


def _read_checked(folder: Path, name: str, table: Mapping[str, Any]) -> bytes:
    path = folder / name
    if name not in table:
        raise BundleError(f"{folder / MANIFEST}: does not name {name}; the bundle is not whole: copy or make it again")
    entry = table[name]
    content = _read(path, entry["bytes"], f"{entry['bytes']:,} bytes")
    digest = sha256(content).hexdigest()
    if len(content) != entry["bytes"] or digest != entry["sha256"]:
        raise BundleError(
            f"{path}: {len(content):,} bytes with sha256 {digest}, the manifest says {entry['bytes']:,} bytes with "
            f"{entry['sha256']}; the file is not the one that was written: copy the bundle again"
        )
    return content


def _read(path: Path, max_bytes: int, expected: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}), expected {expected}; "
            "check the path and its permissions, or copy the bundle again"
        ) from error
    if len(content) > max_bytes:
        raise BundleError(f"{path}: longer than expected ({expected}); copy the bundle again")
    return content


def _json_object(path: Path, content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path}: expected JSON, {error}; copy the bundle again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: expected a JSON object, found {type(values).__name__}; copy the bundle again")
    return values


def _refuse_external_data(path: Path, content: bytes) -> None:
    try:
        external = uses_external_data(content)
    except ValueError as error:
        raise BundleError(f"{path}: {error}; make the bundle again") from error
    if external:
        raise BundleError(f"{path}: keeps weights in other files, expected all inside; do not use this bundle")
