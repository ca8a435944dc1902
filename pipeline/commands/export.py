"""`longwatch export bundle --out ...`: a deployable bundle, or one ONNX file; parity with torch decides first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import BundleUnusableError, InputError, UsageError

if TYPE_CHECKING:
    from longwatch.model.scorer import Bundle, WindowTokens


def export(bundle: Path, out: Path, golden: Path | None = None) -> int:
    """Exports from the bundle's weights: to a bundle with both graphs, or, for a name in .onnx, to that file alone."""
    from longwatch.model.scorer import BundleError, open_bundle

    if out.exists():
        raise UsageError(f"{out} is there already", "choose another name with --out")
    try:
        opened = open_bundle(bundle)
    except BundleError as error:
        raise BundleUnusableError(str(error)) from error
    if out.suffix == ".onnx":
        _write_graph(opened, out)
    else:
        _write_bundle(opened, out, golden)
    return 0


def golden_windows(bundle: Bundle, golden: Path | None) -> tuple[WindowTokens, str]:
    """Windows that decide on parity, and where they come from: a configuration's source, or the network itself."""
    from longwatch.pipeline.commands.windows_of import read_tokens

    if golden is not None:
        tokens = read_tokens(golden, bundle)
        if tokens.num_scores == 0:
            raise InputError(f"{golden}: its source holds no window", "name a source with records of normal days")
        return tokens, str(golden.name)
    from longwatch.model.deploy.golden import golden_windows as drawn

    return drawn(bundle), "drawn from the network, seed 0"


def _write_bundle(bundle: Bundle, out: Path, golden: Path | None) -> None:
    from longwatch.model.deploy.package import deployable_parts, write_judged
    from longwatch.model.deploy.parity import Limits
    from longwatch.model.export import ExportError

    tokens, source = golden_windows(bundle, golden)
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        written, found = write_judged(out, deployable_parts(bundle), tokens, created_at, Limits(), source)
    except ExportError as error:
        raise BundleUnusableError(str(error)) from error
    write_line(f"{out}: digest {written.digest[:16]}; {tokens.num_scores:,} golden events ({source})")
    for name, parity in found.items():
        write_line(
            f"  {name}: at most {parity.largest_difference:.1e} nats from torch, {parity.changed} decisions changed, "
            f"rank correlation {parity.rank_correlation:.7f}"
        )


def _write_graph(bundle: Bundle, out: Path) -> None:
    from longwatch.model.export import export_weights

    graph, difference = export_weights(bundle)
    scratch = out.with_name(f".{out.name}.part")
    try:
        scratch.write_bytes(graph)
        scratch.rename(out)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}", "choose another file with --out") from error
    write_line(f"{out}: {len(graph):,} bytes, at most {difference:.1e} nats from torch at lengths not seen in export")
