"""Runs the code that the pages in docs/ show."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import client_tools
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401
import tiny_students
from chromium import Chromium, find_chromium
from golden import make
from tensorflow.core.protobuf import saved_model_pb2

from keras_distill.export.metadata import packed
from keras_distill.export.opened import LiteStudent
from keras_distill.export.saved_model import SavedStudent
from keras_distill.export.student import load_exported
from keras_distill.export.tflite import convert_text
from keras_distill.student.predictor import StudentPredictor

ROOT = Path(__file__).parent.parent
JAVASCRIPT = ROOT / "clients" / "javascript"
PYTHON = ROOT / "clients" / "python"
LITERT_JS = client_tools.PACKAGES / "@litertjs" / "core"


def snippets(page, language):
    text = (ROOT / "docs" / page).read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    assert found, f"{page} shows no {language}"
    return found


@contextmanager
def serving(handler, **settings):
    class Quiet(handler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, **settings)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def golden_logits(model):
    lines = (make.HERE / make.LOGITS).read_text("ascii").splitlines()
    return [line for line in map(json.loads, lines) if line["model"] == model]


class TestLiteRt:
    def test_the_python_answers_without_tensorflow(self, tmp_path):
        pytest.importorskip("ai_edge_litert")
        for name in ("tokenizer.py", "classifier.py"):
            shutil.copy(PYTHON / name, tmp_path)
        for model in make.MODELS:
            shutil.copy(make.HERE / model, tmp_path)
        texts, pairs, _ = snippets("litert.md", "python")
        assert len(texts.strip().splitlines()) <= 15
        absent = dict.fromkeys(("keras_distill", "tensorflow", "keras"))
        (tmp_path / "app.py").write_text(
            f"import sys\nsys.modules.update({absent})\n{texts}{pairs}"
        )

        done = subprocess.run(
            [sys.executable, "app.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert [text for *_, text in rows[:2]] == ["A gripping film.", "Dull."]
        assert len(rows) == 3
        lite = LiteStudent(make.HERE / "student.tflite")
        _, expected = lite.answers([[text for *_, text in rows[:2]]])
        for (label, probability, _), row in zip(rows, expected, strict=False):
            assert label == lite.labels[row.argmax()]
            assert probability == f"{row.max():.2f}"

    def test_the_python_answers_for_raw_text(self, tmp_path, monkeypatch):
        pytest.importorskip("ai_edge_litert")
        run = tiny_students.make_run(tmp_path / "saved_models" / "quick")
        exported = load_exported(run / "student")
        (run / "export").mkdir()
        (run / "export" / "student_text.tflite").write_bytes(
            packed(exported, convert_text(exported), takes_text=True)
        )
        monkeypatch.chdir(tmp_path)
        _, _, raw = snippets("litert.md", "python")
        names = {}

        exec(raw, names)

        student = StudentPredictor.load(run / "student")
        np.testing.assert_allclose(
            names["answer"]["logits"],
            student.logits(["Don\u2019t miss it.", "Dull."]),
            atol=1e-5,
        )

    @pytest.mark.skipif(
        not LITERT_JS.is_dir(),
        reason="LiteRT.js is missing: npm ci --prefix clients fetches it",
    )
    @pytest.mark.skipif(find_chromium() is None, reason="no Chromium")
    @pytest.mark.parametrize("model", make.MODELS)
    def test_the_javascript_answers_in_a_browser(self, model, tmp_path):
        (code,) = snippets("litert.md", "js")
        code, changed = re.subn(
            r"LENGTH = \d+", f"LENGTH = {make.MAX_LENGTH}", code
        )
        assert changed == 1
        (tmp_path / "classify.mjs").write_text(code)
        for path in (*JAVASCRIPT.glob("*.mjs"), make.HERE / "vocab.txt"):
            shutil.copy(path, tmp_path)
        shutil.copy(make.HERE / model, tmp_path / "student.tflite")
        (tmp_path / "node_modules").symlink_to(client_tools.PACKAGES)
        imports = {
            name: f"./node_modules/{name}/dist/index.js"
            for name in ("@litertjs/core", "@litertjs/wasm-utils")
        }
        (tmp_path / "index.html").write_text(
            '<!doctype html><script type="importmap">'
            f"{json.dumps({'imports': imports})}</script>"
        )
        cases = golden_logits(model)
        texts = json.dumps([case["texts"] for case in cases])
        files = http.server.SimpleHTTPRequestHandler

        with (
            serving(files, directory=tmp_path) as address,
            Chromium(tmp_path / "profile") as browser,
        ):
            browser.open(f"{address}/index.html")
            found = browser.evaluate(
                f"""(async () => {{
                  const {{ classify }} = await import("./classify.mjs");
                  const found = [];
                  for (const texts of {texts}) {{
                    found.push(await classify(...texts));
                  }}
                  return found;
                }})()"""
            )

        np.testing.assert_allclose(
            found, [case["probabilities"] for case in cases], atol=1e-5
        )


class TestPython:
    @pytest.mark.parametrize("page", ["predict.md", "../README.md"])
    def test_the_python_answers(self, page, tmp_path, monkeypatch):
        tiny_students.make_run(tmp_path / "saved_models" / "quick")
        monkeypatch.chdir(tmp_path)
        found = snippets(page, "python")
        (code,) = [code for code in found if "import load" in code]
        names = {}

        exec(code, names)

        answers = names["student"].predict(["not bad at all"])
        assert answers[0].label in names["student"].labels


def row_format(answer):
    """Return what Serving makes of a signature's outputs."""
    columns = {name: value.numpy().tolist() for name, value in answer.items()}
    rows = [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
    for row in rows:
        row["label"] = row["label"].decode()
    return {"predictions": rows}


class TestServing:
    TEXTS = ["A gripping film.", "Dull."]

    @pytest.fixture(scope="class")
    def student(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("run") / "saved_models" / "quick"
        run = tiny_students.make_run(folder)
        return tiny_students.save_model(run) / "student"

    @pytest.fixture
    def expected(self, student):
        predictor = StudentPredictor.load(student)
        chosen = predictor.logits(self.TEXTS).argmax(axis=1)
        return [predictor.labels[place] for place in chosen]

    def test_the_python_answers(self, student, expected, monkeypatch):
        monkeypatch.chdir(student.parents[2])
        names = {}

        exec(snippets("serving.md", "python")[0], names)

        labels = [label.decode() for label in names["answer"]["label"].numpy()]
        assert labels == expected

    def test_the_request_is_answered(self, student, expected, capsys):
        export = student.parent / "export" / "saved_model"
        serve = tf.saved_model.load(str(export)).signatures["serving_default"]

        class Serving(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/v1/models/reviews:predict"
                size = int(self.headers["Content-Length"])
                rows = json.loads(self.rfile.read(size))["instances"]
                texts = tf.constant([row["text"] for row in rows])
                body = json.dumps(row_format(serve(text=texts))).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

        code = snippets("serving.md", "python")[1]
        with serving(Serving) as address:
            assert "http://localhost:8501" in code
            exec(code.replace("http://localhost:8501", address), {})

        assert capsys.readouterr().out.split()[::2] == expected

    @pytest.fixture(scope="class")
    def golden(self, tmp_path_factory):
        module = SavedStudent(make.exported(pair=False))
        folder = str(tmp_path_factory.mktemp("golden"))
        tf.saved_model.save(module, folder, module.signatures())
        return folder

    def test_the_answer_shown_is_that_of_the_golden_student(self, golden):
        (curl,) = (c for c in snippets("serving.md", "bash") if "curl" in c)
        asked = json.loads(re.search(r"'(\{.*\})'", curl, re.S)[1])
        texts = tf.constant([row["text"] for row in asked["instances"]])
        model = tf.saved_model.load(golden)
        (shown,) = map(json.loads, snippets("serving.md", "json"))

        said = row_format(model.signatures["serving_default"](text=texts))

        assert shown.keys() == said.keys()
        answers = zip(shown["predictions"], said["predictions"], strict=True)
        for one, other in answers:
            assert one.keys() == other.keys()
            assert one.pop("label") == other.pop("label")
            for name, numbers in one.items():
                assert numbers == pytest.approx(other[name], abs=1e-5)

    def test_the_ops_named_are_those_that_tensorflow_lacks(self, golden):
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((Path(golden) / "saved_model.pb").read_bytes())
        (graph,) = saved.meta_graphs
        ops = {
            op.name
            for op in graph.meta_info_def.stripped_op_list.op
            if not hasattr(tf.raw_ops, op.name)
        }
        page = (ROOT / "docs" / "serving.md").read_text("utf-8")
        sentence = re.search(r"two ops of tensorflow-text, ([^;]*);", page)[1]
        assert ops == set(re.findall(r"`(\w+)`", sentence))


class TestTeachers:
    def test_a_language_models_answers_become_a_file(
        self, tmp_path, monkeypatch
    ):
        from keras_distill.data.answers import read_answers
        from keras_distill.data.dialect import Reading

        *others, ask = snippets("teachers.md", "python")
        for text in others:
            compile(text, "teachers.md", "exec")
            assert len(text.strip().splitlines()) <= 20
        monkeypatch.chdir(tmp_path)
        said = iter(["Good.", "bad", "well", "good", " bad ", "Bad."])
        names = {"texts": ["a film", "a book"], "ask": lambda _: next(said)}
        exec(ask, names)
        answers, _ = read_answers(
            *([tmp_path / "said.jsonl"], ["text"], ["bad", "good"], {}),
            *(0.9, Reading()),
        )
        first, second = answers.logits.values()
        assert first[0] == pytest.approx(first[1])
        assert second.argmax() == 0
        assert answers.facts["changed"] == 1.0
