"""What may change while a worker runs, and where that is recorded."""

from pydantic import Field

from longwatch.pipeline.config.base import Model
from longwatch.pipeline.config.values import Duration, PositiveDuration, TopicName, YamlPath


class Reload(Model):
    """Thresholds, silence rules and the bundle are taken over from the changed file without a restart."""

    topic: TopicName = Field(
        default="longwatch.settings",
        description="Topic that records at which offsets which thresholds and bundle took effect.",
    )
    bundles: YamlPath | None = Field(
        default=None,
        description="Folder of the bundles that were deployed, for what they judged; left out, where `bundle` is.",
    )
    look_every: PositiveDuration = Field(
        default=Duration(1000), description="How often the file is looked at; SIGHUP has it read at once."
    )
