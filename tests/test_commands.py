"""The command lines that the pages show are taken as they are written."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import report_runs
import tiny_runs

from keras_distill import train
from keras_distill.config import Config, config_from_dict, load_config
from keras_distill.options import chosen_stages, parser, resolve

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "results" / "README.md",
]
RESULTS = sorted(
    path.parent.name for path in ROOT.glob("results/*/config.yaml")
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`([^`]+)`")
# A shell's words after which a command is over.
ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "<"}
# A page's "and so on".
ETC = "..."


def commands(text):
    """The arguments of every `python ...` that a text shows.

    Yields:
        The words after `python`, and whether they are mentioned in a
        sentence, which need not say all of them.
    """
    for language, block in BLOCK.findall(text):
        if language != "bash":
            continue
        for line in unrolled(block.replace("\\\n", " ")):
            yield from ((found, False) for found in pythons(line))
    for mention in INLINE.findall(BLOCK.sub("", text)):
        line = " ".join(mention.split())
        if re.match(r"\S*python ", line):
            yield from ((found, True) for found in pythons(line))


def unrolled(block):
    """The lines of a block; those in a loop once for each name."""
    names, variable = [None], None
    for line in block.splitlines():
        if loop := re.match(r"for (\w+) in (.*?); do$", line):
            variable, names = loop[1], loop[2].split()
        elif line.strip() == "done":
            names, variable = [None], None
        else:
            for name in names:
                yield line.replace(f"${variable}", name) if variable else line


def pythons(line):
    """The commands of a line of shell, as the words after `python`."""
    if "python" not in line:
        return
    words = shlex.split(line, comments=True)
    for place, word in enumerate(words):
        if Path(word).name == "python":
            rest = words[place + 1 :]
            end = next((i for i, w in enumerate(rest) if w in ENDS), None)
            yield [w for w in rest[:end] if w != ETC]


def is_ours(command):
    """Whether a command is the project's, and reads its command line."""
    if command[:1] == ["-m"]:
        return command[1].partition(".")[0] in ("keras_distill", "demo")
    return command[:1] != [] and command[0].endswith(".py")


SHOWN = sorted(
    {
        (str(page.relative_to(ROOT)), shlex.join(command), mentioned)
        for page in PAGES
        for command, mentioned in commands(page.read_text("utf-8"))
        if is_ours(command)
    }
)


class Parsed(Exception):
    """A program has read its command line; the argument is what it read."""


def parse(command, monkeypatch):
    """Start a program as a shell would, until it has read its arguments."""

    def stopping(read):
        def run(self, args=None, namespace=None):
            raise Parsed(read(self, args, namespace))

        return run

    for name in ("parse_args", "parse_intermixed_args"):
        read = stopping(getattr(argparse.ArgumentParser, name))
        monkeypatch.setattr(argparse.ArgumentParser, name, read)
    # Where Python looks when it runs a script of that folder.
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    with pytest.raises(Parsed) as parsed:
        if command[0] == "-m":
            monkeypatch.setattr(sys, "argv", command[1:])
            runpy.run_module(command[1], run_name="__main__")
        else:
            monkeypatch.setattr(sys, "argv", command)
            runpy.run_path(str(ROOT / command[0]), run_name="__main__")
    return parsed.value.args[0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("page, line, mentioned", SHOWN)
def test_a_command_that_a_page_shows_is_accepted(
    page, line, mentioned, monkeypatch, tmp_path
):
    command = shlex.split(line)
    program = command[: 2 if command[0] == "-m" else 1]
    if "--help" in command or (mentioned and command == program):
        # Named, not given: it is enough that there is such a program.
        with pytest.raises(SystemExit) as ended:
            parse([*program, "--help"], monkeypatch)
        assert ended.value.code == 0
        return
    options = parse(command, monkeypatch)
    if command[0] == "train.py":
        # Its settings and stages are read after its flags.
        if options.config is not None:
            options.config = tmp_path / "config.yaml"
            Config(task="sst2").save(options.config)
        resolve(options)
        assert chosen_stages(options)


@pytest.mark.parametrize("pair", [False, True])
def test_what_a_finished_run_says_comes_next_can_be_done(
    tmp_path, monkeypatch, pair
):
    # A name that a shell would split.
    run = tmp_path / "my run"
    report_runs.write_student(run / "student", seed=1, pair=pair)
    exports = {"student.tflite": {}}
    if not pair:
        exports["student_mediapipe.tflite"] = {}
    results = {"pair": pair, "exports": exports}
    files, told = train.next_steps(run, results).split("Next:")
    assert ("MediaPipe" in files) is not pair
    lines = [shlex.split(line) for line in told.strip().splitlines()]
    assert all(str(run) in " ".join(words) for words in lines)
    ours = [words[1:] for words in lines if words[0] == "python"]
    assert len(ours) == len(lines) - 1 == 4
    for command in ours:
        with monkeypatch.context() as patch:
            parse(command, patch)
    # Whether a student takes what was read is known when it was loaded.
    answered = tiny_runs.run_here(*ours[0])
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout.startswith("{")


def test_commands_are_found_in_blocks_loops_pipes_and_sentences():
    text = (
        "```bash\n"
        "python train.py --task x \\\n    --set a.b=1  # a comment\n"
        'echo "it is" | .venv/bin/python -m keras_distill.predict RUN > out\n'
        "for name in one two; do\n    python benchmarks/$name.py --rows 1\n"
        "done\npip install python-magic\n"
        "```\n"
        "Or `python -m keras_distill.export\nRUN ...`; a `python` is needed.\n"
    )
    assert [(shlex.join(words), said) for words, said in commands(text)] == [
        ("train.py --task x --set a.b=1", False),
        ("-m keras_distill.predict RUN", False),
        ("benchmarks/one.py --rows 1", False),
        ("benchmarks/two.py --rows 1", False),
        ("-m keras_distill.export RUN", True),
    ]


def test_the_pages_show_every_program():
    programs = {line.removeprefix("-m ").split()[0] for _, line, _ in SHOWN}
    modules = ("predict", "evaluate", "export", "benchmark", "teacher")
    assert {"train.py", "tune.py"} <= programs
    assert {f"keras_distill.{name}" for name in modules} <= programs


HEAVY = {
    *("tensorflow", "keras", "tf_keras", "transformers", "scipy"),
    *("matplotlib", "nltk", "gensim", "keras_tuner", "sklearn"),
}


@pytest.mark.parametrize(
    "command",
    [
        *("train.py", "tune.py", "-m keras_distill.benchmark"),
        *(
            "-m keras_distill.evaluate",
            "-m keras_distill.cascade",
            "-m keras_distill.export",
        ),
        *("-m keras_distill.predict", "-m keras_distill.teacher"),
    ],
)
def test_help_comes_without_a_heavy_import(command):
    result = subprocess.run(
        [*(sys.executable, "-X", "importtime"), *command.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0
    assert result.stdout.startswith("usage: ")
    names = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in result.stderr.splitlines()
    }
    assert "keras_distill" in names
    assert names & HEAVY == set()


# The committed runs


def flat(values, prefix=""):
    """Settings by their dotted key; of a path the file's name alone."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            path = isinstance(value, str) and "/" in value
            found[prefix + key] = Path(value).name if path else value
    return found


@pytest.mark.parametrize("name", RESULTS)
def test_the_command_of_a_committed_run_gives_its_configuration(name):
    page = (ROOT / "results" / "README.md").read_text("utf-8")
    folder = f"saved_models/{name}"
    makes_it = [
        command
        for command, _ in commands(page)
        if command[:1] == ["train.py"]
        and any(
            given in (folder, f"--output-dir={folder}") for given in command
        )
    ]
    assert makes_it, f"no command makes {folder}"
    path = ROOT / "results" / name / "config.yaml"
    expected = flat(config_from_dict(load_config(path)).to_dict())
    differences = []
    for command in makes_it:
        options = parser("").parse_args(command[1:])
        told = flat(resolve(options).to_dict())
        differences.append(
            {
                key: f"{told[key]!r} by the command, {value!r} in the file"
                for key, value in expected.items()
                if told[key] != value
            }
        )
    # Where a run was made in steps, one of them says it all.
    assert {} in differences
