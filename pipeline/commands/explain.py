"""`longwatch explain ALERT_ID`: why an alert was raised, from the folder of a backtest that raised it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import polars as pl

from longwatch.model.scorer import END_TEMPLATE
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import Model, model_at
from longwatch.pipeline.commands.backtest import PROVENANCE
from longwatch.pipeline.config import Masking
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import BundleUnusableError, InputError, UsageError
from longwatch.pipeline.masking.masker import Masker
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.why.case import case_of
from longwatch.pipeline.why.explanation import explain_case, render

HINT = "`longwatch backtest` over the time of the alert gives it the same id as the live worker did"


def explain(alert_id: str, folder: Path) -> int:
    """Prints the explanation of the alert as it stood last; the first characters of an id are enough."""
    alert = find_alert(alert_id, folder)
    model = _model(folder, alert)
    texts = {**TemplateColumns(model.templates).texts, END_ID: END_TEMPLATE}
    case = case_of(alert, pl.scan_parquet(folder / "scores" / "*.parquet"), texts)
    write_line(_masker(folder).text(render(alert, explain_case(case, model))))
    return 0


def find_alert(alert_id: str, folder: Path) -> Alert:
    """The last message of the one alert whose id begins so.

    Raises:
        UsageError: none has, or more than one. InputError: the folder holds no backtest.
    """
    try:
        table = pl.scan_parquet(folder / "alerts.parquet").select("alert_id", "revision", "message")
        messages = table.filter(pl.col("alert_id").str.starts_with(alert_id.lower())).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{folder} holds no alerts of a backtest: {error}", "name its folder with --backtest"
        ) from error
    ids = messages["alert_id"].unique().sort().to_list()
    if len(ids) != 1:
        what = f"{len(ids)} alerts begin so: {', '.join(ids[:4])}" if ids else f"no alert in {folder} has that id"
        raise UsageError(f"{alert_id}: {what}", "give more of the id" if ids else HINT)
    return msgspec.json.decode(messages.sort("revision")["message"][-1], type=Alert)


def _masker(folder: Path) -> Masker:
    """Of the backtest, whose scores hold templates as they came; without its key, so no mark names a pseudonym."""
    return Masking.model_validate_json(_told(folder, "masking")).masker()


def _told(folder: Path, name: str) -> str:
    path = folder / PROVENANCE
    try:
        return str(json.loads(path.read_text("utf-8"))[name])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "run the backtest again") from error


def _model(folder: Path, alert: Alert) -> Model:
    bundle = Path(_told(folder, "bundle folder"))
    model = model_at(bundle)
    if model.bundle.digest != alert.digests.bundle:
        raise BundleUnusableError(f"{bundle} is another bundle than the alert's", hint="run the backtest again")
    return model
