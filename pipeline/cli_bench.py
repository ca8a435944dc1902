"""The verb that judges detectors: `bench`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from longwatch.pipeline.cli_command import execute


class DeviceKind(StrEnum):
    """Where networks are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def bench(
    context: typer.Context,
    sets: Annotated[
        list[str] | None, typer.Argument(metavar="[SET]...", help="Names, or YAML files of your own.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder that holds the named sets.", envvar="LONGWATCH_DATA")] = Path(
        "data"
    ),
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder for JSON lines and charts.")] = None,
    device: Annotated[DeviceKind, typer.Option(help="Where networks are trained.")] = DeviceKind.auto,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 300,
    networks: Annotated[
        bool, typer.Option("--networks/--no-networks", help="Train the LSTM and the transformer.")
    ] = True,
    surprise: Annotated[
        Path | None, typer.Option(help="Folder of surprise that `ops/benchmarks/surprise` made; trains no transformer.")
    ] = None,
) -> int:
    """Judge the detector beside cheap floors: they learn from the normal past, thresholds see no label.

    Without a set, list those that are known.
    """
    options = {
        "seeds": seeds,
        "out": out,
        "device": device.value,
        "steps": steps,
        "networks": networks,
        "surprise": surprise,
    }
    return execute(context, "bench", sets=sets or [], data=data, **options)
