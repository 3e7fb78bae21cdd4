"""The page in a real browser: no network, no error, hover, click, keyboard, dark, narrow, on paper."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.report import page
from eval.report.content import Content
from tests.eval.report import invented

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_WIDTHS = (1280, 400)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield chromium
        chromium.close()


class Opened:
    """A page that is open: what it said on the console and what it asked the network for."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)

    def color(self, selector: str) -> tuple[int, ...]:
        text = self.page.eval_on_selector(selector, "at => getComputedStyle(at).backgroundColor")
        return tuple(map(int, re.findall(r"\d+", text)[:3]))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("report"), invented.partial(invented.content()))


def _write(folder: Path, content: Content) -> Path:
    path = folder / "report.html"
    path.write_text(page.html(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", _WIDTHS)
def test_it_opens_without_an_error_or_a_request(browser: Any, report: Path, width: int, scheme: str) -> None:
    view = Opened(browser, report, width, scheme)
    assert view.messages == []
    assert view.requests == [report.as_uri()]
    assert view.page.locator(".plot svg").count() == 8
    age = view.page.inner_text("header .age")
    assert re.search(r"\((\d+ (minute|hour|day)s? ago|in \d+ \w+) when this page was opened\)", age)
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (sum(view.color("body")) < 150) == (scheme == "dark")
    # A plot's letters have the theme's colour too.
    fill = view.page.eval_on_selector(".plot svg .role-axis-label text", "at => getComputedStyle(at).fill")
    assert (sum(map(int, re.findall(r"\d+", fill)[:3])) > 400) == (scheme == "dark")


def test_all_of_it_open_fits_too(browser: Any, report: Path) -> None:
    for width in _WIDTHS:
        view = Opened(browser, report, width)
        view.page.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true; })")
        assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_hovering_tells_of_a_number(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    cell = view.page.locator("#matrix tbody tr").nth(1).locator("a.cell").first
    tip = cell.locator(".tip")
    assert not tip.is_visible()
    cell.hover()
    assert tip.is_visible()
    assert re.search(r"mnli, xnli .*95 % interval \[.*\]; .*2 seeds; n 2,000", tip.inner_text())
    inside = tip.evaluate(
        "at => { const b = at.getBoundingClientRect(); return b.left >= 0 && b.right <= innerWidth; }"
    )
    assert inside


def test_hovering_tells_of_a_mark_of_a_plot(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    view.page.locator("#cost .plot svg .mark-rect path").first.hover()
    tooltip = view.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert "recipe" in tooltip.inner_text() and "hours" in tooltip.inner_text()


def test_a_click_leads_to_the_languages(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    view.page.locator("#matrix tbody tr").nth(2).locator("a.cell").nth(1).click()
    assert view.page.evaluate("document.getElementById('t1').open")
    head = view.page.locator("#t1-r2")
    assert head.inner_text() == "squad"
    assert head.evaluate(
        "at => { const b = at.getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight; }"
    )


def test_lists_change_what_a_plot_shows(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    before = view.page.locator("#curves .plot svg").inner_html()
    view.page.locator("#curves select").nth(1).select_option("English dev score")
    view.page.wait_for_function(
        "before => document.querySelector('#curves .plot svg').innerHTML !== before", arg=before
    )
    assert view.messages == []


def test_the_keyboard_reaches_everything(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    view.page.keyboard.press("Tab")
    assert view.page.evaluate("document.activeElement.className") == "skip"
    assert view.page.locator(".skip").bounding_box()["x"] >= 0
    stops = view.page.evaluate(
        "document.querySelectorAll('a[href], summary, select, [tabindex=\"0\"]').length"
        " - document.querySelectorAll('details:not([open]) :is(a[href], select, [tabindex=\"0\"])').length"
        " - document.querySelectorAll('details:not([open]) details summary').length"
    )
    count = view.page.evaluate("""() => { window.reached = new Set();
        document.addEventListener('focusin', event => window.reached.add(event.target)); return 0; }""")
    assert count == 0
    for _ in range(stops + 5):
        view.page.keyboard.press("Tab")
    assert view.page.evaluate("window.reached.size") >= stops - 1
    # In the order in which it is read.
    places = view.page.evaluate(
        "[...window.reached].map(at => at.getBoundingClientRect().top + scrollY)"
        ".filter((top, n, all) => n && top < all[n - 1] - 200).length"
    )
    assert places <= 1  # from the last to the first


def test_focus_tells_of_a_number_too(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    view.page.locator("#matrix a.cell").nth(2).focus()
    view.page.keyboard.press("Tab")
    tip = view.page.locator("#matrix a.cell").nth(3).locator(".tip")
    assert tip.is_visible()


def test_its_parts_have_names_for_people_who_hear_it(browser: Any, report: Path) -> None:
    view = Opened(browser, report)
    nameless_parts = view.page.evaluate(
        "[...document.querySelectorAll('.plot, .plot svg, .plot select, [role=region], nav')]"
        ".filter(at => !at.getAttribute('aria-label')).map(at => at.outerHTML.slice(0, 80))"
    )
    assert nameless_parts == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_has_all_of_it_in_light_colours(browser: Any, report: Path, scheme: str) -> None:
    view = Opened(browser, report, scheme=scheme)
    content = view.page.pdf(prefer_css_page_size=True)
    assert content.startswith(b"%PDF")
    shut_tables = "[...document.querySelectorAll('details table')].filter(at => !at.checkVisibility()).length"
    assert view.page.evaluate(shut_tables) > 0
    view.page.emulate_media(media="print")
    assert sum(view.color("body")) == 3 * 255
    fill = view.page.eval_on_selector(".plot svg .role-axis-label text", "at => getComputedStyle(at).fill")
    assert sum(map(int, re.findall(r"\d+", fill)[:3])) < 200
    assert view.page.evaluate(shut_tables) == 0  # also without the script that opens them
    assert view.page.evaluate("document.querySelectorAll('details:not([open])').length") > 0  # they are shut again


def test_names_that_mean_harm_do_nothing(browser: Any, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)></script><script>document.title='bad'</script>"
    path = _write(tmp_path, invented.content(("none", name, name + "2"), (name, "xnli"), ("en", "de")))
    view = Opened(browser, path)
    view.page.locator("#cost .plot svg .mark-rect path").last.hover()
    view.page.locator("#vg-tooltip-element.visible").wait_for()
    assert view.page.title() == "invented: report"
    assert view.page.locator("img").count() == 0
    assert (view.messages, view.requests) == ([], [path.as_uri()])


def test_the_papers_grid_fits(browser: Any, tmp_path: Path) -> None:
    """Fourteen recipes, nine targets, forty languages, five seeds: at most 5 MB, and it opens."""
    content = invented.content(invented.RECIPES, invented.TARGETS, invented.LANGUAGES, seeds=5, points=95)
    path = _write(tmp_path, content)
    assert path.stat().st_size <= 5e6
    view = Opened(browser, path, 400)
    assert view.messages == []
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
