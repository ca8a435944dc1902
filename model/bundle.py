"""A model as one folder: every file is named with its digest in manifest.json and checked before it is parsed."""

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

from longwatch.model.bundle_files import (
    MANIFEST,
    canonical,
    json_object,
    read_checked,
    read_manifest,
    sealed,
)
from longwatch.model.bundle_files import BundleError as BundleError
from longwatch.model.calibrate import Calibration
from longwatch.model.config import ModelConfig
from longwatch.model.evidence import Evidence
from longwatch.model.graph_rules import refusal
from longwatch.model.successors import Successors
from longwatch.model.vocabulary import Vocabulary

FORMAT = 2  # 2: more parts of a window's score
CONFIG, TEMPLATES, VOCABULARY = "config.json", "templates.json", "vocabulary.json"
WEIGHTS, GRAPH = "weights.safetensors", "model.onnx"
STEP_GRAPH = "step.onnx"  # only where `longwatch export` made the bundle
EVIDENCE, CALIBRATION = "evidence.safetensors", "calibration.safetensors"
SUCCESSORS = "successors.safetensors"  # not in bundles made before alerts said what was expected
REQUIRED = (CONFIG, TEMPLATES, VOCABULARY, WEIGHTS, GRAPH, EVIDENCE, CALIBRATION)

Arrays = Mapping[str, NDArray[Any]]
Part = TypeVar("Part")


@dataclass(frozen=True)
class BundleParts:
    """What a bundle is made of.

    weights: float32 by parameter name. onnx: the serialised graph. template_set_json: as the pipeline wrote it.
    config: JSON-able, with the model's under `model`. versions: of the packages that made it, for a person.
    step_onnx: the serialised step graph, if there is one. parity: JSON-able, how its graphs compare with the weights.
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
    step_onnx: bytes | None = None
    parity: Mapping[str, Any] | None = None

    @property
    def graphs(self) -> dict[str, bytes]:
        """Serialised graphs by file name."""
        return {GRAPH: self.onnx} | ({} if self.step_onnx is None else {STEP_GRAPH: self.step_onnx})


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file had the digest that its manifest gives; files are read, and checked anew, on use."""

    path: Path
    digest: str
    manifest: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether it holds a file of this name."""
        return name in self.manifest["files"]

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
        return read_checked(self.path, name, self.manifest["files"])

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of one of its safetensors files."""
        return self._parsed(name, lambda: dict(load(self.read(name))))

    def _json(self, name: str) -> dict[str, Any]:
        return json_object(self.path / name, self.read(name))

    def _parsed(self, name: str, parse: Callable[[], Part]) -> Part:
        try:
            return parse()
        except BundleError:
            raise
        except (KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
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
    for name, graph in parts.graphs.items():
        _refuse_hostile(path / name, graph)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        files = _contents(parts)
        manifest = _manifest(files, parts.versions, created_at)
        if parts.parity is not None:
            manifest["parity"] = parts.parity
        for name, content in {**files, MANIFEST: sealed(manifest)}.items():
            _write_synced(scratch / name, content)
        scratch.chmod(0o755)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_bundle(path)


def open_bundle(path: Path) -> Bundle:
    """Bundle at `path`, every file's digest checked; raises BundleError for anything that is not whole."""
    path = Path(path)
    manifest = read_manifest(path / MANIFEST, FORMAT)
    table = manifest["files"]
    for name in sorted({*REQUIRED, *table}):
        content = read_checked(path, name, table)
        if name.endswith(".onnx"):
            _refuse_hostile(path / name, content)
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
        CONFIG: canonical(parts.config),
        TEMPLATES: parts.template_set_json.encode(),
        VOCABULARY: parts.vocabulary.to_json().encode(),
        WEIGHTS: _save_arrays(parts.weights),
        **parts.graphs,
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
    return sha256(canonical(table)).hexdigest()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _refuse_hostile(path: Path, content: bytes) -> None:
    try:
        found = refusal(content)
    except ValueError as error:
        raise BundleError(f"{path}: {error}; make the bundle again") from error
    if found is not None:
        raise BundleError(f"{path}: {found}; do not use this bundle")
