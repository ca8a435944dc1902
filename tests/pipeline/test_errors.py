import inspect
import re

import pytest

from longwatch.pipeline import errors
from longwatch.pipeline.errors import (
    BrokerError,
    BrokerRefusedError,
    ConfigError,
    ConfigFileError,
    FencedError,
    InputError,
    LongwatchError,
)


def tree() -> dict[str, tuple[str, int]]:
    """Name to (parent, exit code) as the module's docstring draws them."""
    found, parents = {}, ["Exception"]
    for indent, name, code in re.findall(r"^( +)(\w+Error) +exit (\d+)", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 2 - 1
        parents[depth:] = [name]
        found[name] = (parents[depth - 1] if depth > 1 else "Exception", int(code))
    return found


def test_the_docstring_draws_every_class_under_its_parent_with_its_exit_code():
    classes = {
        name: (cls.__bases__[0].__name__, cls.exit_code)
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, LongwatchError)
    }
    assert tree() == classes


def test_retriable_is_on_the_class():
    assert BrokerError.retriable
    assert not BrokerRefusedError.retriable
    assert not LongwatchError.retriable
    assert not FencedError.retriable


def test_an_error_says_message_then_hint():
    assert str(LongwatchError("it broke", "mend it")) == "it broke\nhint: mend it"
    assert str(LongwatchError("it broke")) == "it broke"


def test_a_config_error_points_at_the_column():
    error = ConfigError("unknown key", "fix it", file="a.yaml", line=12, column=3, source_line="  windws: 1\n")
    assert str(error).splitlines() == [
        "a.yaml:12:3: unknown key",
        "   12 |   windws: 1",
        "      |   ^",
        "hint: fix it",
    ]


def test_a_config_error_without_a_position_is_one_line():
    assert str(ConfigError("`bundle` is missing")) == "`bundle` is missing"
    assert str(ConfigError("no such file", file="a.yaml")) == "a.yaml: no such file"


@pytest.mark.parametrize("column", [1, 60, 500, 1000])
def test_the_caret_of_a_long_line_stands_under_its_character(column: int):
    line = "".join(chr(0x4E00 + place) for place in range(1000))
    excerpt, caret = ConfigError("x", file="f", line=1, column=column, source_line=line).excerpt.splitlines()
    assert len(excerpt) <= 110
    assert excerpt[caret.index("^")] == line[column - 1]


def test_several_config_errors_carry_the_first_ones_place_and_print_all():
    problems = [ConfigError("one", file="a", line=1, column=2), ConfigError("two", file="a", line=3, column=4)]
    error = ConfigFileError(problems)
    assert (error.position, error.exit_code) == ("a:1:2", 2)
    assert str(error) == "a:1:2: one\na:3:4: two"


def test_an_input_error_starts_with_its_source():
    error = InputError("not readable", "look", source="logs[3]@17")
    assert str(error) == "logs[3]@17: not readable\nhint: look"
