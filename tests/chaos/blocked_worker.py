"""`longwatch run` whose source reaches the broker directly, and whose producer reaches it through the proxy's port.

python -P tests/chaos/blocked_worker.py PORT run pipeline.yaml --instance w1
"""

import sys
from dataclasses import replace
from typing import Any

from longwatch.pipeline import kafka_port
from longwatch.pipeline.cli import main
from longwatch.pipeline.kafka_settings import KafkaSettings


def reach_through(port: int) -> None:
    """From now on producers are opened at this port; nothing else of the product differs."""
    opened = kafka_port.open_producer

    def open_producer(settings: KafkaSettings, transactional_id: str) -> Any:
        return opened(replace(settings, bootstrap_servers=(f"127.0.0.1:{port}",)), transactional_id)

    kafka_port.KafkaPort.open_producer = staticmethod(open_producer)  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    reach_through(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
