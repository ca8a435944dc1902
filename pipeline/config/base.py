"""What every part of the configuration shares: frozen, no unknown keys, errors that say where and what to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """What is wrong at a key (`at`, relative to the model) and what to do.

    `offset` is how far into a pattern (-1 unknown); `at_key` points at the key, not at its value.
    """

    message: str
    hint: str = ""
    at: Location = ()
    offset: int = -1
    at_key: bool = False

    def as_error(self) -> PydanticCustomError:
        """The same for pydantic to carry; `raise` it from a validator of one field."""
        context = {"message": self.message, "hint": self.hint, "offset": self.offset, "at_key": self.at_key}
        return PydanticCustomError("longwatch", "{message}", context)


def validation_error(problems: Iterable[Problem]) -> ValidationError:
    """All of them as one error that keeps their places when a validator raises it."""
    return ValidationError.from_exception_data("configuration", [_details(problem) for problem in problems])


def yaml_names(model: type[BaseModel]) -> Mapping[str, str]:
    """The key in YAML of each field of a model, in order."""
    return {name: str(field.validation_alias or name) for name, field in model.model_fields.items()}


class Model(BaseModel):
    """A frozen part of the configuration; types are strict (`"5"` is not a number), names are those of the YAML."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )

    def _problems(self) -> Iterable[Problem]:
        """What is wrong between fields that are each fine; overridden where fields depend on each other."""
        return ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise validation_error(problems)
        return self


class OneOf(Model):
    """A part of which exactly one of the keys named in `kinds` is written."""

    kinds: ClassVar[tuple[str, ...]] = ()

    @property
    def kind(self) -> str:
        """The key that is written, as YAML spells it."""
        names = yaml_names(type(self))
        return next(names[name] for name in names if names[name] in self.kinds and getattr(self, name) is not None)

    @model_validator(mode="wrap")
    @classmethod
    def _exactly_one(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        errors: list[InitErrorDetails] = []
        made = None
        try:
            made = handler(data)
        except ValidationError as error:
            errors = [_again(each) for each in error.errors()]
        problem = cls._count_problem(data)
        if problem and not (problem.at == () and any(each["type"] == "extra_forbidden" for each in errors)):
            errors.append(_details(problem))
        if made is None or errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return made

    @classmethod
    def _count_problem(cls, data: Any) -> Problem | None:
        if not isinstance(data, dict):
            return None
        names = yaml_names(cls)
        written = {names.get(key, key): value for key, value in data.items()}
        found = [key for key in written if key in cls.kinds and written[key] is not None]
        choices = f"exactly one of {', '.join(cls.kinds)}"
        if not found:
            empty = next((key for key in written if key in cls.kinds), "")
            hint = f"`{empty}` is empty: write `{empty}: {{}}`" if empty else ""
            return Problem(f"write {choices}; found none", hint, at_key=True)
        if len(found) > 1:
            message = f"one too many: write {choices}; found {' and '.join(found)}"
            return Problem(message, f"remove `{found[-1]}`", (found[-1],), at_key=True)
        return None


def _details(problem: Problem) -> InitErrorDetails:
    return InitErrorDetails(type=problem.as_error(), loc=problem.at, input=None)


def _again(error: Any) -> InitErrorDetails:
    """An error of an inner model, in the form that lets pydantic raise it once more."""
    context = error.get("ctx", {})
    kind: str | PydanticCustomError = error["type"]
    if kind == "longwatch":
        kind = PydanticCustomError("longwatch", "{message}", context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=context)
