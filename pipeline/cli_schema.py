"""The verb that prints JSON Schemas, for editors and for those who read alerts."""

from enum import StrEnum
from typing import Annotated

import typer

from longwatch.pipeline.cli_command import execute


class SchemaKind(StrEnum):
    """Schemas that `schema` prints."""

    config = "config"
    alert = "alert"


def schema(
    context: typer.Context,
    what: Annotated[SchemaKind, typer.Argument(metavar="config|alert", help="Which schema.")] = SchemaKind.config,
) -> int:
    """Print the JSON Schema of configurations, for editors, or of alerts, for those who read them."""
    return execute(context, "schema", what=what.value)
