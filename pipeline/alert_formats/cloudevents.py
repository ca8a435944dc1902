"""CloudEvents 1.0, structured mode: an envelope around the alert, the same for every delivery of one message."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from longwatch.pipeline.alert_formats.words import TITLE_CHARACTERS, delivery_key
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.console import sanitise

VERSION = "1.0"


def cloudevents(alert: Alert) -> dict[str, Any]:
    """`source` and `id` together name one message; `partitionkey` keeps an alert's messages in order."""
    source = alert.source
    return {
        "specversion": VERSION,
        "id": delivery_key(alert),
        "source": f"/longwatch/{quote(source.topic, safe='')}/{quote(source.topic_id, safe='')}/{source.partition}",
        "type": f"io.longwatch.alert.{alert.lifecycle}",
        "subject": sanitise(alert.entity)[:TITLE_CHARACTERS] or "-",
        "time": alert.window.end_time,
        "datacontenttype": "application/json",
        "partitionkey": alert.alert_id,
        "data": msgspec.to_builtins(alert),
    }
