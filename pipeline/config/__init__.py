"""The configuration of a pipeline: what YAML may say, with types, defaults and errors that name line and column."""

from longwatch.pipeline.config.detection import (
    Alerts,
    Limits,
    Mask,
    Match,
    Rule,
    Scorer,
    Templates,
    Threshold,
    Thresholds,
    Windows,
)
from longwatch.pipeline.config.feedback import Feedback, SilenceRule
from longwatch.pipeline.config.format import (
    Entity,
    Format,
    JsonFormat,
    JsonTimestamp,
    OtelFormat,
    Rfc3164Format,
    Rfc5424Format,
    TextFormat,
    TextTimestamp,
)
from longwatch.pipeline.config.kafka_client import ClientOptions
from longwatch.pipeline.config.load import config_from, load_config
from longwatch.pipeline.config.logs import Logging
from longwatch.pipeline.config.masking import Masking
from longwatch.pipeline.config.metrics import Metrics
from longwatch.pipeline.config.relay import Relay
from longwatch.pipeline.config.relay_targets import Allow, Target
from longwatch.pipeline.config.root import Config
from longwatch.pipeline.config.sink import EmbeddedSink, KafkaSink, Sink
from longwatch.pipeline.config.source import AsTopic, FilesSource, KafkaSource, Source, StdinSource
from longwatch.pipeline.config.tracing import Tracing
from longwatch.pipeline.config.values import Duration, Size
from longwatch.pipeline.config.web import Web

__all__ = [
    "Alerts",
    "Allow",
    "AsTopic",
    "ClientOptions",
    "Config",
    "Duration",
    "EmbeddedSink",
    "Entity",
    "Feedback",
    "FilesSource",
    "Format",
    "JsonFormat",
    "JsonTimestamp",
    "KafkaSink",
    "KafkaSource",
    "Limits",
    "Logging",
    "Mask",
    "Masking",
    "Match",
    "Metrics",
    "OtelFormat",
    "Relay",
    "Rfc3164Format",
    "Rfc5424Format",
    "Rule",
    "Scorer",
    "SilenceRule",
    "Sink",
    "Size",
    "Source",
    "StdinSource",
    "Target",
    "Templates",
    "TextFormat",
    "TextTimestamp",
    "Threshold",
    "Thresholds",
    "Tracing",
    "Web",
    "Windows",
    "config_from",
    "load_config",
]
