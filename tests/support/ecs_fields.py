"""ECS as Elastic publishes it, and what of a document is not so."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2] / "ops" / "schemas"
OWN = "longwatch"

_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("keyword", "constant_keyword", "wildcard", "text", "match_only_text", "date", "ip"), (str,)),
    **dict.fromkeys(("object", "flattened"), (dict,)),
    **dict.fromkeys(("float", "scaled_float"), (int, float)),
    "long": (int,),
    "boolean": (bool,),
}


@cache
def ecs_fields() -> dict[str, dict[str, Any]]:
    """Each field's name to its definition, from the package that `make schemas` installs."""
    if not (HOME / "node_modules").is_dir() and os.environ.get("CI") != "true":
        pytest.skip("no ECS schema: `make schemas` installs it")
    script = "process.stdout.write(JSON.stringify(require('@elastic/ecs').EcsFlat))"
    done = subprocess.run(["node", "-e", script], cwd=HOME, capture_output=True, check=True)
    return json.loads(done.stdout)


def ecs_problems(document: dict[str, Any]) -> list[str]:
    """What is wrong; the namespace of our own is not looked into."""
    missing = [name for name in ("@timestamp", "ecs.version") if _at(document, name) is None]
    return [f"{name} is missing" for name in missing] + list(_problems("", document))


def _problems(path: str, node: dict[str, Any]) -> Iterator[str]:
    for name, value in node.items():
        at = f"{path}{name}"
        known = ecs_fields().get(at)
        if at == OWN:
            continue
        if known is None and isinstance(value, dict):
            yield from _problems(f"{at}.", value)
        elif known is None:
            yield f"{at} is no field of ECS"
        else:
            yield from _value_problems(at, value, known)


def _value_problems(at: str, value: Any, known: dict[str, Any]) -> Iterator[str]:
    if isinstance(value, list) != ("array" in known["normalize"]):
        yield f"{at} is {'not ' if isinstance(value, list) else ''}to be a list"
    allowed = [each["name"] for each in known.get("allowed_values", [])]
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, _TYPES[known["type"]]) or (isinstance(each, bool) and known["type"] != "boolean"):
            yield f"{at} is {type(each).__name__}, to be {known['type']}"
        elif allowed and each not in allowed:
            yield f"{at} is {each}, to be one of {allowed}"
        elif known["type"] == "date":
            datetime.fromisoformat(each)


def _at(document: dict[str, Any], name: str) -> Any:
    found: Any = document
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
