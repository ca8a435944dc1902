"""The endpoint for Prometheus and for health checks."""

from pydantic import Field

from longwatch.pipeline.config.values import Duration, PositiveDuration
from longwatch.pipeline.config.web import Web


class Metrics(Web):
    """/metrics, /healthz and /readyz; beyond this machine, /metrics asks for a token."""

    port: int = Field(default=9464, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    stalled_after: PositiveDuration = Field(
        default=Duration(60_000), description="/healthz fails when the loop has stood still this long."
    )
    unready_after: PositiveDuration = Field(
        default=Duration(30_000), description="/readyz fails when work has waited this long for its commit."
    )
