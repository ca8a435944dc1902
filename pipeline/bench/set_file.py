"""A benchmark set as YAML: its files, what an event and an entity is, what is known to be wrong, the split."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError

from longwatch.pipeline.config.base import Model, OneOf, Problem
from longwatch.pipeline.config.detection import Templates, Windows
from longwatch.pipeline.config.format import Entity, Format
from longwatch.pipeline.config.problems import file_error
from longwatch.pipeline.config.values import Many, Pattern, PositiveDuration, Text
from longwatch.pipeline.yaml_document import read_yaml

Words = Many[Text]
Share = Annotated[float, Field(gt=0, lt=1)]


class Wrong(Model):
    """Which rows are anomalous: those whose column holds none of the normal words; what it holds names the incident."""

    column: Text = Field(description="Column of the label.")
    normal: Words = Field(description="Values that mean normal.")


class Split(OneOf):
    """Where the past ends: methods learn before it and are judged after it."""

    kinds: ClassVar[tuple[str, ...]] = ("share", "time", "before_first")

    share: Share | None = Field(default=None, description="Share of the events, oldest first.")
    time: Text | None = Field(default=None, description="Event time, ISO 8601.")
    before_first: Wrong | None = Field(default=None, description="The first row that this column calls wrong.")


class EventTime(Model):
    """The event time of a row."""

    column: Words = Field(min_length=1, description="Columns that may hold it, the first that does; read as UTC.")
    format: Literal["epoch_s", "epoch_ms", "iso8601"] = Field(default="iso8601", description="How it is written.")


class SequenceTable(Model):
    """Parquet with one whole trace a row, its events a list of numbers or texts; no times."""

    files: Words = Field(min_length=1, description="Files or globs, relative to the folder.")
    events: Text = Field(description="Column of lists.")
    train: dict[str, Words] = Field(description="Values of columns that make a row training data.")
    test: dict[str, Words] = Field(description="Values of columns that make a row test data.")
    anomalous: Wrong = Field(description="Which test rows are anomalous.")
    incident: Text | None = Field(default=None, description="Column that says what kind of incident a row is.")
    normal_weight: float = Field(default=1.0, gt=0, description="Normal traces that each one in the test stands for.")


class EventTable(Model):
    """CSV, JSON lines or Parquet with one event a row, cut into windows of fixed length per entity."""

    files: Words = Field(min_length=1, description="Files or globs, relative to the folder.")
    each_file: bool = Field(default=False, description="Each file is a case of its own.")
    time: EventTime = Field(description="Event time.")
    entity: Words = Field(min_length=1, description="Columns that say whose the event is; `column$.path` reads JSON.")
    event: Words = Field(min_length=1, description="Columns that say what the event is; `column$.path` reads JSON.")
    window: PositiveDuration = Field(description="Length of a window.")
    max_events: int = Field(default=3000, ge=1, description="Later events of a window are not read.")
    context: int = Field(default=16, ge=0, description="Events before a window that are read and not scored.")
    anomalous: Wrong | None = Field(default=None, description="Which events are anomalous; left out, nobody knows.")
    split: Split = Field(description="Where the past ends.")


class LineFiles(Model):
    """Raw logs, read by the pipeline's own decoder, templates and windows."""

    files: Words = Field(min_length=1, description="Files or globs, relative to the folder.")
    format: Format = Field(description="What a record looks like.")
    entity: Entity = Field(description="Whose behaviour is modelled.")
    templates: Templates = Field(default_factory=Templates, description="How messages are reduced to templates.")
    windows: Windows = Field(default_factory=Windows, description="Which events are scored together.")
    whole_lives: bool = Field(default=False, description="A window is an entity's whole life, not a cut of a stream.")
    labels: Text | None = Field(default=None, description="CSV: entity,label or entity,start,end.")
    anomalous_line: Pattern | None = Field(default=None, description="Pattern that anomalous lines match.")
    split: Split = Field(description="Where the past ends.")

    def _problems(self) -> list[Problem]:
        problems = list(self.entity.problems_with(self.format))
        if self.labels and self.anomalous_line:
            problems.append(Problem("labels twice", "keep `labels` or `anomalous_line`", ("labels",)))
        if self.split.before_first:
            problems.append(Problem("lines have no columns", "use `share` or `time`", ("split", "before_first")))
        return problems


class SetFile(OneOf):
    """One benchmark set."""

    kinds: ClassVar[tuple[str, ...]] = ("sequences", "events", "lines")

    name: Text = Field(description="What tables call it.")
    folder: Text = Field(default=".", description="Where the files are: beside this YAML file, or below --data.")
    sequences: SequenceTable | None = Field(default=None, description="Whole traces.")
    events: EventTable | None = Field(default=None, description="Rows of events with times.")
    lines: LineFiles | None = Field(default=None, description="Raw logs.")


def read_set(path: Path) -> SetFile:
    """The set of a YAML file; ConfigError names every wrong place as file:line:column."""
    document = read_yaml(path)
    try:
        return SetFile.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise file_error(error, document, {}) from None
