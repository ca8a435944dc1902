"""`longwatch train pipeline.yaml --out bundle`: a history read by the live code, a bundle written at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog

from longwatch.pipeline.assembly import window_rules
from longwatch.pipeline.commands.bounded import bounded_source, event_time_ms
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.console import ProgressReport, days_in_words, write_line
from longwatch.pipeline.decode import decoder_for
from longwatch.pipeline.errors import BundleUnusableError, InputError, UsageError
from longwatch.pipeline.history import History, Selection, read_leaves, read_windows
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.templates import TemplateSet

log = structlog.get_logger("longwatch.train")

_PACKAGES = ("longwatch", "torch", "onnx", "numpy", "polars")


def train(
    config: Path,
    overrides: Mapping[str, str],
    model_config: Path | None,
    train_config: Path | None,
    out: Path,
    exclude_entities: Path | None,
    until: str | None = None,
) -> int:
    """Reads the configured source to its end, learns, and writes the bundle to `out`."""
    if out.exists():
        raise UsageError(f"{out} is there already, and a bundle is never changed", "choose another folder with --out")
    loaded = load_config(config, overrides)
    if loaded.source.stdin is not None:
        raise UsageError(
            "training reads its records twice, and standard input can be read once",
            "write it to a file, and name that under `source.files`",
        )
    selection = Selection(_lines(exclude_entities), None if until is None else event_time_ms(until))
    templates, history = read_history(loaded, selection)
    fit_and_write(loaded, templates, history, model_config, train_config, out)
    return 0


def read_history(config: Config, selection: Selection) -> tuple[TemplateSet, History]:
    """Template set and windows of the configured source: one pass over it for each."""
    decoder = decoder_for(config.format, config.entity)
    masks = [mask.pattern for mask in config.templates.masks]
    with closing(bounded_source(config)) as source:
        found = read_leaves(source, decoder, masks, selection)
    templates = TemplateSet.learn(found, masks, config.templates.merge_above)
    with closing(bounded_source(config)) as source, ProgressReport("reading", unit="records") as progress:
        columns, rules = TemplateColumns(templates), window_rules(config.windows)
        history = read_windows(source, decoder, columns, rules, selection, progress.reach)
    log.info(
        "history",
        records=history.records,
        rejected=history.rejected,
        late=history.late,
        windows=len(history.windows),
        templates=len(set(templates.templates.values())),
    )
    if len(history.windows) < 3:
        raise InputError(
            f"{len(history.windows)} windows in {history.records:,} records ({history.rejected:,} rejected): too few",
            "read a longer time, or make windows.max_events smaller; `longwatch validate` shows what is configured",
        )
    return templates, history


def fit_and_write(
    config: Config,
    templates: TemplateSet,
    history: History,
    model_config: Path | None,
    train_config: Path | None,
    out: Path,
) -> None:
    """Trains on the history and writes the bundle."""
    from longwatch.model.bundle import BundleError, write_bundle
    from longwatch.model.config import ModelConfig, TrainConfig, load_model_config, load_train_config
    from longwatch.model.dataset import Windows
    from longwatch.model.fit import fit

    try:
        shape = ModelConfig() if model_config is None else load_model_config(model_config)
        how = TrainConfig() if train_config is None else load_train_config(train_config)
    except (OSError, ValueError) as error:
        raise UsageError(str(error), "configs/model and configs/train hold examples of both files") from error
    windows = Windows(history.tokens(), *history.times())
    try:
        with ProgressReport("training", how.max_steps, "steps") as progress:
            fitted = fit(windows, shape, how, templates.to_json(), _kept(config), _versions(), _shown(progress))
    except ValueError as error:
        raise InputError(
            f"{len(windows)} windows in {history.records:,} records: {error}",
            "read a longer time, or make windows.max_events smaller",
        ) from error
    try:
        bundle = write_bundle(out, fitted.parts, datetime.now(UTC).isoformat(timespec="seconds"))
    except BundleError as error:
        raise BundleUnusableError(str(error)) from error
    _say(config, bundle.digest, fitted, out)


def _shown(progress: ProgressReport) -> Any:
    def report(step: int, max_steps: int, fit_nll: float, validation_nll: float) -> None:
        progress.expect(max_steps)
        progress.reach(step)
        log.info("step", step=step, of=max_steps, fit_nll=round(fit_nll, 4), validation_nll=round(validation_nll, 4))

    return report


def _say(config: Config, digest: str, fitted: Any, out: Path) -> None:
    split = fitted.split
    write_line(
        f"{out}: {len(split.fit)} windows trained on, {len(split.early_stop)} to stop early, "
        f"{len(split.calibration)} to calibrate ({days_in_words(fitted.days)}); "
        f"{fitted.trained.validation_nll:.3f} nats an event; digest {digest[:16]}"
    )
    if fitted.days < 1:
        write_line(
            f"  thresholds rest on {days_in_words(fitted.days)} of log: from there an alarm a day is a far guess, "
            "and likely too strict; learn from some days"
        )
    from longwatch.pipeline.assembly import rules_for

    for rule in rules_for(config, fitted.parts.calibration):
        for kind, note in rule.thresholds.items():
            write_line(
                f"  rule {rule.name}: {kind} score >= {note.value:.3f} "
                f"({note.set_by} {note.setting:g}), about {note.expected_per_day:.3g} a day on normal data"
            )


def _kept(config: Config) -> dict[str, Any]:
    """What of the configuration shapes the windows and templates a bundle is made for."""
    kept: dict[str, Any] = config.model_dump(
        mode="json", exclude_none=True, include={"pipeline", "format", "entity", "templates", "windows"}
    )
    return {"pipeline": kept}


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _lines(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        return frozenset(line for line in path.read_text("utf-8").split("\n") if line)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "give a text file with one entity to a line") from error
