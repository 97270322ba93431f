import shutil
import threading
import urllib.request
import zipfile

import pytest
from tiny_students import make_run

from demo import build, serve
from keras_distill.errors import UserError
from keras_distill.files import write_json

FLOAT = "student_mediapipe.tflite"


def pack_bundle(path, labels, start=b"\x1c\0\0\0TFL3"):
    """Write what looks like a bundle from outside."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(start + bytes(4000))
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("labels.txt", "".join(f"{x}\n" for x in labels))
        packed.writestr("text.json", '{"max_length": 20}')


def size(run):
    return (run / "export" / FLOAT).stat().st_size


def write_results(run, bytes_of_bundle):
    write_json(
        run / "results.json",
        {
            "student": {"parameters": 2_420_000},
            "teacher": {"name": "models/bert-large-uncased"},
            "splits": {"train": {"rows": 880}, "test": {"rows": 1400}},
            # Of a slow form half the rows are enough.
            "exports": {
                FLOAT: {
                    "accuracy": 0.7375,
                    "rows": 700,
                    "bytes": bytes_of_bundle,
                }
            },
        },
    )


class TestBuild:
    def test_the_page_is_told_what_the_run_knows(self, tmp_path):
        run = make_run(tmp_path / "run", "quick")
        pack_bundle(run / "export" / FLOAT, ["negative", "positive"])
        write_results(run, size(run))
        facts, bundles = build.describe(run)
        assert bundles == [run / "export" / FLOAT]
        assert facts["title"] == "Review sentiment"
        assert facts["labels"] == ["negative", "positive"]
        assert facts["words"] == 20
        assert facts["models"] == [
            {
                "name": "float32",
                "title": "Full precision",
                "file": f"models/{FLOAT}",
                "vocabulary": "models/student_mediapipe.txt",
                "bytes": bundles[0].stat().st_size,
                "accuracy": 0.7375,
            }
        ]
        assert facts["facts"] == (
            "A BiLSTM of 2.42 million parameters, distilled from "
            "bert-large-uncased. Accuracy is that on 700 test texts."
        )
        assert ["Worth every penny."] in facts["examples"]
        assert facts["fields"] == ["Your text"]

    def test_an_accuracy_of_another_file_is_not_told(self, tmp_path):
        run = make_run(tmp_path / "run", "quick")
        pack_bundle(run / "export" / FLOAT, ["negative", "positive"])
        write_results(run, size(run) + 1)
        facts, _ = build.describe(run)
        assert facts["models"][0]["accuracy"] is None
        assert "Accuracy" not in facts["facts"]

    def test_own_data_are_not_put_on_the_page(self, tmp_path):
        run = make_run(tmp_path / "run")
        pack_bundle(run / "export" / FLOAT, ["negative", "positive"])
        assert build.describe(run)[0]["examples"] == []

    @pytest.mark.parametrize(
        ("student", "runtime", "fields"),
        [
            ({}, "mediapipe", ["Your text"]),
            ({"lower_case": False}, "litert", ["Your text"]),
            ({"pair": True}, "litert", ["First text", "Second text"]),
        ],
    )
    def test_what_mediapipe_cannot_read_is_for_litert(
        self, tmp_path, student, runtime, fields
    ):
        run = make_run(tmp_path / "run", **student)
        name = FLOAT if runtime == "mediapipe" else "student.tflite"
        pack_bundle(run / "export" / name, ["negative", "positive"])
        facts, files = build.describe(run)
        assert facts["runtime"] == runtime
        assert facts["fields"] == fields
        assert facts["lowerCase"] is student.get("lower_case", True)
        assert [file.name for file in files] == [name]

    def test_examples_of_pairs_have_a_tab_between_them(self, tmp_path):
        run = make_run(tmp_path / "run", pair=True)
        pack_bundle(run / "export" / "student.tflite", ["negative", "positive"])
        examples = tmp_path / "examples.txt"
        examples.write_text("a film\ta good film\n\nno pair\n")
        with pytest.raises(UserError, match="line 3: found 1 texts"):
            build.describe(run, examples=examples)
        examples.write_text("a film\ta good film\n\n")
        facts, _ = build.describe(run, examples=examples)
        assert facts["examples"] == [["a film", "a good film"]]

    def test_a_run_that_is_not_exported_says_how(self, tmp_path):
        run = make_run(tmp_path / "run")
        with pytest.raises(UserError, match="keras_distill.export .*run"):
            build.describe(run)

    def test_a_bundle_of_another_run_is_refused(self, tmp_path):
        run = make_run(tmp_path / "run")
        pack_bundle(run / "export" / FLOAT, ["bad", "good"])
        with pytest.raises(UserError, match="classes bad, good.*another run"):
            build.describe(run)

    @pytest.mark.parametrize("spoil", ["start", "end", "all"])
    def test_a_spoilt_bundle_is_refused(self, tmp_path, spoil):
        run = make_run(tmp_path / "run")
        path = run / "export" / FLOAT
        start = b"\x1c\0\0\0PK34" if spoil == "start" else b"\x1c\0\0\0TFL3"
        pack_bundle(path, ["negative", "positive"], start)
        if spoil != "start":
            path.write_bytes(path.read_bytes()[: 0 if spoil == "all" else -50])
        with pytest.raises(UserError, match=f"{FLOAT} is no whole"):
            build.describe(run)

    def test_a_folder_of_something_else_is_left_alone(self, tmp_path):
        (tmp_path / "letter.txt").write_text("dear")
        with pytest.raises(UserError, match="is no demo"):
            build.build(tmp_path / "run", tmp_path)
        assert (tmp_path / "letter.txt").read_text() == "dear"

    def test_missing_npm_is_one_clear_line(self, tmp_path, monkeypatch):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(build._HERE / name, tmp_path)
        monkeypatch.setattr(build, "_HERE", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UserError, match="npm is needed"):
            build.install_packages()

    def test_what_npm_says_is_passed_on(self, tmp_path, monkeypatch):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(build._HERE / name, tmp_path)
        npm = tmp_path / "npm"
        npm.write_text("#!/bin/sh\necho npm error E404 >&2\nexit 1\n")
        npm.chmod(0o755)
        monkeypatch.setattr(build, "_HERE", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        with pytest.raises(UserError, match="failed in .*: npm error E404"):
            build.install_packages()

    def test_bad_input_is_exit_code_2(self, tmp_path, capsys):
        assert build.main([str(tmp_path / "nothing")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


class TestServer:
    def test_files_have_the_types_that_browsers_want(self, tmp_path):
        write_json(tmp_path / "demo.json", {})
        for name in ("a.mjs", "a.wasm"):
            (tmp_path / name).write_text("x")
        with serve.make_server(tmp_path, "127.0.0.1", 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}"
            types = [
                urllib.request.urlopen(f"{address}/a.{end}").headers
                for end in ("mjs", "wasm")
            ]
            server.shutdown()
        assert [headers.get_content_type() for headers in types] == [
            "text/javascript",
            "application/wasm",
        ]

    def test_a_port_in_use_is_one_line(self, tmp_path, capsys):
        write_json(tmp_path / "demo.json", {})
        with serve.make_server(tmp_path, "127.0.0.1", 0) as server:
            port = str(server.server_address[1])
            assert serve.main([str(tmp_path), "--port", port]) == 2
        error = capsys.readouterr().err
        assert f"port {port}: Address already in use; choose" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize("port", ["70000", "-1"])
    def test_a_port_that_cannot_be_is_one_line(self, tmp_path, port, capsys):
        write_json(tmp_path / "demo.json", {})
        assert serve.main([str(tmp_path), "--port", port]) == 2
        assert capsys.readouterr().err.count("\n") == 1

    def test_a_folder_without_a_demo_says_how_to_build(self, tmp_path):
        with pytest.raises(UserError, match="python -m demo.build RUN"):
            serve.make_server(tmp_path, "127.0.0.1", 0)
