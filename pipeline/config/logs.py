"""What is logged, and how."""

from typing import Literal

from pydantic import Field

from longwatch.pipeline.config.base import Model


class Logging(Model):
    """Lines on standard error; `--log-format` and LONGWATCH_LOG_FORMAT decide where they are given."""

    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="`auto`: colours on a terminal, else key=value; `json`: one object to a line."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is written."
    )
