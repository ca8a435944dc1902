"""`longwatch doctor pipeline.yaml`: looks for what keeps a worker from running well, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import UsageError


def doctor(config: Path, overrides: Mapping[str, str], as_json: bool) -> int:
    """0 unless a check failed; a running worker is not disturbed."""
    loaded = load_config(config, overrides)
    source, sink = loaded.source.kafka, loaded.sink.kafka
    if source is None or sink is None:
        raise UsageError(f"{config} has no source.kafka with sink.kafka", "`longwatch validate` checks all it has")
    from longwatch.pipeline.doctor.answer import Answer, exit_code
    from longwatch.pipeline.doctor.examination import Examination

    answers: list[Answer] = []
    for answer in Examination(loaded, source, sink, SystemClock()).answers():
        answers.append(answer)
        if not as_json:
            write_line(f"{answer.state:<14} {answer.check:<21} {answer.said}")
            if answer.hint:
                write_line(f"{'':<14} {'':<21} -> {answer.hint}")
    if as_json:
        listed = [answer.as_dict() for answer in answers]
        write_line(json.dumps({"failed": bool(exit_code(answers)), "answers": listed}, indent=2))
    return exit_code(answers)
