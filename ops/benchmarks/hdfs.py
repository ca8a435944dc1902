"""HDFS from raw text: train on the first half's normal blocks, run the worker on a real Kafka, judge the second half.

    PYTHONPATH=tests python ops/benchmarks/hdfs.py --seeds 0 1 2

Protocol (ops/EXPERIMENTS.md): the middle of the time span splits lines; training sees lines before it, of blocks that
are labelled normal; the threshold comes from held-out windows of those; blocks that begin later are judged. All lines
go to a topic of three partitions, the worker commits alerts, and backtests of the file and of the topic must give the
same alerts; the floors are of the same windows. One JSON line a seed. Needs hdfs_raw (LONGWATCH_DATA) and Java.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl
from ruamel.yaml import YAML

from longwatch.pipeline.assembly import Model, open_model
from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.commands.backtest import render, replay_history, report
from longwatch.pipeline.commands.train import train
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.kafka_settings import KafkaSettings
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.labels import read_labels
from longwatch.pipeline.records import RECORD_SCHEMA
from longwatch.pipeline.report import Slice, windows_of
from longwatch.pipeline.template_columns import TemplateColumns
from support.datasets import ROOT as DATA
from support.kafka_broker import KafkaForTests, running_broker
from support.live import Live, produce_lines
from support.parsing import grouping_accuracy, hdfs_lines, hdfs_messages

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 3

Messages = dict[tuple[str, int, str], float]


@dataclass(frozen=True)
class Half:
    """The capture, cut in the middle of its time span."""

    log: Path
    middle: datetime
    anomalous: Path


def prepare(folder: Path) -> tuple[Half, list[str]]:
    """Writes the log and the list of anomalous blocks; gives all lines."""
    lines = hdfs_lines(DATA / "hdfs_raw").to_list()
    first, last = (datetime.strptime(line[:13], "%y%m%d %H%M%S").replace(tzinfo=UTC) for line in (lines[0], lines[-1]))
    log, anomalous = folder / "hdfs.log", folder / "anomalous.txt"
    log.write_text("".join(f"{line}\n" for line in lines))
    labels = pl.read_csv(DATA / "hdfs_raw" / "labels.csv")
    anomalous.write_text("\n".join(labels.filter(pl.col("label") != "Normal")["block_id"]))
    return Half(log, first + (last - first) / 2, anomalous), lines


def write_config(folder: Path, kafka: KafkaForTests, topic: str) -> Live:
    """configs/pipeline/hdfs.yaml with this run's broker, topics and bundle."""
    outputs = kafka.name("hdfs-out")
    sections = YAML(typ="safe").load(ROOT / "configs" / "pipeline" / "hdfs.yaml")
    sections["pipeline"] = kafka.name("hdfs")
    servers = [kafka.bootstrap_servers]
    sections["source"] = {"kafka": {"bootstrap_servers": servers, "topic": topic, "poll_records": 5000}}
    names = {"alerts": f"{outputs}.alerts", "dead_letters": f"{outputs}.dlq", "late": f"{outputs}.late"}
    sections |= {"bundle": str(folder / "bundle"), "sink": {"kafka": {**names, "create_topics": True}}}
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps(sections))
    return Live(kafka, path, topic, outputs)


def train_on_first_half(live: Live, half: Half, seed: int) -> float:
    """Seconds that `longwatch train` took over the file, cut at the middle."""
    recipe = YAML(typ="safe").load(ROOT / "configs" / "train" / "hdfs.yaml") | {"seed": seed}
    (live.config.parent / "train.yaml").write_text(json.dumps(recipe))
    sections = json.loads(live.config.read_text())
    sections["source"] = {"files": {"paths": [str(half.log)], "as_topic": {"name": live.topic}}}
    sections["sink"] = {"embedded": {}}
    by_file = live.config.with_name("by-file.yaml")
    by_file.write_text(json.dumps(sections))
    started = time.perf_counter()
    with redirect_stdout(sys.stderr):
        train(
            by_file,
            {},
            ROOT / "configs" / "model" / "hdfs.yaml",
            live.config.with_name("train.yaml"),
            live.config.with_name("bundle"),
            half.anomalous,
            until=half.middle.isoformat(),
        )
    return time.perf_counter() - started


def one_seed(kafka: KafkaForTests, topic: str, half: Half, seed: int) -> dict[str, object]:
    """Trains, runs live, replays, judges; the figures of one seed."""
    folder = half.log.parent / f"seed-{seed}"
    folder.mkdir()
    live = write_config(folder, kafka, topic)
    trained = train_on_first_half(live, half, seed)
    started = time.perf_counter()
    live.run()
    seconds = time.perf_counter() - started
    config = load_config(live.config)
    model = open_model(config)
    figures, by_file = judge(config, model, half, folder)
    committed = {(a.alert_id, a.revision, a.lifecycle): a.score for a in live.alerts()}
    by_topic = messages(replay_history(config, model, [], None, None, folder / "by-topic"))
    worst = max(difference("file", by_file, committed), difference("topic", by_topic, committed))
    return {
        "benchmark": "hdfs",
        "seed": seed,
        "train_seconds": round(trained, 1),
        "live_seconds_with_10_s_of_silence": round(seconds, 1),
        "live_alert_messages": len(committed),
        "largest_score_difference_live_backtest": round(worst, 6),
        "grouping_accuracy": round(grouping(config, model), 5),
        **figures,
    }


def judge(config: Config, model: Model, half: Half, folder: Path) -> tuple[dict[str, object], Messages]:
    """Figures of the later half, and every alert message of the backtest."""
    out = folder / "backtest"
    done = replay_history(config, model, [half.log], None, None, out)
    middle_ms = int(half.middle.timestamp() * 1000)
    later = Slice(start_ms=middle_ms).keep(windows_of(done.scores, done.alerts))
    texts = TemplateColumns(model.templates).texts
    figures = report(done, model, read_labels(DATA / "hdfs_raw" / "labels.csv"), later, out, texts)
    sys.stderr.write(render(figures) + "\n")
    return figures, messages(done)


def messages(done: Replay) -> Messages:
    """Score of each alert message of a replay."""
    return {(a.alert_id, a.revision, a.lifecycle): a.score for a in done.alerts}


def difference(source: str, replayed: Messages, committed: Messages) -> float:
    """Largest difference in score between a replay and the live run; ends the benchmark where the messages differ."""
    if replayed.keys() != committed.keys():
        raise SystemExit(
            f"live and backtest of the {source} differ in {len(replayed.keys() ^ committed.keys())} messages"
        )
    return max((abs(score - committed[key]) for key, score in replayed.items()), default=0.0)


def grouping(config: Config, model: Model) -> float:
    """Grouping accuracy of the frozen template set over all lines, half of which it never saw."""
    values = hdfs_lines(DATA / "hdfs_raw").cast(pl.Binary)
    columns = {"offset": range(len(values)), "timestamp_ms": [-1] * len(values), "key": [None] * len(values)}
    records = pl.DataFrame({**columns, "value": values}, schema=RECORD_SCHEMA)
    events = Decoder(config.format, config.entity).decode(records).events
    found = TemplateColumns(model.templates).add(events)["template_id"]
    return grouping_accuracy(found, hdfs_messages(DATA / "hdfs_raw")[1]).lines


def main() -> None:
    """One broker, one topic, one line of JSON for each seed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = options.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)
    about = {
        "commit": commit.stdout.strip(),
        "device": f"{platform.machine()} CPU, {platform.python_version()}",
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "polars", "kafka-python")},
    }
    with tempfile.TemporaryDirectory() as scratch:
        half, lines = prepare(Path(scratch))
        with running_broker(Path(scratch) / "kafka") as kafka:
            topic = kafka.create_topic(PARTITIONS)
            produce_lines(kafka, topic, ((_block(line), line) for line in lines), PARTITIONS)
            settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap_servers,))
            sys.stderr.write(f"{len(lines):,} lines in {topic}, id {describe_topic(settings, topic).topic_id}\n")
            for seed in given.seeds:
                sys.stdout.write(json.dumps({**one_seed(kafka, topic, half, seed), **about}) + "\n")
                sys.stdout.flush()


def _block(line: str) -> str:
    start = line.index("blk_")
    digits = line[start + 4 :].lstrip("-")
    return line[start : len(line) - len(digits)] + digits[: len(digits) - len(digits.lstrip("0123456789"))]


if __name__ == "__main__":
    main()
