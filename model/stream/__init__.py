"""The network on a CUDA device, event by event or whole, with the same score bitwise. Needs triton once it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longwatch.model.stream.graph import StepGraph
    from longwatch.model.stream.network import EventRows, StreamNetwork
    from longwatch.model.stream.state import StreamState

__all__ = ["EventRows", "StepGraph", "StreamNetwork", "StreamState"]

_HOME = {"EventRows": "network", "StepGraph": "graph", "StreamNetwork": "network", "StreamState": "state"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
