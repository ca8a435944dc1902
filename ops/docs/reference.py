"""The reference from what the program itself holds: its verbs, its configuration's schema, its metrics, its errors."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.main import get_command

from longwatch.pipeline import errors
from longwatch.pipeline.cli import app
from longwatch.pipeline.config import Config
from longwatch.pipeline.metrics.families import BOTH, RELAY, WORKER, Family


def cli() -> str:
    """Every verb: what it does, an example, its arguments."""
    root = get_command(app)
    parts = ["# Command line", ""]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {})
        parts += [f"## longwatch {name}", "", _text(command.help), ""]
        for verb, nested in (below or {"": command}).items():
            if verb:
                parts += [f"### longwatch {name} {verb}", "", _text(nested.help), ""]
            parts += _example(nested)
            parts += _parameters(nested)
    return "\n".join(parts)


def _example(command: Any) -> list[str]:
    lines = (command.epilog or "").splitlines()
    return ["```", next(line.strip() for line in lines if line.strip().startswith("longwatch")), "```", ""]


def _parameters(command: Any) -> list[str]:
    rows = []
    for each in command.params:
        if each.name == "help":
            continue
        is_option = each.param_type_name == "option"
        name = ", ".join(each.opts) if is_option else (each.metavar or each.name.upper())
        default = each.default if is_option and each.default not in (None, False) and not callable(each.default) else ""
        rows.append((f"`{name}`", _text(getattr(each, "help", "")), f"`{default}`" if default != "" else ""))
    return _table(("name", "what", "default"), rows) if rows else []


def yaml_sections() -> str:
    """Every key of the YAML with its type, default and meaning, from the schema that `longwatch schema` prints."""
    schema = Config.model_json_schema(by_alias=True)
    parts = ["# YAML", "", "Durations are written `500ms`, `30s`, `5m`; sizes `64KiB`, `1MiB`.", "", "## The file", ""]
    parts += _keys(schema)
    for name, model in sorted(schema.get("$defs", {}).items()):
        if "properties" in model:
            parts += [f"## {name}", "", _text(model.get("description", "")), "", *_keys(model)]
    return "\n".join(parts)


def _keys(model: dict[str, Any]) -> list[str]:
    required = set(model.get("required", ()))
    rows = []
    for key, value in model["properties"].items():
        default = "must be written" if key in required else _default(value.get("default"))
        rows.append((f"`{key}`", _type(value), default, _text(value.get("description", ""))))
    return _table(("key", "type", "default", "what"), rows)


def _default(value: Any) -> str:
    return "" if value is None else f"`{value}`"


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if name[0].isupper() else name
    if "enum" in value or "const" in value:
        return " ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    if "anyOf" in value or "oneOf" in value:
        kinds = [_type(each) for each in value.get("anyOf", value.get("oneOf", ())) if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    if value.get("examples"):
        return f"text like `{value['examples'][0]}`"
    return str(value.get("type", "any"))


def metrics() -> str:
    """Every metric, by who has it."""
    shared = {family.name for family in BOTH}
    parts = [
        "# Metrics",
        "",
        "At `/metrics` where the YAML has a `metrics:` section. Labels come from bounded sets.",
        "",
    ]
    for title, role in (
        ("Worker and relay", BOTH),
        ("Worker", tuple(each for each in WORKER if each.name not in shared)),
        ("Relay", tuple(each for each in RELAY if each.name not in shared)),
    ):
        parts += [f"## {title}", "", *_table(("metric", "kind", "labels", "meaning"), map(_metric, role))]
    return "\n".join(parts)


def _metric(family: Family) -> tuple[str, ...]:
    return f"`{family.name}`", family.kind, " ".join(f"`{each}`" for each in family.labels), family.help


def alerts(path: Path) -> str:
    """The alert rules, and the page that each leads to."""
    parts = ["# Alerts", ""]
    for group in YAML(typ="safe").load(path)["groups"]:
        rows = []
        for rule in group["rules"]:
            slug = rule["annotations"]["runbook_url"].rstrip("/").rpartition("/")[2]
            link = f"[{rule['alert']}](../runbook/{slug}.md)"
            rows.append((link, rule["labels"]["severity"], rule["for"], rule["annotations"]["description"]))
        parts += [f"## {group['name']}", "", *_table(("alert", "severity", "for", "what"), rows)]
    return "\n".join(parts)


def exit_codes() -> str:
    """Every error that is raised on purpose."""
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.LongwatchError)]
    rows = [(f"`{each.__name__}`", str(each.exit_code), _text(inspect.getdoc(each))) for each in found]
    rows.sort(key=lambda row: (int(row[1]), row[0]))
    more = [("", "0", "Done."), ("", "130", "Interrupted.")]
    return "\n".join(["# Exit codes", "", *_table(("error", "exit", "what"), [*rows, *more])])


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _text(text: str | None) -> str:
    return " ".join((text or "").replace("\b", "").split())


def pages() -> Iterator[str]:
    """All that need no file."""
    yield from (cli(), yaml_sections(), metrics(), exit_codes())
