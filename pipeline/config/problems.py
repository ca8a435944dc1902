"""Turns what pydantic found wrong into errors at file:line:column, each with the nearest valid key."""

import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from longwatch.pipeline.config.base import OneOf, yaml_names
from longwatch.pipeline.config.patterns import nearest
from longwatch.pipeline.config.root import Config
from longwatch.pipeline.errors import ConfigError, ConfigFileError
from longwatch.pipeline.yaml_document import Location, Mark, YamlDocument, is_secret

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list, such as [a, b]",
    "model": "keys and values",
    "dict": "keys and values",
    "path": "a path",
}
_SHOWN = 12


def file_error(error: ValidationError, document: YamlDocument, overrides: Iterable[str] = ()) -> ConfigError:
    """One error for all that is wrong, in the order of the file; what `--set` wrote is named by its dotted key."""
    details = _without_echoes(error.errors())
    placed = [
        _at_override(_as_config_error(each, document), tuple(each["loc"]), document, overrides) for each in details
    ]
    placed.sort(key=lambda each: (each.file != document.file, each.line, each.column))
    return placed[0] if len(placed) == 1 else ConfigFileError(placed)


def _without_echoes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the missing keys that are there, misspelt."""
    unknown = [tuple(each["loc"]) for each in details if each["type"] == "extra_forbidden"]

    def misspelt(location: Location) -> bool:
        near = [str(other[-1]) for other in unknown if other[:-1] == location[:-1]]
        return any(nearest(word, [str(location[-1])]) for word in near)

    return [each for each in details if each["type"] != "missing" or not misspelt(tuple(each["loc"]))]


def _at_override(
    error: ConfigError, location: Location, document: YamlDocument, overrides: Iterable[str]
) -> ConfigError:
    """The error placed at the `--set` that wrote its key, if one did."""
    place = tuple(str(part) for part in location)
    for key in overrides:
        path = tuple(key.split("."))
        inside = place[: len(path)] == path or (path[: len(place)] == place and location not in document.keys)
        if place and inside:
            return ConfigError(error.message, error.hint, file=f"--set {key}")
    return error


def _as_config_error(details: ErrorDetails, document: YamlDocument) -> ConfigError:
    location = tuple(details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        return document.error(*_unknown_key(location), document.key_mark(location))
    if kind == "missing":
        return document.error(*_missing_key(location), document.key_mark(location[:-1]))
    if kind == "longwatch":
        context = details["ctx"]
        inside = _inside(document, location, int(context["offset"]))
        mark = document.key_mark(location) if context["at_key"] else inside
        message = f"{_dotted(location)}: {context['message']}" if location else context["message"]
        return document.error(message, context["hint"], mark)
    return document.error(*_wrong_value(details, location), document.value_mark(location))


def _unknown_key(location: Location) -> tuple[str, str]:
    key, inside = str(location[-1]), _dotted(location[:-1])
    where = f" in `{inside}`" if inside else ""
    if is_secret(key):
        return f"a secret is written out as `{key}`{where}", f"use `{key}_file` or `{key}_env`, and change the secret"
    known = _valid_keys(location[:-1])
    guess = nearest(key, known)
    choices = f"valid keys: {', '.join(known)}" if len(known) <= _SHOWN or not guess else ""
    return f"unknown key `{key}`{where}", " ".join(filter(None, (guess, choices)))


def _missing_key(location: Location) -> tuple[str, str]:
    key, inside = str(location[-1]), _dotted(location[:-1])
    where = f" in `{inside}`" if inside else ""
    model = _model_at(location)
    if model is not None and issubclass(model, OneOf):
        return f"`{key}` is missing{where}", f"write `{key}` with exactly one of {', '.join(model.kinds)}"
    return f"`{key}` is missing{where}", _description(location)


def _wrong_value(details: ErrorDetails, location: Location) -> tuple[str, str]:
    found = f"found {_shown(details['input'])}"
    context = details.get("ctx", {})
    if details["type"] == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        hint = nearest(str(details["input"]), choices)
        return f"{_dotted(location)}: expected one of {', '.join(choices)}; {found}", hint
    if details["type"] == "too_short":
        return f"{_dotted(location)}: the list is empty", _description(location)
    expected = _EXPECTED.get(details["type"].split("_")[0]) if details["type"].endswith("_type") else None
    what = f"expected {expected}" if expected else details["msg"][:1].lower() + details["msg"][1:]
    return f"{_dotted(location)}: {what}; {found}", _description(location)


def _shown(value: Any) -> str:
    if isinstance(value, str | int | float):
        return f"`{value}`"
    return "nothing" if value is None else "a list" if isinstance(value, tuple) else "keys and values"


def _inside(document: YamlDocument, location: Location, offset: int) -> Mark:
    """The place inside a pattern, where one character of YAML is one character of the pattern up to there."""
    mark = document.value_mark(location)
    if offset < 0 or mark.quote in ("|", ">"):
        return mark
    lines = document.text.splitlines()
    start = mark.column - 1 + len(mark.quote)
    before = lines[mark.line - 1][start : start + offset] if mark.line <= len(lines) else ""
    if len(before) < offset or (mark.quote and mark.quote in before) or (mark.quote == '"' and "\\" in before):
        return mark
    return Mark(mark.line, start + offset + 1, mark.quote)


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _valid_keys(location: Location) -> list[str]:
    model = _model_at(location)
    return list(yaml_names(model).values()) if model else []


def _description(location: Location) -> str:
    model = _model_at(location[:-1]) if location else None
    field = _fields(model).get(str(location[-1])) if model else None
    return (field.description or "") if field else ""


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {key: model.model_fields[name] for name, key in yaml_names(model).items()}


def _model_at(location: Location) -> type[BaseModel] | None:
    """The model whose keys are valid at that place; None where there is none."""
    at: Any = Config
    for part in location:
        if isinstance(part, int):
            at = _unwrapped(next(iter(get_args(at)), None))
        elif isinstance(at, type) and issubclass(at, BaseModel):
            field = _fields(at).get(part)
            at = _unwrapped(field.annotation) if field else None
        else:
            return None
    return at if isinstance(at, type) and issubclass(at, BaseModel) else None


def _unwrapped(annotation: Any) -> Any:
    """The annotation without `| None` around it."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(each for each in get_args(annotation) if each is not type(None))
    return annotation
