"""A hundred thousand alerts scroll as ten do: only the rows in sight exist, and drawing them costs little."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.browser import visit
from support.large_report import write_large_report

COUNT = 100_000
ROWS_IN_SIGHT = 30
FRAME_MS = 16.7

SCROLL = """
async () => {
  const box = document.querySelector('.list'), costs = [];
  let most = 0;
  for (let step = 0; step <= 200; step += 1) {
    const before = performance.now();
    box.scrollTop = (box.scrollHeight - box.clientHeight) * step / 200;
    list.draw();
    box.getBoundingClientRect();
    costs.push(performance.now() - before);
    most = Math.max(most, box.querySelectorAll('[role=option]').length);
    await new Promise(requestAnimationFrame);
  }
  costs.sort((a, b) => a - b);
  return {median: costs[100], most, last: box.querySelector('[role=option]:last-child').getAttribute('aria-posinset')};
}
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "report.html"
    write_large_report(path, COUNT)
    return path


def test_a_hundred_thousand_alerts_scroll_within_a_frame_and_can_be_searched(browser, large):
    with visit(browser, large) as found:
        page = found.page
        expect(page.locator(".count")).to_have_text("100,000 alerts")
        scrolled = page.evaluate(SCROLL)
        assert scrolled["most"] <= ROWS_IN_SIGHT
        assert scrolled["last"] == str(COUNT)
        assert scrolled["median"] < FRAME_MS
        page.locator("#search").fill("host-996")
        expect(page.locator(".count")).to_have_text("100 alerts of 100,000")
        page.locator(".list").focus()
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        expect(page.locator("#alert-title")).to_have_text("host-996")
        assert found.complaints == []
