"""The comparison that the chaos tests rest on sees every fault that it is there for."""

from chaos.outcome import Outcome

CALM = Outcome({("alerts", "a", 0): ("x",), ("alerts", "a", 1): ("y",), ("dlq", "0", "7"): ("z",)})


def test_equal_outputs_do_not_differ():
    assert not Outcome(dict(CALM.digests)).against(CALM)


def test_each_fault_is_told_apart():
    shaken = Outcome({("alerts", "a", 0): ("x", "x"), ("alerts", "a", 1): ("Y",), ("late", "0", "8"): ("z",)})
    found = shaken.against(CALM)
    assert found
    assert found.doubled == [("alerts", "a", 0)]
    assert found.changed == [("alerts", "a", 1)]
    assert found.lost == [("dlq", "0", "7")]
    assert found.unexpected == [("late", "0", "8")]
