"""Sets by the name of a shipped YAML file, or by the path of a user's own."""

from pathlib import Path

from longwatch.model.bench.case import Case
from longwatch.pipeline.bench.set_file import SetFile, read_set
from longwatch.pipeline.errors import UsageError

SHIPPED = Path(__file__).parent / "sets"


def shipped_sets() -> list[str]:
    """Names of the sets that longwatch knows."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def open_set(name: str, data: Path) -> tuple[SetFile, Path]:
    """The set and the folder of its files: below `data` for a shipped one, beside the YAML file for any other."""
    if name in shipped_sets():
        described = read_set(SHIPPED / f"{name}.yaml")
        return described, data / described.folder
    path = Path(name)
    if not path.is_file():
        known = ", ".join(shipped_sets())
        raise UsageError(f"`{name}` is neither a set nor a YAML file", f"sets are {known}; see configs/bench/own.yaml")
    described = read_set(path)
    return described, path.parent / described.folder


def cases_of(described: SetFile, folder: Path) -> list[Case]:
    """The set's cases, read from its files."""
    if described.sequences is not None:
        from longwatch.pipeline.bench.sequences import sequence_case

        return [sequence_case(described.sequences, folder, described.name)]
    if described.events is not None:
        from longwatch.pipeline.bench.events import event_cases

        return event_cases(described.events, folder, described.name)
    if described.lines is not None:
        from longwatch.pipeline.bench.lines import line_case

        return [line_case(described.lines, folder, described.name)]
    raise ValueError(f"{described.name}: a set is sequences, events or lines")
