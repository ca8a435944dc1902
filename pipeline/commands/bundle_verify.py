"""`longwatch bundle verify`: everything a worker would read of a bundle, read and used once."""

from __future__ import annotations

from pathlib import Path

from longwatch.model.scorer import open_bundle, open_scorer
from longwatch.pipeline.assembly import Model
from longwatch.pipeline.bundles import prove
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import BundleUnusableError
from longwatch.pipeline.templates import TemplateSet


def bundle_verify(bundle: Path) -> int:
    """Raises BundleUnusableError, or BundleError, for the first thing that is wrong."""
    opened = open_bundle(bundle)
    try:
        templates = TemplateSet.from_json(opened.template_set_json)
    except (ValueError, RecursionError) as error:
        raise BundleUnusableError(f"{bundle}/templates.json: {error}") from error
    count = prove(Model(opened, open_scorer(opened), templates))
    write_line(f"{bundle}: whole, digest {opened.digest}; {count} events scored")
    return 0
