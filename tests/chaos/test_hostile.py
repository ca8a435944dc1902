"""Promise 3: no record and no batch stops the stream, costs a neighbour, or more memory than is said."""

import pytest

from chaos.hostile import Plan, run
from chaos.hostile_batches import kinds
from support.kafka_broker import KafkaForTests

pytestmark = pytest.mark.broker

SEED = 6
MIB = 1 << 20


def again(plan: Plan) -> str:
    return (
        f"PYTHONPATH=tests python -m chaos.hostile --seed {plan.seed} --records {plan.records} --good {plan.good} "
        f"--batches {plan.batches} --bomb-mib {plan.bomb_bytes // MIB}"
    )


def check(kafka: KafkaForTests, folder, plan: Plan) -> None:
    report = run(kafka, folder, plan)
    assert report["alerts"] > 20
    assert report["problems"] == [], f"{len(report['problems'])} problems; again with: {again(plan)}"


def test_hostile_records_and_batches_are_dead_letters_once_and_cost_neighbours_nothing(kafka: KafkaForTests, tmp_path):
    check(kafka, tmp_path, Plan(SEED, 3000, 1200, len(kinds(MIB)), 256 * MIB))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_hostile_records_stay_under_the_memory_cap(kafka: KafkaForTests, tmp_path):
    check(kafka, tmp_path, Plan(SEED, 100_000, 10_000, 300, 1024 * MIB))
