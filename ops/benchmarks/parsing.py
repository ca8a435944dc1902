"""Parsing on one thread: lines a second from bytes to event and from message to template, and grouping accuracy.

Prints one JSON line. Needs hdfs_raw and loghub_2k; LONGWATCH_DATA names the folder that holds them.

PYTHONPATH=tests POLARS_MAX_THREADS=1 python ops/benchmarks/parsing.py
"""

import json
import time
from collections.abc import Callable

import polars as pl

from longwatch.pipeline.config import Entity, Format
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.records import RECORD_SCHEMA
from longwatch.pipeline.template_masks import leaves
from longwatch.pipeline.templates import TemplateMatcher, TemplateSet
from support.datasets import ROOT as DATA
from support.parsing import grouping_accuracy, hdfs_lines, hdfs_messages, loghub_samples

HEADER = r"(?P<date>\d{6}) (?P<time>\d{6}) \d+ (?P<level>\w+) (?P<message>.*)"
TEXT = {"header": HEADER, "timestamp": {"format": "%y%m%d %H%M%S", "from": "{date} {time}"}}
JSON = {"timestamp": {"field": "time", "format": "epoch_ms"}, "message": "{msg}"}
ENTITY = Entity.model_validate({"pattern": r"(?P<entity>blk_-?\d+)"})
BATCHES = (500, 4096, 65536)
REPEATS = 3


def lines_per_second(work: Callable[[pl.DataFrame], object], frame: pl.DataFrame, batch: int) -> int:
    """Best of three passes, by the process's CPU time: other programs on the machine do not count."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        for offset in range(0, len(frame), batch):
            work(frame[offset : offset + batch])
        best = min(best, time.process_time() - start)
    return round(len(frame) / best)


def as_records(lines: pl.Series) -> pl.DataFrame:
    columns = {"offset": range(len(lines)), "timestamp_ms": [-1] * len(lines), "key": [None] * len(lines)}
    return pl.DataFrame({**columns, "value": lines.cast(pl.Binary)}, schema=RECORD_SCHEMA)


def as_json(lines: pl.Series) -> pl.Series:
    return pl.Series([json.dumps({"time": 1_226_262_931_000, "level": "INFO", "msg": line}) for line in lines])


def main() -> None:
    lines = hdfs_lines(DATA / "hdfs_raw")
    messages, truth = hdfs_messages(DATA / "hdfs_raw")
    matcher = TemplateMatcher(TemplateSet.learn(leaves(messages).unique()))
    hdfs = grouping_accuracy(matcher.match(messages)["template_id"], truth)
    samples = []
    for sample, templates in loghub_samples(DATA / "loghub_2k"):
        template_set = TemplateSet.learn(leaves(sample).unique())
        samples.append(grouping_accuracy(TemplateMatcher(template_set).match(sample)["template_id"], templates))
    text = Decoder(Format.model_validate({"text": TEXT}), ENTITY)
    jsonl = Decoder(Format.model_validate({"json": JSON}), ENTITY)
    speeds = {
        str(batch): {
            "text_decode": lines_per_second(text.decode, as_records(lines), batch),
            "json_decode": lines_per_second(jsonl.decode, as_records(as_json(lines)), batch),
            "template_match": lines_per_second(lambda f: matcher.match(f["line"]), messages.to_frame(), batch),
        }
        for batch in BATCHES
    }
    result = {
        "benchmark": "parsing",
        "hdfs_raw": {"lines": len(lines), "ga": hdfs.lines, "fga": hdfs.templates},
        "loghub_2k": {
            "systems": len(samples),
            "ga": round(sum(each.lines for each in samples) / len(samples), 4),
            "fga": round(sum(each.templates for each in samples) / len(samples), 4),
        },
        "lines_per_cpu_second_by_batch": speeds,
        "polars": pl.__version__,
        "threads": pl.thread_pool_size(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
