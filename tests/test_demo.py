import re
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from chromium import Chromium, find_chromium
from tiny_students import make_run

from demo import build, serve
from keras_distill.export import tflite
from keras_distill.export.display_names import store_names
from keras_distill.export.mediapipe import (
    convert_float32,
    convert_int8,
    packed_bundle,
)
from keras_distill.export.metadata import packed
from keras_distill.export.student import load_exported
from keras_distill.export.threshold import student_identity
from keras_distill.files import write_json
from keras_distill.metrics import softmax
from keras_distill.student.predictor import StudentPredictor

FLOAT, INT8 = "student_mediapipe.tflite", "student_mediapipe_int8.tflite"
STARS = ["1", "2", "3", "4", "5"]
THRESHOLD = 0.95
QUESTIONS = ["not_duplicate", "duplicate"]
LITE, LITE_INT8 = "student.tflite", "student_int8.tflite"
PAIRS = [
    ["A good film!", "a bad film"],
    ["can not say why", "It's bad, and x " * 9],
    ["x " * 40, "naive, 😀"],
]
TEXTS = ["A good film!", "do not say why, it's bad", "x " * 9 + "naive, 😀"]

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None, reason="npm fetches MediaPipe: install it"
)
needs_browser = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run of two classes with its bundles."""
    run = make_run(tmp_path_factory.mktemp("two") / "run", "quick")
    export_bundles(run, {FLOAT: convert_float32, INT8: convert_int8})
    write_json(
        run / "results.json",
        {
            "student": {"parameters": 2_420_000},
            "teacher": {"name": "bert-large-uncased"},
            "splits": {"train": {"rows": 880}, "test": {"rows": 1400}},
            "exports": {FLOAT: {"accuracy": 0.7375}},
        },
    )
    return run


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A run of five stars."""
    folder = tmp_path_factory.mktemp("five")
    data = {"train_file": "x.csv", "text_column": "t", "label_column": "stars"}
    run = make_run(folder / "run", data=data, labels=STARS)
    export_bundles(run, {FLOAT: convert_float32})
    return run


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A run of pairs of texts."""
    folder = tmp_path_factory.mktemp("pairs")
    run = make_run(
        folder / "run", "qqp", pair=True, max_length=48, labels=QUESTIONS
    )
    export_lite(
        run, {LITE: tflite.convert_float32, LITE_INT8: tflite.convert_int8}
    )
    return run


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run whose classes have display names, and a threshold."""
    run = make_run(tmp_path_factory.mktemp("named") / "run", labels="01")
    names = {"0": "negative", "1": "positive"}
    store_names(run, names)
    export_bundles(run, {FLOAT: convert_float32}, names)
    write_json(
        run / "export" / "threshold.json",
        {
            "threshold": THRESHOLD,
            "temperature": 1.0,
            "student": student_identity(run / "student"),
        },
    )
    return run


@pytest.fixture(scope="module")
def cased(tmp_path_factory):
    """A run of a cased student."""
    run = make_run(tmp_path_factory.mktemp("cased") / "run", lower_case=False)
    export_lite(run, {LITE: tflite.convert_float32})
    return run


@pytest.fixture(scope="module")
def site(two, five, pairs, cased, named, tmp_path_factory):
    """The demos on a server; its address and its folder."""
    folder = tmp_path_factory.mktemp("site")
    build.build(pairs, folder / "pairs")
    build.build(cased, folder / "cased")
    build.build(named, folder / "named")
    build.build(two, folder / "two")
    examples = folder / "examples.txt"
    examples.write_text("a good film\n\nnot a good film\n")
    build.build(five, folder / "five", "How many stars?", examples)
    write_json(folder / "demo.json", {})
    server = serve.make_server(folder, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as chromium:
        chromium.window(390, 844)
        yield chromium


def export_bundles(run, makers, names=None):
    # Here and unproved: what the exporter makes has tests of its own, and
    # its processes take their time.
    exported = replace(
        load_exported(run / "student"), display_names=names or {}
    )
    (run / "export").mkdir()
    for name, convert in makers.items():
        bundle = packed_bundle(exported, convert(exported))
        (run / "export" / name).write_bytes(bundle)


def export_lite(run, makers):
    exported = load_exported(run / "student")
    (run / "export").mkdir()
    for name, convert in makers.items():
        model = packed(exported, convert(exported), takes_text=False)
        (run / "export" / name).write_bytes(model)


def keras_scores(run, *columns):
    return softmax(StudentPredictor.load(run / "student").logits(*columns))


# What a visitor does, and what they see.


def opened(browser, address):
    browser.requests.clear()
    browser.messages.clear()
    browser.open(f"{address}/")
    settled(browser)
    return browser


def settled(browser):
    browser.wait("document.body.dataset.state !== 'loading'")
    browser.wait("!document.querySelector('#result[aria-busy=true]')")


def state(browser):
    return browser.evaluate("document.body.dataset.state")


def text_of(browser, selector):
    return browser.evaluate(f"document.querySelector('{selector}').innerText")


def type_text(browser, text):
    """Type a text into the empty field, as a keyboard does."""
    browser.evaluate("document.querySelector('#clear').click()")
    browser.call("Input.insertText", text=text)
    settled(browser)


def type_pair(browser, first, second):
    type_text(browser, first)
    browser.evaluate("document.querySelector('#second').focus()")
    browser.call("Input.insertText", text=second)
    settled(browser)


def scores(browser):
    """Return the scores by class, in the order of the bars."""
    rows = browser.evaluate(
        "[...document.querySelectorAll('#scores li')]"
        ".map(row => [row.dataset.label, Number(row.dataset.score)])"
    )
    return dict(rows)


def tab(page, back=False):
    page.press(
        "Tab", code="Tab", windowsVirtualKeyCode=9, modifiers=8 if back else 0
    )


@needs_npm
@needs_browser
@pytest.mark.whole
class TestPage:
    def test_typed_texts_get_the_scores_of_keras(self, browser, site, two):
        page = opened(browser, f"{site[0]}/two")
        found = []
        for text in TEXTS:
            type_text(page, text)
            found.append(scores(page))
        assert [list(row) for row in found] == 3 * [["negative", "positive"]]
        expected = keras_scores(two, TEXTS)
        assert np.ptp(expected[:, 0]) > 0.05
        np.testing.assert_allclose(
            [list(row.values()) for row in found], expected, atol=1e-3
        )

    def test_the_compact_model_gives_nearly_the_same(self, browser, site, two):
        page = opened(browser, f"{site[0]}/two")
        page.evaluate("document.querySelector('[value=int8]').click()")
        settled(page)
        type_text(page, TEXTS[0])
        found = list(scores(page).values())
        np.testing.assert_allclose(
            found, keras_scores(two, TEXTS[:1])[0], atol=0.05
        )
        size = (two / "export" / INT8).stat().st_size
        assert text_of(page, "#size") == f"{size / 1e6:.2f} MB"

    def test_latency_is_measured_and_shown(self, browser, site):
        page = opened(browser, f"{site[0]}/two")
        type_text(page, TEXTS[0])
        measured = page.evaluate(
            "Number(document.querySelector('#latency').dataset.milliseconds)"
        )
        assert 0 < measured < 1000
        assert re.fullmatch(r"(< 1|[\d.]+) ms", text_of(page, "#latency"))

    def test_no_other_host_is_asked_for_anything(self, browser, site):
        page = opened(browser, f"{site[0]}/two")
        type_text(page, TEXTS[0])
        # A classifier that is closed wants to send its figures.
        page.evaluate("document.querySelector('[value=int8]').click()")
        settled(page)
        type_text(page, TEXTS[1])
        assert any(url.endswith(".wasm") for url in page.requests)
        assert {url for url in page.requests if site[0] not in url} == set()
        assert page.messages == []

    def test_pairs_get_the_scores_of_keras(self, browser, site, pairs):
        page = opened(browser, f"{site[0]}/pairs")
        found = []
        for pair in PAIRS:
            type_pair(page, *pair)
            found.append(scores(page))
        assert [list(row) for row in found] == 3 * [QUESTIONS]
        expected = keras_scores(pairs, *map(list, zip(*PAIRS, strict=True)))
        assert np.ptp(expected[:, 0]) > 0.05
        np.testing.assert_allclose(
            [list(row.values()) for row in found], expected, atol=1e-4
        )
        page.evaluate("document.querySelector('[value=int8]').click()")
        settled(page)
        assert text_of(page, "#precision") == "int8"
        np.testing.assert_allclose(
            list(scores(page).values()), expected[-1], atol=0.05
        )
        assert {url for url in page.requests if site[0] not in url} == set()
        # LiteRT.js looks for a GPU first, which the page does not use.
        assert set(page.messages) <= {"No available adapters."}

    def test_a_pair_has_two_texts(self, browser, site, pairs):
        page = opened(browser, f"{site[0]}/pairs")
        assert text_of(page, "h1") == "Is it the same question?"
        assert text_of(page, "#text-name") == "First question"
        assert text_of(page, "#second-name") == "Second question"
        first = build.describe(pairs)[0]["examples"][0]
        typed = "[...document.querySelectorAll('textarea')].map(x => x.value)"
        assert page.evaluate(typed) == first
        assert page.evaluate("document.querySelector('#clear').click()") is None
        settled(page)
        page.call("Input.insertText", text="a good film")
        settled(page)
        assert "Type two texts" in text_of(page, "#verdict")
        page.evaluate("document.querySelector('#examples button').click()")
        settled(page)
        assert page.evaluate(typed) == first
        assert sum(scores(page).values()) == pytest.approx(1, abs=1e-5)

    def test_classes_are_shown_by_their_display_names(
        self, browser, site, named
    ):
        page = opened(browser, f"{site[0]}/named")
        type_text(page, TEXTS[0])
        (expected,) = keras_scores(named, TEXTS[:1])
        # The page knows them by their own names.
        assert list(scores(page)) == ["0", "1"]
        rows = text_of(page, "#scores").split()
        assert rows[::2] == ["negative", "positive"]
        best = ["negative", "positive"][expected.argmax()]
        assert text_of(page, "#verdict").split()[0] == best
        told = page.evaluate(
            f"""(async () => {{
              const {{ FilesetResolver, TextClassifier }} =
                await import("./mediapipe/text_bundle.mjs");
              const files = await FilesetResolver.forTextTasks(
                "mediapipe/wasm");
              const task = await TextClassifier.createFromOptions(files, {{
                baseOptions: {{ modelAssetPath: "models/{FLOAT}" }} }});
              const [{{ categories }}] = task.classify("x").classifications;
              return categories.map(
                (one) => [one.categoryName, one.displayName]).sort();
            }})()"""
        )
        assert told == [["0", "negative"], ["1", "positive"]]

    def test_the_page_says_when_the_teacher_should_answer(
        self, browser, site, named
    ):
        page = opened(browser, f"{site[0]}/named")
        expected = keras_scores(named, TEXTS).max(axis=1)
        assert expected.min() < THRESHOLD < expected.max()
        for text, score in zip(TEXTS, expected, strict=True):
            type_text(page, text)
            unsure = text_of(page, "#unsure")
            assert bool(unsure) == (score < THRESHOLD)
            if unsure:
                assert f"below {THRESHOLD:.1%} its teacher" in unsure

    def test_one_text_has_no_second_box(self, browser, site):
        page = opened(browser, f"{site[0]}/two")
        shown = "document.querySelector('#second').checkVisibility()"
        assert not page.evaluate(shown)
        assert "MediaPipe" in text_of(page, "footer")

    def test_a_cased_student_reads_case(self, browser, site, cased):
        page = opened(browser, f"{site[0]}/cased")
        texts = ["a good Film", "a good film"]
        found = []
        for text in texts:
            type_text(page, text)
            found.append(list(scores(page).values()))
        expected = keras_scores(cased, texts)
        assert abs(expected[0, 0] - expected[1, 0]) > 1e-3
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert "LiteRT.js" in text_of(page, "footer")

    def test_the_browser_would_refuse_another_host(self, browser, site):
        page = opened(browser, f"{site[0]}/two")
        refused = page.evaluate(
            """new Promise(done => {
                document.addEventListener(
                    "securitypolicyviolation", e => done(e.blockedURI));
                const request = new XMLHttpRequest();
                request.open("GET", "https://example.com/");
                request.send();
                setTimeout(() => done("nothing was refused"), 5000);
            })"""
        )
        assert refused.startswith("https://example.com")

    def test_five_stars_are_five_bars_in_their_order(self, browser, site, five):
        page = opened(browser, f"{site[0]}/five")
        text = page.evaluate("document.querySelector('#text').value")
        assert text == "a good film"
        found = scores(page)
        expected = keras_scores(five, [text])[0]
        assert list(found) == STARS
        np.testing.assert_allclose(list(found.values()), expected, atol=1e-3)
        best = int(np.argmax(expected))
        verdict = text_of(page, "#verdict").replace("\n", " ").split()
        assert verdict[:2] == ["stars:", STARS[best]]
        assert text_of(page, "h1") == "How many stars?"

    def test_the_keyboard_reaches_everything(self, browser, site, two):
        page = opened(browser, f"{site[0]}/two")
        examples = [text for (text,) in build.describe(two)[0]["examples"]]
        type_text(page, "why")
        focus = "document.activeElement"
        reached = []
        for _ in range(len(examples) + 1):
            tab(page)
            reached.append(page.evaluate(f"{focus}.value||{focus}.innerText"))
        assert reached == [*examples, "float32"]
        arrow = {"code": "ArrowRight", "windowsVirtualKeyCode": 39}
        page.press("ArrowRight", **arrow)
        settled(page)
        assert text_of(page, "#precision") == "int8"
        tab(page, back=True)
        page.press("Enter", windowsVirtualKeyCode=13, text="\r")
        settled(page)
        text = page.evaluate("document.querySelector('#text').value")
        assert text == examples[-1]

    def test_one_model_is_no_choice(self, browser, site):
        page = opened(browser, f"{site[0]}/five")
        assert text_of(page, "#precision") == "float32"
        shown = "document.querySelector('#models').checkVisibility()"
        assert not page.evaluate(shown)

    def test_a_screen_reader_hears_the_result_once_typing_rests(
        self, browser, site
    ):
        page = opened(browser, f"{site[0]}/two")
        type_text(page, "good")
        type_text(page, TEXTS[1])
        heard = page.wait("document.querySelector('#spoken').innerText")
        best = max(scores(page).items(), key=lambda item: item[1])
        assert heard == f"{best[0]}, {best[1]:.1%}"

    def test_an_empty_text_has_no_scores(self, browser, site):
        page = opened(browser, f"{site[0]}/two")
        type_text(page, " ")
        assert "Type something" in text_of(page, "#verdict")
        shares = page.evaluate(
            "[...document.querySelectorAll('#scores .share')]"
            ".map(share => share.innerText)"
        )
        assert shares == ["–", "–"]

    def test_a_text_without_a_known_word_is_said_to_be_one(self, browser, site):
        page = opened(browser, f"{site[0]}/two")
        type_text(page, "a good film")
        assert text_of(page, "#hint") == ""
        type_text(page, "\u6771\u4eac zyxwv")
        assert "knows no word of this text" in text_of(page, "#hint")

    @pytest.mark.parametrize("width", [320, 390, 1280])
    @pytest.mark.parametrize("name", ["two", "five", "pairs"])
    def test_nothing_is_cut_off(self, browser, site, name, width):
        browser.window(width, 800)
        page = opened(browser, f"{site[0]}/{name}")
        type_text(page, "Donaudampfschifffahrtsgesellschaft" * 9)
        needed = page.evaluate("document.documentElement.scrollWidth")
        browser.window(390, 844)
        assert needed <= width

    def test_a_browser_without_webassembly_is_told_so(self, browser, site):
        script = browser.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="delete globalThis.WebAssembly",
        )
        try:
            page = opened(browser, f"{site[0]}/two")
        finally:
            browser.call("Page.removeScriptToEvaluateOnNewDocument", **script)
        assert state(page) == "failed"
        assert "no WebAssembly" in text_of(page, "#notice")

    def test_a_model_that_is_not_there_is_named(self, browser, site):
        address, folder = site
        shutil.copytree(folder / "two", folder / "lost")
        (folder / "lost" / "models" / FLOAT).unlink()
        page = opened(browser, f"{address}/lost")
        assert state(page) == "failed"
        assert text_of(page, "#notice") == (
            f"models/{FLOAT} could not be loaded: the server answered 404."
        )
        # The other one is there, and then all is well.
        page.evaluate("document.querySelector('[value=int8]').click()")
        settled(page)
        assert state(page) == "ready"
        assert text_of(page, "#notice") == ""

    def test_a_model_that_does_not_start_is_one_sentence(self, browser, site):
        address, folder = site
        shutil.copytree(folder / "two", folder / "spoilt")
        model = folder / "spoilt" / "models" / FLOAT
        model.write_bytes(model.read_bytes()[:3000])
        page = opened(browser, f"{address}/spoilt")
        assert state(page) == "failed"
        notice = text_of(page, "#notice")
        assert notice.startswith("This browser could not start the model: ")
        assert "\n" not in notice

    def test_a_page_whose_script_does_not_run_says_so(self, browser, site):
        address, folder = site
        shutil.copytree(folder / "two", folder / "old")
        (folder / "old" / "app.mjs").write_text("a syntax error")
        browser.open(f"{address}/old/")
        # A page is there before its styles are.
        browser.wait("document.readyState === 'complete'")
        shown = "getComputedStyle(document.querySelector('#unstarted'))"
        # Not at once: where the script runs nobody shall see it flash.
        assert browser.evaluate(f"{shown}.animationDelay") == "4s"
        browser.wait(f"{shown}.visibility === 'visible'")
