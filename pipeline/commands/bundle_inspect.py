"""`longwatch bundle inspect`: what a bundle is, from its manifest and small parts; no graph is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from longwatch.model.scorer import Bundle, open_bundle
from longwatch.pipeline.console import write_line


def bundle_inspect(bundle: Path, as_json: bool) -> int:
    """Prints the description as text or as one JSON object."""
    found = describe(open_bundle(bundle))
    write_line(json.dumps(found, sort_keys=True) if as_json else _render(found))
    return 0


def describe(bundle: Bundle) -> dict[str, Any]:
    """JSON-able description."""
    config = bundle.model_config
    return {
        "path": str(bundle.path),
        "digest": bundle.digest,
        "created_at": bundle.manifest.get("created_at"),
        "versions": bundle.manifest.get("versions", {}),
        "network": config.to_dict(),
        "receptive_field": config.receptive_field,
        "classes": bundle.vocabulary.num_classes,
        "files": {name: entry["bytes"] for name, entry in sorted(bundle.manifest["files"].items())},
        "parity": bundle.manifest.get("parity"),
    }


def _render(found: dict[str, Any]) -> str:
    network, parity = found["network"], found["parity"]
    reach = "the whole window" if found["receptive_field"] is None else f"{found['receptive_field']} events"
    lines = [
        f"{found['path']}: digest {found['digest']}, made {found['created_at']}",
        f"  network: width {network['d_model']}, {network['num_heads']} heads, layers {', '.join(network['layers'])}",
        f"  a score depends on {reach}; {found['classes']} classes",
        *(f"  {name}: {size:,} bytes" for name, size in found["files"].items()),
        f"  made with {', '.join(f'{name} {text}' for name, text in sorted(found['versions'].items()))}",
    ]
    if parity is None:
        return "\n".join([*lines, "  parity: not judged; `longwatch export` does"])
    graphs = (
        f"  {name}: at most {graph['largest_difference']:.1e} nats from torch, {graph['changed']} of "
        f"{graph['events']:,} decisions changed, rank correlation {graph['rank_correlation']:.7f}"
        for name, graph in parity["graphs"].items()
    )
    return "\n".join([*lines, f"  parity on {parity['golden']}:", *graphs])
