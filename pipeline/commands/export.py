"""`longwatch export bundle --out model.onnx`: the network of a bundle as ONNX, parity with torch checked first."""

from __future__ import annotations

from pathlib import Path

from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import BundleUnusableError, UsageError


def export(bundle: Path, out: Path) -> int:
    """Exports again from the bundle's weights, compares, and writes the file at once."""
    from longwatch.model.export import export_weights
    from longwatch.model.scorer import BundleError, open_bundle

    if out.exists():
        raise UsageError(f"{out} is there already", "choose another file with --out")
    try:
        opened = open_bundle(bundle)
    except BundleError as error:
        raise BundleUnusableError(str(error)) from error
    graph, difference = export_weights(opened)
    scratch = out.with_name(f".{out.name}.part")
    try:
        scratch.write_bytes(graph)
        scratch.rename(out)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}", "choose another file with --out") from error
    write_line(f"{out}: {len(graph):,} bytes, at most {difference:.1e} nats from torch at lengths not seen in export")
    return 0
