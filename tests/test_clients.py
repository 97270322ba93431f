import os
import shutil
import subprocess
from pathlib import Path

import client_tools
import pytest
from tensorflow.lite.python.interpreter import Interpreter

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed"
)
needs_kotlin = pytest.mark.skipif(
    client_tools.find_kotlinc() is None,
    reason=(
        "Java or kotlinc is missing: npm ci --prefix clients fetches kotlinc"
    ),
)


def run(*command, **variables):
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {key: str(value) for key, value in variables.items()},
    )


@pytest.fixture(scope="module")
def random_vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    client_tools.write_random_vectors(folder, characters=3000, texts=3000)
    return folder


@pytest.fixture(scope="module")
def kotlin_jar(tmp_path_factory):
    jar = tmp_path_factory.mktemp("kotlin") / "test.jar"
    sources = ROOT / "clients" / "kotlin"
    result = run(
        *(client_tools.find_kotlinc(), "-include-runtime", "-Werror"),
        *(sources / "Tokenizer.kt", sources / "TokenizerTest.kt"),
        *("-d", jar),
    )
    assert result.returncode == 0, result.stderr
    return jar


def javascript(vectors):
    return run(
        *("node", "--test"),
        ROOT / "clients" / "javascript" / "tokenizer.test.mjs",
        GOLDEN=vectors,
    )


@needs_node
def test_the_javascript_tokenizer_gives_the_golden_ids():
    result = javascript(GOLDEN)

    assert result.returncode == 0, result.stdout


@needs_node
def test_the_javascript_tokenizer_gives_the_ids_of_random_texts(
    random_vectors,
):
    result = javascript(random_vectors)

    assert result.returncode == 0, result.stdout[:3000]


@needs_node
@pytest.mark.slow
def test_the_javascript_tokenizer_gives_the_ids_of_every_character(tmp_path):
    client_tools.write_random_vectors(tmp_path, characters=1 << 18, texts=0)

    result = javascript(tmp_path)

    assert result.returncode == 0, result.stdout[:3000]


@needs_node
def test_the_javascript_test_sees_a_wrong_id(tmp_path):
    result = javascript(spoilt(tmp_path))

    assert result.returncode == 1
    assert "line 1" in result.stdout


@needs_node
@pytest.mark.parametrize("pair", [False, True])
def test_the_javascript_shape_is_the_one_that_a_model_then_has(pair, tmp_path):
    name = "student_pair.tflite" if pair else "student.tflite"
    shutil.copy(GOLDEN / name, tmp_path)
    model = tmp_path / name

    result = fixed_shape(model)

    assert result.returncode == 0, result.stderr
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    assert len(inputs) == 1 + pair
    for tensors, shape in ((inputs, [3, 7]), (outputs, [3, 2])):
        for tensor in tensors:
            assert tensor["shape"].tolist() == shape
            assert tensor["shape_signature"].tolist() == shape


@needs_node
def test_a_file_that_is_no_model_gets_no_shape(tmp_path):
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(b"something else")

    result = fixed_shape(foreign)

    assert result.returncode != 0
    assert "this is no TFLite file" in result.stderr


def fixed_shape(model):
    """Give a model's file the shape [3, 7]."""
    module = ROOT / "clients" / "javascript" / "fixed_shape.mjs"
    return run(
        *("node", "--input-type=module", "--eval"),
        f"""
        import {{ readFileSync, writeFileSync }} from "node:fs";
        import {{ fixedShape }} from "{module.as_uri()}";
        const bytes = new Uint8Array(readFileSync("{model}"));
        writeFileSync("{model}", fixedShape(bytes.buffer, 3, 7));
        """,
    )


@pytest.mark.whole
@needs_kotlin
def test_the_kotlin_tokenizer_gives_the_golden_ids(kotlin_jar):
    result = run("java", "-jar", kotlin_jar, GOLDEN)

    assert result.returncode == 0, result.stdout
    assert " 0 failed" in result.stdout


@pytest.mark.whole
@needs_kotlin
def test_the_kotlin_tokenizer_gives_the_ids_of_random_texts(
    kotlin_jar, random_vectors
):
    result = run("java", "-jar", kotlin_jar, random_vectors)

    assert result.returncode == 0, result.stdout[:3000]


@pytest.mark.whole
@needs_kotlin
def test_the_kotlin_test_sees_a_wrong_id(kotlin_jar, tmp_path):
    result = run("java", "-jar", kotlin_jar, spoilt(tmp_path))

    assert result.returncode == 1
    assert "line 1: expected [2], found [5]" in result.stdout


def spoilt(folder):
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] film".split()
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokens.jsonl").write_text(
        '{"vocabulary": "vocab.txt", "lower_case": true, "max_length": 3, '
        '"text": "film", "ids": [2]}\n'
    )
    return folder
