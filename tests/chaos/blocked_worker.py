"""`longwatch run` whose source reaches the broker directly, and whose producer reaches it through the proxy's port.

python -P tests/chaos/blocked_worker.py PORT READ run pipeline.yaml --instance w1

The file READ gets a line for each poll that gave records: when, by the clock on the wall, and how many.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from longwatch.pipeline import kafka_port
from longwatch.pipeline.cli import main
from longwatch.pipeline.kafka_reader import Reader
from longwatch.pipeline.kafka_settings import KafkaSettings
from longwatch.pipeline.records import RecordBatch


def reach_through(port: int) -> None:
    """From now on producers are opened at this port; nothing else of the product differs."""
    opened = kafka_port.open_producer

    def open_producer(settings: KafkaSettings, transactional_id: str) -> Any:
        return opened(replace(settings, bootstrap_servers=(f"127.0.0.1:{port}",)), transactional_id)

    kafka_port.KafkaPort.open_producer = staticmethod(open_producer)  # type: ignore[method-assign,assignment]


def write_down_polls(path: Path) -> None:
    """Note what the source reads, also what the worker drops unseen."""
    poll, file = Reader.poll, path.open("w", buffering=1)

    def noted(self: Reader, timeout_ms: int) -> list[RecordBatch]:
        batches = poll(self, timeout_ms)
        if number := sum(len(batch.frame) for batch in batches):
            file.write(f"{time.time()} {number}\n")
        return batches

    Reader.poll = noted  # type: ignore[method-assign]


def records_read(path: Path, first: float, last: float) -> int:
    """How many records were read in that time."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return sum(int(number) for at, number in lines if first <= float(at) <= last)


if __name__ == "__main__":
    reach_through(int(sys.argv[1]))
    write_down_polls(Path(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
