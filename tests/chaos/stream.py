"""A seeded stream of log lines with some that cannot be read and some that are late, produced a few at a time."""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from datetime import date, timedelta

from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY, generate
from longwatch.pipeline.sources.partitioner import partition_of
from support.kafka_broker import KafkaForTests

Line = tuple[str, str]
BUSY_HOURS = 8
LATE_BY = 60


def lines(seed: int, first_day: date = DEMO_FIRST_DAY) -> Iterator[Line]:
    """(key, line) without an end, from the morning of a company's first day on; one in 60 is bad, one in 60 late."""
    draw = random.Random(seed)
    before: deque[Line] = deque(maxlen=LATE_BY)
    for line in _company(seed, first_day):
        yield line
        before.append(line)
        if draw.random() < 1 / 60:
            yield (f"vpn-{draw.randrange(9)}", f"no header in line {draw.randrange(10**9)}")
        if len(before) == LATE_BY and draw.random() < 1 / 60:
            yield before[0]


def _company(seed: int, first_day: date) -> Iterator[Line]:
    for day in itertools.count():
        for number, hour in enumerate(generate(seed, first_day + timedelta(days=day), 1.0)):
            if day or number >= BUSY_HOURS:
                yield from hour.select("entity", "line").iter_rows()


class Stream:
    """Writes the stream's next lines into a topic when asked to, as a producer with the default partitioner would.

    `options` are the producer's.
    """

    def __init__(
        self,
        kafka: KafkaForTests,
        topic: str,
        partitions: int,
        seed: int,
        first_day: date = DEMO_FIRST_DAY,
        **options: object,
    ) -> None:
        self._producer = kafka.producer(**options)
        self._topic = topic
        self._partitions = partitions
        self._lines = lines(seed, first_day)
        self.produced = 0

    def produce(self, count: int) -> None:
        """Write so many lines; they arrive in order."""
        for key, line in itertools.islice(self._lines, count):
            self.produce_line((key, line), partition_of(key.encode(), self._partitions))
        self.produced += count

    def produce_line(self, line: Line, partition: int) -> None:
        """Write one line of any kind."""
        self._producer.send(self._topic, line[1].encode(), line[0].encode(), [], partition)

    def flush(self) -> None:
        """All of it is in the topic, and the next line begins another batch."""
        self._producer.flush(timeout=60)

    def close(self) -> None:
        """All of it is in the topic."""
        self.flush()
        self._producer.close()
