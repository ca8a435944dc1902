"""From the name of a form in YAML to bytes in that form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from longwatch.pipeline.alert_formats.cloudevents import cloudevents
from longwatch.pipeline.alert_formats.ecs import ecs
from longwatch.pipeline.alert_formats.ocsf import ocsf
from longwatch.pipeline.alerts import Alert

AlertFormat = Literal["longwatch", "ocsf", "ecs", "cloudevents"]

_FORMS: Mapping[str, Callable[[Alert], dict[str, Any]]] = {"ocsf": ocsf, "ecs": ecs, "cloudevents": cloudevents}


def render(value: bytes, name: AlertFormat) -> bytes:
    """An alert's own JSON in that form, for `longwatch` the same bytes."""
    if name == "longwatch":
        return value
    return msgspec.json.encode(_FORMS[name](msgspec.json.decode(value, type=Alert)))


def content_type(name: AlertFormat) -> str:
    """Media type of such a body."""
    return "application/cloudevents+json" if name == "cloudevents" else "application/json"
