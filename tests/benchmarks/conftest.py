"""A small real-looking stream for the long-range benchmark: three days of the demo's company, one for each role."""

from datetime import date

import pytest

from long_range.filler import ROLES, Filler, demo


@pytest.fixture(scope="session")
def filler() -> Filler:
    return demo(7, {role: (date(2026, 9, 7 + 7 * number), 1) for number, role in enumerate(ROLES)})
