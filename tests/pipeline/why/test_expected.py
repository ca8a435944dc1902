"""What the network expected: probabilities of the whole vocabulary, the log's own next line among them."""

import dataclasses

import numpy as np
import pytest

from longwatch.pipeline.why.expected import expected
from support.demo import demo_model

MODEL = demo_model()


def test_shares_of_all_templates_add_up_to_one_at_most(past):
    for alert in past.last[:4]:
        shares = [each.share for each in expected(past.case(alert), MODEL, count=512)]
        assert shares == sorted(shares, reverse=True)
        assert 0.9 < sum(shares) <= 1 + 1e-4


def test_the_share_of_what_came_is_its_surprise(past):
    case = past.case(next(alert for alert in past.last if alert.entity == "pay-eu-01"))
    shares = {each.template: each.share for each in expected(case, MODEL, count=512)}
    assert -np.log(shares[case.text(case.top)]) == pytest.approx(case.rows["surprise"][case.top], abs=1e-3)


def test_where_order_decides_what_came_is_what_was_expected(past):
    """Ordinary places of a settlement run: the likeliest line is the one that came, in most of them."""
    case = past.case(next(alert for alert in past.last if alert.entity == "pay-eu-01"))
    own = case.rows["surprise"].to_numpy()[case.context :]
    sure = case.context + np.flatnonzero(own < 0.1)[:20]
    assert len(sure) == 20
    places = [dataclasses.replace(case, top=int(row)) for row in sure]
    assert all(expected(place, MODEL)[0].template == place.text(place.top) for place in places)
