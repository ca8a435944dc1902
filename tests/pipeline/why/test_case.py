"""The window of an alert, found again in a score log."""

import msgspec
import pytest

from longwatch.pipeline.errors import InputError


def test_a_case_ends_where_the_alert_knew_its_window(past):
    alert = past.last[0]
    offsets = past.case(alert).rows["offset"].drop_nulls()
    assert offsets.max() == alert.window.last_offset


@pytest.mark.parametrize("wrong", [{"first_offset": 1 << 40}, {"last_offset": -1}])
def test_a_log_without_the_window_says_what_to_do(past, wrong):
    alert = past.last[0]
    other = msgspec.structs.replace(alert, window=msgspec.structs.replace(alert.window, **wrong))
    with pytest.raises(InputError) as raised:
        past.case(other)
    assert "give the folder of the backtest" in str(raised.value)
