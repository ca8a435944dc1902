"""The verbs that make a bundle fit where it will run: `export` and `optimize`."""

from pathlib import Path
from typing import Annotated

import typer

from longwatch.pipeline.cli_command import BundlePath, execute


def export(
    context: typer.Context,
    bundle: BundlePath,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle, or one graph as NAME.onnx.")],
    golden: Annotated[Path | None, typer.Option(help="Configuration whose source decides on parity.")] = None,
) -> int:
    """Make a bundle with graphs for whole windows and for steps; refused where they decide otherwise than torch."""
    return execute(context, "export", bundle=bundle, out=out, golden=golden)


def optimize(
    context: typer.Context,
    bundle: BundlePath,
    out: Annotated[Path, typer.Option(help="Folder for the points, their table and the chosen bundle.")],
    golden: Annotated[Path | None, typer.Option(help="Configuration whose source decides.")] = None,
    max_changed: Annotated[float, typer.Option(min=0, max=1, help="Share of decisions that may change.")] = 0.001,
) -> int:
    """Measure patterns, pruning and precisions on your own windows; write all points and the best bundle."""
    return execute(context, "optimize", bundle=bundle, golden=golden, out=out, max_changed=max_changed)
