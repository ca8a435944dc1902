"""Values with units, checked patterns, templates and paths: typed where they are written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.patterns import (
    check_mask,
    check_pattern,
    check_template,
    check_timestamp,
    check_timezone,
)

Item = TypeVar("Item")

_WRITTEN = re.compile(r"\s*(?P<number>[0-9]{1,12})\s*(?P<unit>[A-Za-z]*)\s*\Z")


@dataclass(frozen=True, order=True)
class Quantity:
    """A whole number of the smallest unit; parsed from and shown as text with a unit."""

    base: int

    units: ClassVar[dict[str, int]] = {}
    what: ClassVar[str] = ""
    example: ClassVar[str] = ""
    zero: ClassVar[str] = ""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From text such as the example; the error says which unit is missing or wrong."""
        if isinstance(value, cls):
            return value
        match = None if isinstance(value, bool) else _WRITTEN.match(str(value))
        if match is None or match["unit"] not in cls.units:
            raise Problem(f"expected {cls.what}, found `{value}`", cls._hint(match)).as_error()
        return cls(int(match["number"]) * cls.units[match["unit"]])

    @classmethod
    def _hint(cls, match: re.Match[str] | None) -> str:
        known = f"write a whole number and a unit ({' '.join(cls.units)}), for example {cls.example}"
        return f"`{match['number']}` has no unit: {known}" if match and not match["unit"] else known

    def __str__(self) -> str:
        if self.base == 0:
            return self.zero
        unit = max((size, name) for name, size in self.units.items() if self.base % size == 0)
        return f"{self.base // unit[0]}{unit[1]}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        written = core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema())
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        del schema, handler
        return {"type": "string", "pattern": f"^[0-9]+ ?({'|'.join(cls.units)})$", "examples": [cls.example]}


class Duration(Quantity):
    """A length of time in whole milliseconds, written `500ms`, `30s`, `5m`, `12h` or `1d`."""

    units: ClassVar[dict[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    what: ClassVar[str] = "a duration"
    example: ClassVar[str] = "30m"
    zero: ClassVar[str] = "0s"

    @property
    def ms(self) -> int:
        """Milliseconds."""
        return self.base

    @property
    def seconds(self) -> float:
        """Seconds."""
        return self.base / 1000


class Size(Quantity):
    """A number of bytes, written `512B`, `64KiB`, `1MiB` or `2GiB`."""

    units: ClassVar[dict[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    what: ClassVar[str] = "a size"
    example: ClassVar[str] = "1MiB"
    zero: ClassVar[str] = "0B"

    @property
    def bytes(self) -> int:
        """Bytes."""
        return self.base


def _positive(value: Quantity) -> Quantity:
    if value.base == 0:
        raise Problem(f"must be more than {value}", f"for example {value.example}").as_error()
    return value


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    """A relative path starts at the folder of the YAML file."""
    folder = (info.context or {}).get("folder")
    return folder / path.expanduser() if folder is not None else path


def _field_path(path: str) -> str:
    if not all(part.strip() == part and part for part in path.split(".")):
        raise Problem(
            f"`{path}` is not a field path", "write names with dots between, such as `resource.host`"
        ).as_error()
    return path


def _distinct(items: Sequence[Item]) -> Sequence[Item]:
    twice = next((item for place, item in enumerate(items) if item in items[:place]), None)
    if twice is not None:
        raise Problem(f"`{twice}` is here twice", "keep one of them").as_error()
    return items


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
PositiveSize = Annotated[Size, AfterValidator(_positive)]
Pattern = Annotated[str, AfterValidator(check_pattern)]
MaskPattern = Annotated[str, AfterValidator(check_mask)]
Template = Annotated[str, AfterValidator(check_template)]
TimestampFormat = Annotated[str, AfterValidator(check_timestamp)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
FieldPath = Annotated[str, AfterValidator(_field_path)]
YamlPath = Annotated[Path, Field(strict=False), AfterValidator(_from_folder)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,254}$")]
Text = Annotated[str, Field(min_length=1)]
Many = Annotated[tuple[Item, ...], Field(strict=False), AfterValidator(_distinct)]
