"""A bundle's files as bytes that nobody may trust: how they are read, bounded, and held against the manifest."""

import json
import os
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 31
MANIFEST_KEYS = {"format", "created_at", "versions", "files", "digest", "parity", "seal"}


class BundleError(ValueError):
    """A bundle that must not be used: what was read, where, what was expected, what to do next."""


def canonical(values: Mapping[str, Any]) -> bytes:
    """The one way to write these values as JSON."""
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as it is written: its own checksum shows a change in what no file's digest covers."""
    return canonical({**manifest, "seal": _seal(manifest)})


def read_manifest(path: Path, version: int) -> dict[str, Any]:
    """A manifest that names files of its folder alone; raises BundleError for anything else."""
    manifest = json_object(path, _read(path, MAX_MANIFEST_BYTES, "a bundle's manifest"))
    if manifest.get("format") != version:
        raise BundleError(
            f"{path}: bundle format {manifest.get('format')!r}, expected {version}; "
            "use the version of longwatch that made it, or train again with this one"
        )
    table = manifest.get("files")
    if not isinstance(table, dict) or not all(_is_entry(entry) for entry in table.values()):
        raise BundleError(f"{path}: expected `files` with sha256 and bytes for each; copy the bundle again")
    for name in table:
        if name != Path(name).name or name in ("", ".", "..") or "\\" in name or "\0" in name:
            raise BundleError(f"{path}: file name {name!r} leaves the bundle's folder; do not use this bundle")
    _check_seal(path, manifest)
    return manifest


def read_checked(folder: Path, name: str, table: Mapping[str, Any]) -> bytes:
    """Bytes of a file, which have the size and digest that the table gives; raises BundleError otherwise."""
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


def json_object(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object in these bytes; raises BundleError for anything else, however deep it is nested."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: expected JSON, {error}; copy the bundle again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: expected a JSON object, found {type(values).__name__}; copy the bundle again")
    return values


def _seal(manifest: Mapping[str, Any]) -> str:
    return sha256(canonical({key: value for key, value in manifest.items() if key != "seal"})).hexdigest()


def _check_seal(path: Path, manifest: Mapping[str, Any]) -> None:
    """Manifests written before there were seals have none; a key that nobody writes is one that was damaged."""
    unknown = sorted(manifest.keys() - MANIFEST_KEYS)
    try:
        broken = "seal" in manifest and manifest["seal"] != _seal(manifest)
    except ValueError:  # NaN or infinity, which no manifest is written with
        broken = True
    if unknown or broken:
        found = f"unknown keys {unknown}" if unknown else "its seal is not that of what it says"
        raise BundleError(f"{path}: {found}; the manifest was changed: copy the bundle again from where it was made")


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
        return False
    size = entry.get("bytes")
    return type(size) is int and 0 <= size < MAX_FILE_BYTES


def _read(path: Path, max_bytes: int, expected: str) -> bytes:
    try:
        # Not blocking: what stands there may be a pipe that nobody writes to.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return _bounded(path, file.fileno(), max_bytes, expected)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}), expected {expected}; "
            "check the path and its permissions, or copy the bundle again"
        ) from error


def _bounded(path: Path, descriptor: int, max_bytes: int, expected: str) -> bytes:
    """All of a regular file inside the bundle's folder, if that is not more than expected."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not path.resolve().is_relative_to(path.parent.resolve()):
        raise BundleError(f"{path}: is no file of the bundle's own folder; do not use this bundle")
    if status.st_size > max_bytes:
        raise BundleError(f"{path}: longer than expected ({expected}); copy the bundle again")
    parts = []
    while part := os.read(descriptor, 1 << 24):
        parts.append(part)
        if sum(map(len, parts)) > max_bytes:
            raise BundleError(f"{path}: longer than expected ({expected}); copy the bundle again")
    return b"".join(parts)
