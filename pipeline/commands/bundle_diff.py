"""`longwatch bundle diff`: in what two bundles differ, from files down to weights and templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from longwatch.model.scorer import Bundle, open_bundle
from longwatch.pipeline.console import sanitise, write_line

WEIGHTS = "weights.safetensors"
SHOWN = 10


def bundle_diff(bundle: Path, other: Path, as_json: bool) -> int:
    """Prints the differences; 0 where there is none."""
    left, right = open_bundle(bundle), open_bundle(other)
    found = differences(left, right)
    if as_json:
        write_line(json.dumps(found, sort_keys=True))
    elif left.digest == right.digest:
        write_line(f"the same: digest {left.digest}")
    else:
        write_line(_render(found))
    return int(left.digest != right.digest)


def differences(left: Bundle, right: Bundle) -> dict[str, Any]:
    """JSON-able: files, config keys, templates and weights that are not the same."""
    files = [bundle.manifest["files"] for bundle in (left, right)]
    configs = [_flat(bundle.config) for bundle in (left, right)]
    templates = [set(bundle.vocabulary.templates) for bundle in (left, right)]
    return {
        "digests": [left.digest, right.digest],
        "files": sorted(name for name in {*files[0], *files[1]} if files[0].get(name) != files[1].get(name)),
        "config": {
            key: [side.get(key) for side in configs]
            for key in sorted({*configs[0], *configs[1]})
            if configs[0].get(key) != configs[1].get(key)
        },
        "templates_gone": sorted(templates[0] - templates[1]),
        "templates_new": sorted(templates[1] - templates[0]),
        "weights": _weights(left, right),
    }


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {name: value for key in values for name, value in _flat(values[key], f"{prefix}.{key}".strip(".")).items()}


def _weights(left: Bundle, right: Bundle) -> dict[str, Any]:
    """Largest difference by name, or both shapes where those differ."""
    sides = [bundle.arrays(WEIGHTS) for bundle in (left, right)]
    found: dict[str, Any] = {}
    for name in sorted({*sides[0], *sides[1]}):
        arrays = [side.get(name) for side in sides]
        shapes = [None if array is None else list(array.shape) for array in arrays]
        if shapes[0] != shapes[1]:
            found[name] = shapes
        elif (largest := float(np.abs(arrays[0] - arrays[1]).max(initial=0))) > 0:  # type: ignore[operator]
            found[name] = largest
    return found


def _render(found: dict[str, Any]) -> str:
    lines = [f"digests {found['digests'][0]} and {found['digests'][1]}", f"  files: {', '.join(found['files'])}"]
    lines += [f"  config {key}: {left} -> {right}" for key, (left, right) in found["config"].items()]
    for name, sign in (("templates_gone", "-"), ("templates_new", "+")):
        lines += [f"  {sign} {sanitise(text)}" for text in found[name][:SHOWN]]
        lines += [f"  {sign} {len(found[name]) - SHOWN} more"] * (len(found[name]) > SHOWN)
    lines += [f"  weights {name}: {what}" for name, what in list(found["weights"].items())[:SHOWN]]
    return "\n".join(lines)
