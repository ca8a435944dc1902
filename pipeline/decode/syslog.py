"""Syslog lines: RFC 5424, and the older RFC 3164 with or without its priority."""

from longwatch.pipeline.decode.fields import FieldTemplate
from longwatch.pipeline.decode.header import HeaderReader
from longwatch.pipeline.decode.timestamps import TimestampReader

_PRIORITY = r"<(?P<priority>\d|[1-9]\d|1[0-8]\d|19[01])>"
_ELEMENT = r"\[[^\s=\]\"]+(?: +[^\s=\]\"]+=\"(?:[^\"\\]|\\.)*\")* *\]"
_RFC5424 = (
    _PRIORITY + r"(?P<version>[1-9]\d{0,2}) (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<procid>\S+) (?P<msgid>\S+)"
    rf" (?P<structured_data>-|(?:{_ELEMENT})+)(?: \x{{FEFF}}?(?P<message>.*))?"
)
_RFC3164 = (
    rf"(?:{_PRIORITY})?(?P<time>[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d) (?P<host>\S+)"
    r" (?:(?P<app>[^\s:\[\]]+)(?:\[(?P<procid>[^\]]*)\])?: ?)?(?P<message>.*)"
)


def rfc5424_reader(message: str, entity: str | None = None) -> HeaderReader:
    """Fields priority, version, time, host, app, procid, msgid, structured_data, message; `-` counts as absent.

    A record whose sender knew no time (`-`) has its arrival time.
    """
    return HeaderReader(
        header=_RFC5424,
        message=FieldTemplate(message),
        time=FieldTemplate("{time}"),
        timestamps=TimestampReader("iso8601"),
        entity=entity,
        nil="-",
        nil_time_is_arrival=True,
    )


def rfc3164_reader(message: str, entity: str | None = None, timezone: str = "UTC") -> HeaderReader:
    """Fields priority (may be absent), time, host, app, procid, message; the arrival time gives the year."""
    return HeaderReader(
        header=_RFC3164,
        message=FieldTemplate(message),
        time=FieldTemplate("{time}"),
        timestamps=TimestampReader("%b %e %H:%M:%S", timezone),
        entity=entity,
    )
