"""The live page in a real Chromium: what a person sees, reaches by keyboard, reads on a phone, and changes."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from support.browser import PHONE, WIDE, Visit, serious_findings, visit
from support.live_page import Serving, serving

ALERT = ".list [role=option]"
SCREENS = [(size, scheme) for size in (WIDE, PHONE) for scheme in ("light", "dark")]
FIRST = 6000
HOSTILE_HOST = "<img/src=x/onerror=alert(1)>"
HOSTILE_TEXT = "</script><script>document.title='owned'</script>\x1b[31m\u202egnp.exe"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def opened(browser, worker) -> Iterator[Visit]:
    with visit(browser, worker.url) as found:
        expect(found.page.locator("#link")).to_have_text("live", timeout=30_000)
        all_is_read = re.compile(rf"{FIRST:,} records.* 0 outputs waiting")
        expect(found.page.locator("#counts")).to_have_text(all_is_read, timeout=60_000)
        expect(found.page.locator(".count")).to_have_text(re.compile(f"^{len(worker.alerts())} alerts"))
        yield found
        assert found.complaints == []
        assert all(address.startswith(worker.url) for address in found.requests)


def total(page: Page) -> int:
    return int(re.search(r"[\d,]+", page.locator(".count").inner_text())[0].replace(",", ""))  # type: ignore[index]


def test_every_section_is_there_and_filled(opened):
    page = opened.page
    for name in ("Alerts", "Silenced", "Thresholds", "Surprise by entity", "Open windows", "Throughput"):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(page.locator("#counts")).to_contain_text(f"{FIRST:,} records")
    assert page.locator("#entities tbody tr").count() > 10
    assert page.locator("#windows tbody tr").count() > 10
    expect(page.locator("#thresholds path.curve")).to_have_count(2)
    assert page.locator("#throughput path.highest").count() == 1
    assert total(page) > 20


def test_new_alerts_come_without_a_reload_and_do_not_move_what_is_read(browser, lines, tmp_path):
    with serving(tmp_path) as worker, visit(browser, worker.url) as found:
        page = found.page
        worker.feed(lines[:3000])
        expect(page.locator("#tile-alerts")).not_to_have_text(re.compile("^[0–]"), timeout=30_000)
        page.locator(ALERT).nth(8).wait_for()
        page.locator("#list").evaluate("box => { box.scrollTop = 200 }")
        page.wait_for_timeout(200)
        reading = page.evaluate(FIRST_IN_SIGHT)
        before = page.locator(".count").inner_text()
        worker.feed(lines[3000:FIRST])
        # Not wait_for_function: the page's policy allows no text as script.
        expect(page.locator(".count")).not_to_have_text(before)
        assert page.evaluate(FIRST_IN_SIGHT) == reading
        page.get_by_role("button", name="Show the newest").click()
        assert page.locator("#list").evaluate("box => box.scrollTop") == 0
        expect(page.locator(".aloud")).to_contain_text("new alert")


FIRST_IN_SIGHT = """() => {
  const box = document.querySelector('#list');
  const top = box.getBoundingClientRect().top;
  const row = [...box.querySelectorAll('[role=option]')].find((each) => each.getBoundingClientRect().bottom > top + 1);
  return row.dataset.alert;
}"""


def test_text_of_the_log_stays_text(browser, lines, tmp_path):
    stamp = lines[1000].split()[0]
    with serving(tmp_path) as worker, visit(browser, worker.url) as found:
        page = found.page
        worker.feed(lines[:1000])
        worker.feed([f"{stamp} ERROR {HOSTILE_HOST} nginx: {HOSTILE_TEXT}"] * 3)
        page.locator("#search").fill("<img/src")
        page.locator(ALERT).first.click(timeout=30_000)
        expect(page.locator("#alert-title")).to_have_text(HOSTILE_HOST)
        expect(page.locator(".tops")).to_contain_text(
            "</script><script>document.title='owned'</script>\\x1b[31m\\u202e"
        )
        expect(page.locator("#windows")).to_contain_text(HOSTILE_HOST)
        assert page.locator("img, #page script").count() == 0
        assert page.title() == "demo: live"
        assert found.complaints == []


def test_the_slider_says_what_another_threshold_gives_before_it_is_applied(opened):
    page = opened.page
    slider = page.get_by_role("slider")
    facts = page.locator("#thresholds .facts")
    expect(facts).to_contain_text("would have alerted", timeout=30_000)

    def counted() -> tuple[float, int]:
        text = facts.inner_text().replace(",", "")
        return float(re.search(r"([\d.]+) alerts a day", text)[1]), int(re.search(r"(\d+) windows? of", text)[1])  # type: ignore[index]

    slider.press("Home")
    loosest = counted()
    for _ in range(5):
        slider.press("PageUp")
    stricter = counted()
    assert loosest[0] > stricter[0]
    assert loosest[1] > stricter[1]
    assert re.fullmatch(
        r"thresholds: \{default: \{event: \{score: [\d.]+\}\}\}", page.locator("#thresholds code").inner_text()
    )
    page.get_by_label("Threshold of").select_option(label="rule default, window score")
    assert "window: {score:" in page.locator("#thresholds code").inner_text()


def test_everything_is_reached_by_keyboard_alone(opened):
    page = opened.page
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the alerts")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(f"{ALERT}[aria-selected=true]")
    assert chosen.get_attribute("aria-posinset") == "3"
    assert page.get_by_role("listbox").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    page.keyboard.press("Enter")
    expect(page.locator("#alert-title")).to_be_focused()
    assert page.locator("#alert-title").inner_text() == chosen.locator("b").inner_text()
    page.keyboard.press("Tab")
    expect(page.locator("#mark-for")).to_be_focused()


def test_a_mark_made_on_the_page_is_heeded_listed_and_taken_back(browser, lines, tmp_path):
    with serving(tmp_path, {"feedback": {}}) as worker, visit(browser, worker.url) as found:
        page = found.page
        worker.feed(lines[:3000])
        page.locator(ALERT).nth(1).click(timeout=30_000)
        page.get_by_label("Entities").fill("*")
        page.get_by_label("Why").fill("ours: <b>noise</b>")
        page.get_by_role("button", name="Silence this pattern").press("Enter")
        expect(page.locator("#mark-said")).to_contain_text("Silent from here on")
        row = page.locator(".marks tbody tr")
        expect(row).to_contain_text("ours: <b>noise</b>, by the page")
        assert len((tmp_path / "longwatch.marks.jsonl").read_text().splitlines()) == 1
        page.get_by_role("button", name="Take back").click()
        expect(page.locator(".marks")).to_contain_text("Nothing is marked.")
        assert '"type":"withdraw"' in (tmp_path / "longwatch.marks.jsonl").read_text()
        assert found.complaints == []


@pytest.mark.parametrize(("size", "scheme"), SCREENS)
def test_axe_finds_nothing_serious(browser, worker, size, scheme):
    with visit(browser, worker.url, size, scheme) as found:
        found.page.locator(ALERT).first.click(timeout=30_000)
        assert serious_findings(found.page) == []
        assert found.complaints == []


def test_a_phone_shows_it_without_scrolling_sideways(browser, worker):
    with visit(browser, worker.url, PHONE) as found:
        page = found.page
        page.locator(ALERT).first.click(timeout=30_000)
        expect(page.locator("#alert-title")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_a_page_that_lost_its_worker_says_so_and_finds_the_next(browser, lines, tmp_path):
    """The worker is killed and another begins on the same port: alerts of the new run, and a word about it."""
    with serving(tmp_path / "one") as worker, visit(browser, worker.url) as found:
        worker.feed(lines[:2000])
        found.page.locator(ALERT).first.wait_for(timeout=30_000)
        worker.process.kill()
        expect(found.page.locator("#link")).to_have_text("no connection, trying again")
        port = int(worker.url.rsplit(":", 1)[1].strip("/"))
        with serving(tmp_path / "two", {"web": {"port": port}}) as again:
            again.feed(lines[:2000])
            expect(found.page.locator("#link")).to_have_text("live", timeout=30_000)
            expect(found.page.locator(".trouble")).to_contain_text("started again")


def test_beyond_loopback_the_page_asks_for_its_token(browser, lines, tmp_path):
    changes = {"web": {"host": "0.0.0.0", "port": 0, "token_env": "PAGE_TOKEN"}}
    with serving(tmp_path, changes, {"PAGE_TOKEN": "0123456789abcdef-secret"}) as worker:
        with visit(browser, worker.url.replace("0.0.0.0", "127.0.0.1")) as found:
            page = found.page
            assert serious_findings(page) == []
            page.get_by_label("Token of this page").fill("wrong")
            page.get_by_role("button").click()
            expect(page.get_by_role("alert")).to_have_text("That is not the token.")
            page.get_by_label("Token of this page").fill("0123456789abcdef-secret")
            page.keyboard.press("Enter")
            expect(page.locator("#link")).to_have_text("live", timeout=30_000)
        assert "secret" not in worker.log


def test_a_worker_is_told_apart_by_its_page(opened, worker: Serving):
    expect(opened.page.locator("header")).to_contain_text("Worker worker-1, bundle ")
