"""What makes a mutant: one method of the product replaced for as long as a context lasts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

Mutant = Callable[[], Any]
Named = Callable[[], tuple[Any, str, Any]]


def into(registry: dict[str, Mutant]) -> Callable[[Named], Named]:
    """Decorates a function that names (object, attribute, replacement): it is registered under its name."""

    def mutant(function: Named) -> Named:
        @contextmanager
        def applied() -> Iterator[None]:
            with mock.patch.object(*function()):
                yield

        registry[function.__name__] = applied
        return function

    return mutant
