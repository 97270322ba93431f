"""TensorBoard itself on a run's logs, its pages in a real browser."""

import json
import urllib.request

import pytest
from chromium import Chromium, find_chromium
from report_runs import WORDS
from tensorboard import program
from tensorboard_runs import (
    CARD,
    shown,
    trials,
    write_curves,
    write_trials,
    write_whole_run,
)

from keras_distill.report.tensorboard import write_extras
from keras_distill.search.hparams import write_hparams

pytestmark = pytest.mark.whole

needs_browser = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium: apt-get install chromium"
)

# The pages are made of nested shadow trees; the projector is in a frame.
ALL = """(() => {
    const found = [];
    const walk = root => {
        for (const element of root.querySelectorAll('*')) {
            found.push(element);
            if (element.shadowRoot) walk(element.shadowRoot);
            if (element.contentDocument) walk(element.contentDocument);
        }
    };
    walk(document);
    return found;
})()"""
# What can be seen, as the texts of the elements without children.
VISIBLE = (
    ALL + ".filter(e => !e.children.length && e.getClientRects().length"
    " && !/^(STYLE|SCRIPT|TEMPLATE)$/.test(e.tagName))"
    ".map(e => e.textContent.trim()).filter(Boolean)"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """TensorBoard on a run that has everything."""
    run = tmp_path_factory.mktemp("board") / "run"
    config = write_whole_run(run)
    write_extras(run, config, CARD, shown(run))
    write_curves(run / "logs")
    write_trials(run)
    write_hparams(run)
    board = program.TensorBoard()
    board.configure(
        argv=[None, "--logdir", str(run / "logs"), "--port", "0"],
    )
    return board.launch()


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    with Chromium(
        tmp_path_factory.mktemp("profile"), "--enable-unsafe-swiftshader"
    ) as chromium:
        chromium.window(1400, 900)
        yield chromium


def asked(address, path, body=None):
    request = urllib.request.Request(
        f"{address.rstrip('/')}/data/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def opened(browser, address, page):
    browser.open("about:blank")
    browser.open(f"{address.replace('localhost', '127.0.0.1')}#{page}")
    return browser


def until_seen(page, *texts):
    for text in texts:
        page.wait(f"{VISIBLE}.includes({json.dumps(text)})", timeout=90)


def test_both_students_are_curves_of_one_picture(address):
    found = asked(address, "plugin/scalars/tags")
    runs = ("student-distilled", "student-labels-alone")
    tags = {frozenset(found[run]) for run in runs}
    assert len(tags) == 1
    assert {"train/loss", "select/accuracy"} <= set(*tags)


@pytest.mark.parametrize("plugin", ["images", "text", "graphs"])
def test_the_report_is_a_run_of(address, plugin):
    path = {"graphs": "plugin/graphs/info"}.get(plugin, f"plugin/{plugin}/tags")
    assert asked(address, path)["report"]


def test_trials_can_be_sorted_by_a_metric(address):
    name = {"tag": "trial/accuracy", "group": ""}
    found = asked(
        address,
        "plugin/hparams/session_groups",
        {
            "experimentName": "",
            "allowedStatuses": ["STATUS_SUCCESS"],
            "colParams": [{"metric": name, "order": "ORDER_DESC"}],
            "startIndex": 0,
            "sliceSize": 10,
        },
    )
    groups = [group["name"] for group in found["sessionGroups"]]
    assert groups == ["0003", "0002", "0001", "0000"]


@needs_browser
def test_the_hparams_page_lists_every_trial(browser, address):
    page = opened(browser, address, "hparams")
    names = [trial["id"] for trial in trials()]
    until_seen(page, "lstm_units", "hidden_units", *names)
    until_seen(page, "accuracy", "0.83000")


@needs_browser
def test_trials_are_lines_of_parallel_coordinates(browser, address):
    page = opened(browser, address, "hparams")
    until_seen(page, "0003")
    page.evaluate(
        f"{ALL}.find(e => e.tagName === 'PAPER-TAB'"
        " && /PARALLEL/i.test(e.textContent)).click()"
    )
    plot = f"{ALL}.find(e => /PARALLEL-COORDS-PLOT/.test(e.tagName))"
    lines = f"{plot}.shadowRoot.querySelectorAll('.foreground path').length"
    # The trial that failed has no metrics and so no line.
    page.wait(f"{lines} === 4", timeout=90)


@needs_browser
def test_the_projector_shows_the_words(browser, address):
    page = opened(browser, address, "projector")
    words = len(WORDS) - 5
    # Longer texts are those of whole pages, styles among them.
    everything = (
        f"{ALL}.map(e => e.textContent.trim().replace(/\\s+/g, ' '))"
        ".filter(t => t.length < 200)"
    )
    page.wait(f"{everything}.some(t => /Points: {words}\\b/.test(t))", 90)
    tensor = f"trainable word vectors ({words} words)"
    page.wait(f"{everything}.some(t => t.includes({json.dumps(tensor)}))")
    # What points can be coloured and labelled by.
    for column in ("frequency", "teacher margin: positive - negative"):
        page.wait(f"{everything}.some(t => t.startsWith({json.dumps(column)}))")


@needs_browser
def test_the_text_page_shows_the_card(browser, address):
    page = opened(browser, address, "text")
    until_seen(page, "A model card")
