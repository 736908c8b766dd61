"""The report in a real browser, from disk, with the network cut off."""

import contextlib
import io
import json
import re
import shutil
import time

import pytest
from fixture_report import build_report_results, report_study
from make_screenshots import FLAGS
from PIL import Image

from yoyak.config.loading import CONFIG
from yoyak.reporting.html import render_report
from yoyak.reporting.plots import write_plots

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
LONGEST = max((file.stem for file in (CONFIG / "models").glob("*.yaml")), key=len)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)",
    ),
]
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1440,900")


@pytest.fixture(scope="module")
def browser(reported_study, tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, *OFFLINE, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.get((reported_study[1] / "report.html").as_uri())
    yield driver
    driver.quit()


@pytest.fixture
def css(browser):
    from selenium.webdriver.common.by import By

    return lambda selector: browser.find_elements(By.CSS_SELECTOR, selector)


def column(browser, table, number):
    """The texts of one column, hidden rows left out, in the order of the page."""
    return browser.execute_script(
        "return [...document.querySelector(arguments[0]).tBodies[0].rows]"
        ".map(row => row.cells[arguments[1]].textContent.trim())",
        table,
        number,
    )


def test_nothing_but_the_file_is_requested_and_the_console_is_silent(browser):
    time.sleep(0.5)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["documentURL"].startswith("file:")  # not the browser's own start page
    ]
    assert len([url for url in asked if url.startswith("file:")]) == 1
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert browser.get_log("browser") == []


def test_hostile_text_does_nothing(browser, css):
    assert browser.title == "Yoyak: fixture"
    assert css("img") == []
    assert browser.execute_script("return document.scripts.length") == 2
    assert "document.title='hacked'" in browser.execute_script("return document.body.textContent")


def test_an_injected_script_would_not_run(browser):
    """The page's policy holds even if escaping failed somewhere."""
    browser.execute_script(
        "const one = document.createElement('script');"
        "one.textContent = 'document.title = 1';"
        "document.body.append(one); one.remove();"
        "const two = document.createElement('div');"
        'two.innerHTML = \'<img src="data:," onerror="document.title=1">\';'
        "document.body.append(two); two.remove();"
    )
    time.sleep(0.2)
    assert browser.title == "Yoyak: fixture"
    browser.get_log("browser")  # the refusals, which the policy reports


def test_the_main_table_sorts_by_number(browser, css):
    head = next(cell for cell in css("table.main thead th") if cell.text.startswith("Mean"))
    place = css("table.main thead th").index(head)
    before = column(browser, "table.main", place)

    def sorted_by_click(order):
        head.click()
        until = time.monotonic() + 10  # the table is drawn a moment after the click
        while head.get_attribute("aria-sort") != order and time.monotonic() < until:
            time.sleep(0.05)
        assert head.get_attribute("aria-sort") == order
        return [float(text.split()[0]) for text in column(browser, "table.main", place)]

    means = sorted_by_click("ascending")
    assert means == sorted(means) and len(means) == len(before) == 12
    means = sorted_by_click("descending")
    assert means == sorted(means, reverse=True)


def test_tables_filter_by_choice_and_by_word(browser, css):
    from selenium.webdriver.support.ui import Select

    everything = len(column(browser, "table[data-name=rouge]", 1))
    controls = browser.find_element(
        "xpath",
        "//table[@data-name='rouge']/ancestor::div[contains(@class, 'table-wrap')][1]"
        "/preceding-sibling::div[@class='controls'][1]",
    )
    box = controls.find_element("css selector", "select[aria-label*=tokenizer]")
    Select(box).select_by_visible_text("morphemes")
    shown = column(browser, "table[data-name=rouge]", 3)
    assert set(shown) == {"morphemes"} and len(shown) == everything // 4
    search = controls.find_element("css selector", "input")
    search.send_keys("qwen3 chat")
    assert set(column(browser, "table[data-name=rouge]", 0)) == {"tiny_qwen3"}
    assert "3 of 48 rows" in controls.text
    search.clear()
    search.send_keys(" ")
    Select(box).select_by_index(0)


def test_samples_sort_by_gain_and_a_dialogue_opens(browser, css):
    table = css("details.training[open] table.samples")[0]
    gain = table.find_element("css selector", "thead th")

    def gains():
        marks = table.find_elements("css selector", "[data-gain]")
        return [float(mark.text.replace("−", "-")) for mark in marks]

    gain.click()
    assert gains() == sorted(gains()) and len(gains()) == 20
    gain.click()
    assert gains() == sorted(gains(), reverse=True)
    sample = table.find_element("css selector", "details.dialogue")
    text = sample.find_element("css selector", ".text")
    assert not text.is_displayed()
    sample.find_element("css selector", "summary").click()
    assert text.is_displayed() and "#Person1#:" in text.text


def test_a_link_of_the_main_table_opens_its_cell(browser, css):
    link = css("table.main tbody a")[0]
    target = link.get_attribute("href").split("#")[1]
    browser.execute_script("document.getElementById(arguments[0]).open = false", target)
    browser.execute_script("arguments[0].click()", link)
    time.sleep(0.2)
    assert browser.execute_script("return document.getElementById(arguments[0]).open", target)


@contextlib.contextmanager
def screen(browser, width, height=900):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.execute_script("scrollTo(0, 0)")
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="module")
def long_study(tmp_path_factory):
    """A report with the longest name that is shipped, three seeds, and few-shot runs."""
    study = report_study(models=(LONGEST,), seeds=(42, 43, 44), resamples=100, few_shot=2)
    study, results = build_report_results(tmp_path_factory.mktemp("long"), study, rows=8)
    (results / "plots").mkdir()
    write_plots(study, results, results / "plots")
    (results / "report.html").write_text(render_report(study, results), encoding="utf-8")
    return study, results


@pytest.fixture(params=["reported_study", "long_study", "korean_study"])
def opened(request, browser):
    """The browser with one of the reports open."""
    usual = browser.current_url
    browser.get((request.getfixturevalue(request.param)[1] / "report.html").as_uri())
    yield browser
    browser.get(usual)


@pytest.mark.parametrize("width", [390, 1180, 1280, 1366, 1440, 1920])
def test_nothing_in_the_first_screen_is_wider_than_its_box(opened, width):
    with screen(opened, width):
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        boxes = opened.execute_script(
            "return [...document.querySelectorAll('#result .table-wrap, #result .canvas')]"
            ".map(box => [box.className, box.scrollWidth, box.clientWidth])"
        )
        assert len(boxes) == 2
        assert [box for box in boxes if box[1] > box[2]] == []
        cut = opened.execute_script(
            "return [...document.querySelectorAll('#result :is(h1, p, td, svg)')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth).length"
        )
        assert cut == 0


def edges(plot):
    """Whether a plot is shaded at its left and its right edge."""
    image = Image.open(io.BytesIO(plot.screenshot_as_png)).convert("L")
    ends = (1, image.width - 2)
    return [image.crop((x, 8, x + 1, image.height - 8)).getextrema()[1] < 250 for x in ends]


def test_a_plot_wider_than_the_screen_is_shaded_where_it_goes_on(browser, css):
    with screen(browser, 390, 844):
        plots = css(".plot .canvas")
        wide = [p for p in plots if p.get_property("scrollWidth") > p.get_property("clientWidth")]
        assert len(wide) > 1 and not any(edges(plots[0])), "the first one fits"
        for place, shaded in ((0, [False, True]), (40, [True, True]), (9999, [True, False])):
            browser.execute_script("arguments[0].scrollLeft = arguments[1]", wide[0], place)
            assert edges(wide[0]) == shaded, place
    with screen(browser, 1280):
        assert not any(edges(wide[0]))


def test_on_a_phone_every_number_has_its_heading_sign_and_mark(opened):
    with screen(opened, 390, 844):
        cells = opened.execute_script(
            "return [...document.querySelectorAll('table.main td.n')]"
            ".filter(cell => cell.innerText)"
            ".map(cell => [getComputedStyle(cell, '::before').content, cell.innerText])"
        )
        assert len(cells) > 30
        headings = {'"mean "', '"content "', '"from floor "', '"change "'}
        if opened.execute_script("return document.documentElement.lang") == "ko":
            headings = {'"평균 "', '"내용 "', '"하한 대비 "', '"변화 "'}
        assert {heading for heading, _ in cells} == headings
        changes = [text for heading, text in cells if heading in ('"change "', '"변화 "')]
        assert all(re.fullmatch(r"[+−]\d+\.\d\d( \[.+\])?|–", text) for text in changes)


def test_the_first_screen_shows_question_answer_table_and_plot(browser):
    with screen(browser, 1440):
        for selector in ("h1", ".answer", "table.main", ".first .plot svg"):
            bottom = browser.execute_script(
                "return document.querySelector(arguments[0]).getBoundingClientRect().bottom",
                selector,
            )
            assert 0 < bottom <= 900, selector
