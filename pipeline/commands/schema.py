"""`longwatch schema`: JSON Schema for editors and for readers of alerts."""

import json
from importlib.resources import files

from longwatch.pipeline.console import write_line


def schema(what: str) -> None:
    """Prints the schema of `config` or `alert` as JSON."""
    write_line(_config_schema() if what == "config" else _alert_schema())


def _config_schema() -> str:
    from longwatch.pipeline.config import Config

    made = Config.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **made}, indent=2)


def _alert_schema() -> str:
    return files("longwatch.pipeline").joinpath("alert.schema.json").read_text(encoding="utf-8").rstrip("\n")
