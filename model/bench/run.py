"""One set judged: every method learns and is frozen under every seed, and only then do the labels open."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from longwatch.model.bench.case import Case
from longwatch.model.bench.combined import combinations
from longwatch.model.bench.figures import Alarms, Ranking, alarms, ranking
from longwatch.model.bench.intervals import Judged, Resampled, mean, resample
from longwatch.model.bench.method import Method, PartScores
from longwatch.model.bench.threshold import Budget, Frozen
from longwatch.model.bench.truth import Truth

TRACE_BUDGETS = (Budget(share=0.001), Budget(share=0.005), Budget(share=0.01), Budget(share=0.05))
DAY_BUDGETS = (Budget(per_day=1), Budget(per_day=3), Budget(per_day=10), Budget(per_day=30))
CHANCE = 0.5

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Line:
    """One method, case and seed; `ranking` is None without labels."""

    case: str
    method: str
    seed: int
    seconds: float
    ranking: Ranking | None
    alarms: tuple[Alarms, ...]


@dataclass(frozen=True)
class Verdict:
    """Figures with intervals, averaged over seeds; `signal` None without labels."""

    figures: Mapping[str, Mapping[str, Resampled]]
    signal: bool | None

    def best(self, names: Iterable[str]) -> str:
        """Of these methods the one of highest average precision."""
        return max(names, key=lambda name: self.figures[name]["average_precision"].value)


@dataclass
class Result:
    """Everything that a set's run gave."""

    lines: list[Line] = field(default_factory=list)
    frozen: dict[str, dict[tuple[str, int], Frozen]] = field(default_factory=dict)
    truths: dict[str, Truth] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=lambda: Verdict({}, None))


def judge_set(cases: Sequence[Case], methods: Sequence[Method], seeds: int, progress: Progress) -> Result:
    """Freezes all methods on all cases, then opens the labels."""
    result = Result()
    for case in cases:
        found = [frozen for seed in range(seeds) for frozen in _freeze(case, methods, seed, progress)]
        result.frozen[case.name] = {(each.method, each.seed): each for each in found}
    for case in cases:
        _open(case, result)
    if len(result.truths) == len(cases):
        result.verdict = _verdict(cases, result, seeds)
    return result


def _freeze(case: Case, methods: Sequence[Method], seed: int, progress: Progress) -> Iterator[Frozen]:
    past, parts = case.past(seed), dict[str, PartScores]()
    for method in methods:
        if method.applies(past):
            progress(f"{case.name}, seed {seed}: {method.name}")
            parts[method.name] = PartScores.of(method, past, case.test, seed)
    parts |= combinations(parts)
    budgets = DAY_BUDGETS if case.test.timed else TRACE_BUDGETS
    for name, part in parts.items():
        yield part.freeze(name, budgets, seed)


def _open(case: Case, result: Result) -> None:
    found, truth = result.frozen[case.name], Truth.nothing(len(case.test))
    if case.truth.labelled:
        truth = result.truths[case.name] = case.truth.open(found.values())
    for (name, seed), frozen in found.items():
        ranked = ranking(frozen.scores.final, truth) if truth.names else None
        rows = tuple(alarms(frozen, threshold, case, truth) for threshold in frozen.thresholds)
        result.lines.append(Line(case.name, name, seed, frozen.seconds, ranked, rows))


def _verdict(cases: Sequence[Case], result: Result, seeds: int) -> Verdict:
    """A method beats chance where its interval does, corrected for how many methods there are, under every seed."""
    names = [name for name in {line.method: None for line in result.lines} if _everywhere(name, cases, result)]
    by_seed = [
        resample({name: [_judged(case, name, seed, result) for case in cases] for name in names})
        for seed in range(seeds)
    ]
    level = 1 - 0.05 / len(names)
    signal = any(all(found[name]["auroc"].interval(level)[0] > CHANCE for found in by_seed) for name in names)
    figures = {name: {key: mean([found[name][key] for found in by_seed]) for key in by_seed[0][name]} for name in names}
    return Verdict(figures, signal)


def _everywhere(name: str, cases: Sequence[Case], result: Result) -> bool:
    return all((name, 0) in result.frozen[case.name] for case in cases)


def _judged(case: Case, name: str, seed: int, result: Result) -> Judged:
    truth = result.truths[case.name]
    return Judged(result.frozen[case.name][name, seed].scores.final, truth.anomalous, truth.normal_weight)
