"""What may change while a worker runs, and where that is recorded."""

from pydantic import Field

from longwatch.pipeline.config.base import Model
from longwatch.pipeline.config.values import Duration, PositiveDuration, TopicName


class Reload(Model):
    """Thresholds and silence rules are taken over from the changed file without a restart."""

    topic: TopicName = Field(
        default="longwatch.settings", description="Topic that records at which offsets which thresholds took effect."
    )
    look_every: PositiveDuration = Field(
        default=Duration(1000), description="How often the file is looked at; SIGHUP has it read at once."
    )
