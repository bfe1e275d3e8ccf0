"""The report in a real browser: it fetches nothing, says nothing on the console, and shows hostile rows as the texts they are."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from magpie_align.report.html import write_html
from tests.report.html.chromium import BINARY, Browser, chromium
from tests.report.html.world import HOSTILE, finished, run_of

pytestmark = pytest.mark.skipif(BINARY is None, reason="chromium is not installed")

RAN = "window.ran === undefined && document.querySelectorAll('img, iframe, textarea, main svg[onload]').length === 0"
SHOWN = "[...document.querySelectorAll('#row .said')].map((node) => node.textContent)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run = run_of(finished(folder / "store", HOSTILE), name=HOSTILE[0], description=HOSTILE[1], composed=HOSTILE[4])
    return write_html(run, folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def quiet(browser: Browser, page: Path) -> None:
    """Nothing asked for but the file, and nothing said."""
    assert set(browser.requests) == {page.as_uri()}
    assert (browser.said, browser.wrong) == ([], [])


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_every_section_is_drawn_and_none_is_wider_than_the_window(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page.as_uri(), width, dark=dark)
    for section in ("distributions", "map", "training", "questions", "browser"):
        browser.run(f"document.getElementById('{section}').scrollIntoView()")
        browser.until(f"document.querySelectorAll('#{section} figure, #{section} article, #map-key span').length > 0")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('#charts figure').length") >= 4
    painted = (
        "[...document.querySelector('#map-canvas').getContext('2d').getImageData(0, 0, 300, 200).data].some((v) => v)"
    )
    assert browser.run(painted)
    quiet(browser, page)


def test_hostile_rows_are_shown_as_they_are(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    browser.run("document.getElementById('browser').scrollIntoView()")
    browser.until("document.querySelectorAll('#browser article').length > 0")
    for number, text in enumerate(HOSTILE):
        browser.run(f"""{{
            const box = document.querySelector('#browser input');
            box.value = {json.dumps(text[:20])};
            box.dispatchEvent(new Event('input'));
        }}""")
        found = browser.run("document.querySelectorAll('#browser article').length")
        assert found >= 1, text[:40]
        browser.run("document.querySelector('#browser article button').click()")
        shown = browser.run(SHOWN)
        assert shown == [spelt(text)] * 2, number
        browser.run("document.querySelector('#row button').click()")
    assert browser.run(RAN)
    quiet(browser, page)


def spelt(text: str) -> str:
    """What the page says for a control that it does not print."""
    for control in "\u202e\u202c\u2066\u2069\u200b\x07\x00\x1b\ufeff":
        text = text.replace(control, f"U+{ord(control):04X}")
    return text


def test_a_lost_question_leads_to_a_row_and_the_row_to_its_stage(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    browser.run("document.getElementById('questions').scrollIntoView()")
    browser.until("document.querySelectorAll('#items article').length > 0")
    assert "1 lost" in browser.run("document.getElementById('items-summary').textContent")
    judged = "[...document.querySelectorAll('#items article:first-of-type details')].map((node) => node.textContent)"
    said = f"the judge on game 1, this model in seat B: 0.75 of a win{spelt(HOSTILE[2])}"
    assert browser.run(judged) == [said, said]
    browser.run("document.querySelector('#items article button').click()")
    browser.until("document.getElementById('row') !== null")
    told = browser.run("document.getElementById('row').textContent")
    assert "sampling_cellinstructions" in told and "quality_generatortagsa tagger" in told
    browser.run("[...document.querySelectorAll('#row a')].find((link) => link.textContent === 'tags').click()")
    browser.until("location.hash === '#stage-tags' && document.getElementById('stage-tags').open")
    quiet(browser, page)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_jump_ends_where_it_should_while_sections_are_drawn(browser: Browser, page: Path, width: int) -> None:
    for section in ("questions", "browser"):
        browser.open(page.as_uri(), width)
        browser.run(f"document.querySelector('nav a[href=\"#{section}\"]').click()")
        browser.until(f"document.querySelectorAll('#{section} article').length > 0")
        browser.until("document.querySelectorAll('#curves figure').length > 0")
        top = browser.run(f"document.getElementById('{section}').getBoundingClientRect().top")
        assert -5 <= top <= 300, section
    quiet(browser, page)


def test_a_script_that_got_in_would_not_run(browser: Browser, tmp_path: Path) -> None:
    """The policy, not only the escaping: markup is put into the file by hand."""
    page = write_html(run_of(finished(tmp_path / "store", [])), tmp_path)
    text = page.read_text().replace(
        "<main>", f"<main>{HOSTILE[0]}{HOSTILE[1]}<script src='https://example.com/x.js'></script>"
    )
    page.write_text(text)
    before = len(browser.wrong)
    browser.open(page.as_uri())
    browser.until("document.querySelectorAll('[data-scores] figure').length > 0")
    assert browser.run("window.ran === undefined")
    assert any("Content Security Policy" in said for said in browser.wrong[before:])
    assert not any(
        "example.com" in asked and not asked.startswith("file:") for asked in browser.requests if "x.js" not in asked
    )
    del browser.wrong[before:], browser.requests[:]
