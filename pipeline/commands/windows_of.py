"""The windows that a configuration's source holds, as a bundle reads them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from longwatch.model.scorer import Bundle, WindowTokens
from longwatch.pipeline.assembly import window_rules
from longwatch.pipeline.commands.bounded import bounded_source
from longwatch.pipeline.config import load_config
from longwatch.pipeline.decode import decoder_for
from longwatch.pipeline.history import read_windows
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.templates import TemplateSet


def read_tokens(path: Path, bundle: Bundle) -> WindowTokens:
    """All whole windows of the configured source, with the bundle's own templates."""
    config = load_config(path)
    decoder = decoder_for(config.format, config.entity)
    templates = TemplateColumns(TemplateSet.from_json(bundle.template_set_json), bundle.vocabulary.templates)
    with closing(bounded_source(config)) as source:
        return read_windows(source, decoder, templates, window_rules(config.windows)).tokens()
