"""The report as a browser shows it: on a desk and on a phone, in light and in dark, whatever names are in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from chromium import Page, find_chromium
from stored_rows import rows_of

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.report.page import report
from sfvgen_plan.benchmarks.report.standings import boards
from sfvgen_plan.benchmarks.results.import_export import Results

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome is installed")

PROTOCOL = load_protocol("avdc11-v3")
NAMES = ["default", "prior", "x" * 90, "<script>window.ran=1</script><img src=x onerror=window.ran=1>"]
NAMES += [f"cem+samples={n}+elites=8+iterations=3" for n in range(1, 9)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of twelve agents, with published figures beside them."""
    rows = [
        replace(row, agent=name, imagined_decisions=n * 90)
        for n, name in enumerate(NAMES)
        for row in rows_of(name, 10 - n, PROTOCOL.tasks, protocol=PROTOCOL.id, protocol_hash=PROTOCOL.rules_hash)
    ]
    file = tmp_path_factory.mktemp("report") / "board.html"
    file.write_text(report(boards(Results(rows))))
    return file.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "touch"), [(1280, False), (390, True), (320, True)])
def test_the_report_fits_and_can_be_read(width: int, touch: bool, scheme: str, browser: Page, address: str) -> None:
    browser.resize(width, 900, touch)
    browser.colours(scheme)
    browser.open("about:blank")
    browser.open(address)
    browser.wait("document.readyState == 'complete' && document.querySelector('.published')")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways but tables"
    outside = "[...document.querySelectorAll('h2, p, svg.chart, .legend li, figcaption')]"
    assert browser.run(f"{outside}.every(item => item.getBoundingClientRect().right <= innerWidth)")
    assert browser.run("innerHeight > 0 && window.ran === undefined")
    assert all(name in browser.run("document.body.textContent") for name in NAMES)
    assert browser.logged == []
    page = brightness(browser.run("getComputedStyle(document.querySelector('section')).backgroundColor"))
    assert (page > 0.5) == (scheme == "light")
    for text in ("td", "tr.control td", "p.soft", "th", ".tag", ".published td", "a"):
        colour = brightness(browser.run(f"getComputedStyle(document.querySelector('{text}')).color"))
        assert (max(page, colour) + 0.05) / (min(page, colour) + 0.05) >= 4.5, text


def brightness(colour: str) -> float:
    """Relative luminance (WCAG 2) of what CSS calls ``rgb(r, g, b)``."""
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
