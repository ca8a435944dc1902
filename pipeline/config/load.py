"""Reads a configuration: strict YAML, `--set` overrides, then every check at once."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.problems import file_error
from longwatch.pipeline.config.root import Config
from longwatch.pipeline.errors import ConfigError
from longwatch.pipeline.yaml_document import YamlDocument, is_secret, parse_yaml, read_yaml

_NONE: Mapping[str, str] = MappingProxyType({})


def load_config(path: Path | str, overrides: Mapping[str, str] = _NONE) -> Config:
    """The configuration of a YAML file; `overrides` maps dotted keys to YAML values (`{"windows.idle_gap": "5m"}`).

    Relative paths start at the file's folder. ConfigError names every wrong place as file:line:column.
    """
    return config_from(read_yaml(Path(path)), Path(path).resolve().parent, overrides)


def config_from(document: YamlDocument, folder: Path, overrides: Mapping[str, str] = _NONE) -> Config:
    """The configuration of a document that has been read; relative paths start at `folder`."""
    if not isinstance(document.value, dict):
        raise document.error(
            "expected keys and values", "`longwatch init` writes a file to start from", document.value_mark(())
        )
    value: Any = document.value
    for key, text in overrides.items():
        if is_secret(key):
            raise ConfigError(
                "a secret is written out on the command line", "use `*_file` or `*_env`", file=f"--set {key}"
            )
        value = _replaced(value, key.split("."), parse_yaml(text, f"--set {key}").value, key)
    try:
        return Config.model_validate(value, by_alias=True, by_name=False, context={"folder": folder})
    except ValidationError as error:
        raise file_error(error, document, overrides) from None


def error_at(path: Path, problem: Problem) -> ConfigError:
    """A problem that showed only when the configuration was put to use, at its place in the file."""
    document = read_yaml(path)
    where = ".".join(map(str, problem.at))
    return document.error(f"{where}: {problem.message}", problem.hint, document.value_mark(problem.at))


def _replaced(value: Any, keys: list[str], new: Any, whole: str) -> Any:
    """A copy of `value` with the place at `keys` set to `new`; mappings on the way are made, list items must exist."""
    if not keys:
        return new
    first, rest = keys[0], keys[1:]
    if isinstance(value, tuple):
        if not first.isdecimal() or int(first) >= len(value):
            raise ConfigError(
                f"`{first}` is not an item of a list of {len(value)}", "items count from 0", file=f"--set {whole}"
            )
        place = int(first)
        return (*value[:place], _replaced(value[place], rest, new, whole), *value[place + 1 :])
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"`{first}` is inside `{value}`, which has no keys", "check the name", file=f"--set {whole}")
    return {**(value or {}), first: _replaced((value or {}).get(first), rest, new, whole)}
