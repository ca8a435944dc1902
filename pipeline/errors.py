"""Every error longwatch raises on purpose; the command line prints it as one line and a hint, without a traceback.

    LongwatchError               exit 1
      ConfigError                exit 2    the YAML is wrong, at file:line:column
        ConfigFileError          exit 2    several of them in one file, reported together
      UsageError                 exit 2    the command line is wrong
      InputError                 exit 1    an input cannot be read, at topic[partition]@offset or path:line
      BundleUnusableError        exit 1    the model bundle cannot be opened
      StateError                 exit 1    what an earlier run left behind does not fit this one
      BrokerError                exit 1    retriable: the broker is away or busy
        BrokerRefusedError       exit 1    not retriable: it answered, and the answer is no
      FatalError                 exit 75   this process cannot go on, a new one can: restart me
        FencedError              exit 76   another worker has taken over, or this one slept for too long

`retriable` says that the same call may succeed later, in this process.
"""

from collections.abc import Iterable
from typing import ClassVar


class LongwatchError(Exception):
    """What was read, where, what was expected (`message`), and what to do next (`hint`, may be empty)."""

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConfigError(LongwatchError):
    """One wrong place in a YAML file; `line` and `column` count from 1, 0 means unknown."""

    exit_code = 2

    def __init__(
        self, message: str, hint: str = "", *, file: str = "", line: int = 0, column: int = 0, source_line: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.file = file
        self.line = line
        self.column = column
        self.source_line = source_line

    @property
    def position(self) -> str:
        """`file:line:column`, as much of it as is known."""
        parts = [self.file, *(str(number) for number in (self.line, self.column) if number > 0)]
        return ":".join(part for part in parts if part)

    @property
    def excerpt(self) -> str:
        """The line of YAML with a caret under the column; empty when the line is unknown."""
        if not self.source_line.strip() or self.column < 1:
            return ""
        text, caret = _around(self.source_line.rstrip("\r\n").replace("\t", " "), self.column - 1)
        gutter = f"{self.line:>5} | "
        return f"{gutter}{text}\n{' ' * (len(gutter) - 2)}| {' ' * caret}^"

    def __str__(self) -> str:
        position = self.position
        first = f"{position}: {self.message}" if position else self.message
        return "\n".join(part for part in (first, self.excerpt, self.hint and f"hint: {self.hint}") if part)


class ConfigFileError(ConfigError):
    """Several wrong places of one load, in the order of the file; `message` and position are the first one's."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(
            first.message,
            first.hint,
            file=first.file,
            line=first.line,
            column=first.column,
            source_line=first.source_line,
        )

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class UsageError(LongwatchError):
    """Options that do not fit together, or an argument that names nothing."""

    exit_code = 2


class InputError(LongwatchError):
    """An input that cannot be read; `source` is `topic[partition]@offset` or `path:line`."""

    def __init__(self, message: str, hint: str = "", *, source: str = "") -> None:
        super().__init__(f"{source}: {message}" if source else message, hint)
        self.source = source


class BundleUnusableError(LongwatchError):
    """The model bundle is missing, damaged, or not the one the state was made with."""


class StateError(LongwatchError):
    """Committed offsets or a database of an earlier run that do not fit this configuration."""


class BrokerError(LongwatchError):
    """The broker is unreachable, busy or moving; trying again later may succeed."""

    retriable = True


class BrokerRefusedError(BrokerError):
    """The broker answered and refuses: authentication, permission, missing topic, retention passed."""

    retriable = False


class FatalError(LongwatchError):
    """This process cannot go on; the supervisor should start a new one (exit 75)."""

    exit_code = 75


class FencedError(FatalError):
    """Another worker holds this one's transactional id or place; its work stands, ours is aborted.

    A restart is safe, but where two workers share a name it only fences the other one: hence a code of its own.
    """

    exit_code = 76


_EXCERPT_CHARACTERS = 100


def _around(text: str, caret: int) -> tuple[str, int]:
    """At most 100 characters of a line around the caret, and where the caret stands in them."""
    start = max(0, min(caret - _EXCERPT_CHARACTERS // 2, len(text) - _EXCERPT_CHARACTERS))
    return text[start : start + _EXCERPT_CHARACTERS], caret - start
