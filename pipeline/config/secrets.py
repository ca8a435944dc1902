"""Secrets, read from files or the environment; YAML only says where they are."""

import os
from pathlib import Path

from longwatch.pipeline.config.base import Problem


class UnreadableSecretError(Exception):
    """A secret that is named but not there."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def both_problem(file: Path | None, variable: str | None, name: str) -> Problem | None:
    """What is wrong when a secret is named twice."""
    if file is None or variable is None:
        return None
    return Problem(f"`{name}_file` and `{name}_env` are both set", "keep one", (f"{name}_env",))


def read_secret(file: Path | None, variable: str | None, name: str) -> str | None:
    """The secret of `<name>_file` or `<name>_env`, None where neither is set; raises UnreadableSecretError."""
    problem = both_problem(file, variable, name)
    if problem is not None:
        raise UnreadableSecretError(problem)
    if variable is not None:
        return _from_environment(variable, f"{name}_env")
    return _from_file(file, f"{name}_file") if file is not None else None


def _from_environment(variable: str, key: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise UnreadableSecretError(
            Problem(f"environment variable `{variable}` is not set", "set it for this process", (key,))
        )
    return value


def _from_file(file: Path, key: str) -> str:
    try:
        value = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UnreadableSecretError(
            Problem(f"cannot read the secret in {file}: {reason}", "check path and rights", (key,))
        ) from None
    if not value:
        raise UnreadableSecretError(Problem(f"the secret in {file} is empty", "write it on one line", (key,)))
    return value
