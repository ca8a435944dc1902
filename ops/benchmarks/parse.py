"""Messages to templates on one core: lines a second, grouping accuracy, and Drain3 on the same lines in the same run.

    PYTHONPATH=tests POLARS_MAX_THREADS=1 python ops/benchmarks/parse.py

Prints one JSON line. Needs the public data (LONGWATCH_DATA) and drain3; `make bench-parse` brings that.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from string import ascii_lowercase

import polars as pl

from longwatch.pipeline.template_leaves import leaves
from longwatch.pipeline.templates import TemplateMatcher, TemplateSet
from support.datasets import ROOT as DATA
from support.drain import Drain
from support.parsing import GroupingAccuracy, grouping_accuracy, loghub_names, loghub_samples, raw_lines

CORPORA = {
    "hdfs_raw": "hdfs_raw/hdfs.log.zst",
    "thunderbird": "thunderbird_raw/thunderbird.log.zst",
    "Linux": "raw_unlabelled/Linux.log.zst",
    "apache_access": "raw_unlabelled/apache_access.log.zst",
    "HealthApp": "raw_unlabelled/HealthApp_20000.log.zst",
    "auth": "raw_unlabelled/auth.log.zst",
    "BGL": "raw_unlabelled/BGL_5000.log.zst",
}
BATCHES = (500, 4096, 65536)
PASSES = 7
DRAIN_LINES = 10_000
UNSEEN = 0.15
MERGE_ABOVE = (2, 3, 4, 5, 6)

# Failures were read, and rules written, on every second system by name; the others were scored only.
READ = slice(1, None, 2)
NOT_READ = slice(0, None, 2)


def rate(lines: int, work: Callable[[], object], passes: int = PASSES) -> int:
    """Lines a second of the best pass, by the process's CPU time: other programs on the machine do not count."""
    best = float("inf")
    for _ in range(passes):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return round(lines / best)


def match(matcher: TemplateMatcher, lines: pl.Series, batch: int) -> None:
    for offset in range(0, len(lines), batch):
        matcher.match(lines[offset : offset + batch])


def speeds(lines: pl.Series) -> dict[str, object]:
    """Whole lines, headers too. Warm: every leaf is in the table. Cold: a new matcher, its set from the first half."""
    known = TemplateSet.learn(leaves(lines).unique())
    matcher = TemplateMatcher(known)
    matcher.match(lines)
    half = TemplateSet.learn(leaves(lines[: len(lines) // 2]).unique())
    drain, some = Drain(), lines[:DRAIN_LINES].to_list()
    return {
        "lines": len(lines),
        "bytes_a_line": round(float(lines.str.len_bytes().mean() or 0.0)),
        "leaves": len(known.templates),
        "warm": {str(batch): rate(len(lines), lambda batch=batch: match(matcher, lines, batch)) for batch in BATCHES},
        "cold": rate(len(lines), lambda: match(TemplateMatcher(half), lines, 4096), 3),
        "drain3_learning": rate(len(some), lambda: Drain().learn(some), 1),
        "drain3_warm": (drain.learn(some), rate(len(some), lambda: drain.match(some), 1))[1],
    }


def with_unseen(lines: pl.Series, numbers: "count[int]") -> pl.Series:
    """The lines, `UNSEEN` of them with a word behind that no other line has, without a digit that would mask it."""
    texts = lines.to_list()
    for row in range(len(texts)):
        if int((row + 1) * UNSEEN) > int(row * UNSEEN):
            number = next(numbers)
            texts[row] += " " + "".join(ascii_lowercase[number // 26**place % 26] for place in range(5))
    return pl.Series(texts)


def unseen_rate(lines: pl.Series) -> int:
    """Lines a second where 15 in 100 have a leaf seen never before, by a matcher that knows all the others."""
    matcher = TemplateMatcher(TemplateSet.learn(leaves(lines).unique()))
    matcher.match(lines)
    numbers, best = count(), 0
    for _ in range(PASSES):
        mixed = with_unseen(lines, numbers)
        best = max(best, rate(len(mixed), lambda mixed=mixed: match(matcher, mixed, 4096), 1))
    return best


def ours(messages: pl.Series, truth: pl.Series, above: int = 4) -> GroupingAccuracy:
    template_set = TemplateSet.learn(leaves(messages).unique(), merge_above=above)
    return grouping_accuracy(TemplateMatcher(template_set).match(messages)["template_id"], truth)


def accuracy() -> dict[str, object]:
    """GA and FGA of each system; the means of all, of those whose failures were read, and of the others."""
    names, samples = loghub_names(DATA / "loghub_2k"), list(loghub_samples(DATA / "loghub_2k"))
    found = [ours(*sample) for sample in samples]
    peer = [grouping_accuracy(pl.Series(Drain().learn(lines.to_list())), truth) for lines, truth in samples]
    parts = {"all": slice(None), "read": READ, "not_read": NOT_READ}
    return {
        "systems": {name: [*pair(a), *pair(b)] for name, a, b in zip(names, found, peer, strict=True)},
        "ours": {part: mean(found[which]) for part, which in parts.items()},
        "drain3": {part: mean(peer[which]) for part, which in parts.items()},
        "below_drain3_ga": [n for n, a, b in zip(names, found, peer, strict=True) if a.lines < b.lines],
        "merge_above_chosen_without_the_system": mean(leave_one_out(samples)),
    }


def leave_one_out(samples: list[tuple[pl.Series, pl.Series]]) -> list[GroupingAccuracy]:
    """Each system with the `merge_above` that is best, by the sum of the means, on the fifteen others."""
    table = [[ours(*sample, above) for above in MERGE_ABOVE] for sample in samples]
    left = []
    for out, row in enumerate(table):
        sums = [
            sum(other[at].lines + other[at].templates for which, other in enumerate(table) if which != out)
            for at in range(len(MERGE_ABOVE))
        ]
        left.append(row[sums.index(max(sums))])
    return left


def pair(score: GroupingAccuracy) -> list[float]:
    return [round(score.lines, 4), round(score.templates, 4)]


def mean(scores: list[GroupingAccuracy]) -> dict[str, float]:
    number = len(scores)
    return {
        "ga": round(sum(each.lines for each in scores) / number, 4),
        "fga": round(sum(each.templates for each in scores) / number, 4),
    }


FIRST_MATCH = """
import time, polars as pl
start = time.perf_counter()
from longwatch.pipeline.templates import TemplateMatcher, TemplateSet
imported = time.perf_counter()
TemplateMatcher(TemplateSet()).match(pl.Series(["a"]))
print(imported - start, time.perf_counter() - imported)
"""


def start_up() -> dict[str, list[float]]:
    """Seconds to import the matcher and to its first line: with nothing compiled before, and from the cache."""
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {"NUMBA_CACHE_DIR": cache}
        runs = [
            subprocess.run([sys.executable, "-c", FIRST_MATCH], env=env, capture_output=True, text=True, check=True)
            for _ in range(2)
        ]
    cold, cached = ([round(float(part), 2) for part in run.stdout.split()] for run in runs)
    return {"cold": cold, "cached": cached}


def main() -> None:
    corpora = {name: raw_lines(DATA / path) for name, path in CORPORA.items()}
    result = {
        "benchmark": "parse",
        "lines_per_cpu_second": {name: speeds(lines) for name, lines in corpora.items()},
        "lines_per_cpu_second_15_percent_unseen": unseen_rate(corpora["apache_access"]),
        "loghub_2k_ga_fga_drain3_ga_fga": accuracy(),
        "start_up_seconds_import_first_line": start_up(),
        "device": f"{platform.machine()} CPU, one thread, {platform.python_version()}",
        "versions": {name: version(name) for name in ("numba", "polars", "numpy", "drain3")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
