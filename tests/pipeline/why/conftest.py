"""A day and a half of the demo, backtested: alerts of every kind, and two hosts where only the order is wrong."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from longwatch.model.scorer import END_TEMPLATE
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.commands.backtest import replay_history
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.why.case import Case, case_of
from support.demo import demo_config, demo_frame, demo_model

TEXTS = {**TemplateColumns(demo_model().templates).texts, END_ID: END_TEMPLATE}


@dataclass(frozen=True)
class Past:
    replay: Replay

    @property
    def last(self) -> list[Alert]:
        """Each alert's last message."""
        return list({alert.alert_id: alert for alert in self.replay.alerts}.values())

    def case(self, alert: Alert) -> Case:
        return case_of(alert, self.replay.scores, TEXTS)

    def rows(self) -> pl.DataFrame:
        return self.replay.scores.collect()


@pytest.fixture(scope="session")
def past(tmp_path_factory) -> Past:
    log: Path = tmp_path_factory.mktemp("why") / "demo.log"
    log.write_text("".join(f"{line}\n" for line in demo_frame((0, 36))["line"]))
    return Past(replay_history(demo_config(), demo_model(), [log], None, None, log.parent / "out"))
