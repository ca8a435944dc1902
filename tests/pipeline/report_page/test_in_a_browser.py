"""The report in a real Chromium: what a person sees, reaches by keyboard, and reads on a phone."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from support.browser import PHONE, WIDE, Visit, serious_findings, visit

ALERT = ".list [role=option]"
SCREENS = [(size, scheme) for size in (WIDE, PHONE) for scheme in ("light", "dark")]


@pytest.fixture
def opened(browser, report) -> Iterator[Visit]:
    with visit(browser, report) as found:
        yield found
        assert found.complaints == []
        assert found.requests == [report.as_uri()]


def rows(page: Page) -> list[str]:
    return page.locator(ALERT).all_inner_texts()


def shown_alerts(page: Page) -> int:
    return int(re.search(r"\d+", page.locator(".count").inner_text())[0])  # type: ignore[index]


def test_every_section_is_there_and_drawn(opened):
    page = opened.page
    for name in (
        "Scores over time",
        "Alerts",
        "Other thresholds",
        "Entities over time",
        "How to get this report again",
    ):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    assert page.locator("#timeline path.highest").get_attribute("d").count("L") > 50
    assert page.locator("#timeline circle.true").count() >= 1
    assert page.locator("#timeline rect.incident").count() >= 2
    assert page.locator("#tradeoff path.curve").count() == 4
    assert page.locator("#tradeoff path.chosen").count() == 1
    assert page.locator("#heat tbody tr").count() > 10
    expect(page.locator("#provenance")).to_contain_text("longwatch backtest")


def test_text_of_the_log_stays_text(opened):
    page = opened.page
    assert page.title() == "demo: backtest"
    page.locator("#search").fill("<img/src")
    assert shown_alerts(page) >= 1
    page.locator(ALERT).first.click()
    expect(page.locator("#alert-title")).to_have_text("<img/src=x/onerror=alert(1)>")
    expect(page.locator(".tops")).to_contain_text("</script><script>document.title='owned'</script><b>\\x1b[31m\\u202e")
    assert page.locator("img, #page script, #page b b").count() == 0
    assert page.title() == "demo: backtest"


def test_a_filter_keeps_the_alerts_that_hold_its_words_and_nothing_else(opened):
    page = opened.page
    before = shown_alerts(page)
    page.locator("#search").fill("WEB-0")
    assert 0 < shown_alerts(page) < before
    assert all("web-0" in row for row in rows(page))
    page.locator("#search").fill("nothing holds this")
    assert (shown_alerts(page), rows(page)) == (0, [])
    page.locator("#search").fill("")
    assert shown_alerts(page) == before


def test_true_and_false_alarms_are_told_apart_and_add_up(opened):
    page = opened.page
    counts = {}
    for value in ("all", "true", "false"):
        page.locator("#truth").select_option(value)
        counts[value] = shown_alerts(page)
    assert counts["all"] == counts["true"] + counts["false"]
    assert counts["true"] >= 1
    assert all("false alarm" in row for row in rows(page))


def test_sorting_by_score_puts_the_highest_first_and_by_time_the_oldest(opened):
    page = opened.page
    scores = [float(row.split()[0]) for row in rows(page)]
    assert scores == sorted(scores, reverse=True)
    page.locator("#order").select_option("opened")
    times = [re.search(r"\d\d-\d\d \d\d:\d\d", row)[0] for row in rows(page)]  # type: ignore[index]
    assert times == sorted(times)
    assert len(times) > 3


def test_a_chosen_alert_opens_to_its_events_and_their_surprise(opened):
    page = opened.page
    page.locator(ALERT).nth(1).click()
    name = page.locator(ALERT).nth(1).locator("b").inner_text()
    expect(page.locator("#alert-title")).to_have_text(name)
    assert page.locator(".panel rect").count() > 10
    assert page.locator(".panel rect.bar-top").count() == 1
    assert page.locator(".events tbody tr").count() >= 5
    assert page.locator(".events tr.chosen-row").count() == 1


def test_an_entity_of_the_heat_map_shows_only_its_alerts(opened):
    page = opened.page
    button = page.locator("#heat button").first
    name = button.inner_text()
    button.click()
    assert page.locator("#search").input_value() == name
    assert rows(page)
    assert all(name in row for row in rows(page))


def test_the_threshold_slider_says_what_another_threshold_gives(opened):
    page = opened.page
    slider = page.get_by_role("slider")
    first = page.locator(".picker output").inner_text()
    slider.press("End")
    loose = page.locator(".picker output").inner_text()
    assert loose != first
    assert "incidents caught" in loose
    assert re.fullmatch(
        r"thresholds: \{default: \{window: \{score: [\d.]+\}\}\}", page.locator(".picker code").inner_text()
    )


def test_everything_is_reached_by_keyboard_alone(opened):
    page = opened.page
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the alerts")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(f"{ALERT}[aria-selected=true]")
    assert chosen.get_attribute("aria-posinset") == "3"
    assert page.get_by_role("listbox").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    page.keyboard.press("Enter")
    expect(page.locator("#alert-title")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.locator(f"{ALERT}[aria-selected=true]").get_attribute("aria-posinset") == "4"


@pytest.mark.parametrize(("size", "scheme"), SCREENS)
def test_axe_finds_nothing_serious(browser, report, size, scheme):
    with visit(browser, report, size, scheme) as found:
        found.page.locator(ALERT).first.click()
        for summary in found.page.locator("summary").all():
            summary.click()
        assert serious_findings(found.page) == []
        assert found.complaints == []


def test_a_phone_shows_it_without_scrolling_sideways(browser, report):
    with visit(browser, report, PHONE) as found:
        page = found.page
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        page.locator(ALERT).first.click()
        expect(page.locator("#alert-title")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        page.get_by_role("button", name="Back to the list").click()
        expect(page.get_by_role("listbox")).to_be_in_viewport()


def test_dark_is_dark_and_light_is_light(browser, report):
    brightness = {}
    for scheme in ("light", "dark"):
        with visit(browser, report, WIDE, scheme) as found:
            color = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness[scheme] = sum(map(int, re.findall(r"\d+", color)))
    assert brightness["dark"] < 150 < 600 < brightness["light"]
