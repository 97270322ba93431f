"""The wheel: what is in it, and that it works where nothing else is."""

import configparser
import email
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from keras_distill import __main__ as package
from keras_distill import __version__

ROOT = Path(__file__).resolve().parent.parent
NOT_COPIED = (
    *(".*", "__pycache__", "node_modules", "saved_models", "build"),
    "*.egg-info",
)


def python(*arguments, **settings):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        **settings,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built offline from a copy of the whole project."""
    place = tmp_path_factory.mktemp("wheel")
    # A build leaves files in its folder.
    ignored = shutil.ignore_patterns(*NOT_COPIED)
    shutil.copytree(ROOT, place / "source", ignore=ignored)
    result = python(
        *("-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
        *("--no-index", "--wheel-dir", place, place / "source"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = place.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Runs Python in an empty folder that finds the wheel's content alone."""
    target = tmp_path_factory.mktemp("installed")
    flags = ("--no-deps", "--no-index", "--target", target)
    result = python("-m", "pip", "install", *flags, wheel)
    assert result.returncode == 0, result.stderr
    empty = tmp_path_factory.mktemp("empty")
    # Of the shell's own there is nothing, such as the path of this project.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(target)}

    def start(*arguments):
        return python(*arguments, cwd=empty, env=environment)

    start.target, start.folder = target, empty
    found = start("-c", "import keras_distill as k; print(k.__file__)").stdout
    assert Path(found.strip()).is_relative_to(target)
    return start


def test_it_holds_the_package_and_nothing_else(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for kind in ("**/*.py", "data/corpus/*")
        for path in (ROOT / "keras_distill").glob(kind)
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    facts = {name for name in names if ".dist-info/" in name}
    assert names - facts == expected
    assert len([n for n in expected if "/corpus/" in n]) == 4
    assert {name.rpartition("/")[2] for name in facts} == {
        *("METADATA", "RECORD", "WHEEL", "LICENSE", "entry_points.txt"),
        "top_level.txt",
    }


def test_it_asks_for_what_the_requirements_list(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
        facts = email.message_from_bytes(archive.read(name))
        scripts = configparser.ConfigParser()
        entries = name.replace("METADATA", "entry_points.txt")
        scripts.read_string(archive.read(entries).decode())
    wanted = []
    for file, only in (
        ("requirements.txt", ""),
        ("requirements-ray.txt", '; extra == "ray"'),
    ):
        lines = (ROOT / file).read_text().splitlines()
        lines = [line for line in lines if line and not line.startswith("#")]
        wanted += [line + only for line in lines]
    found = facts.get_all("Requires-Dist")
    assert set(map(Requirement, found)) == set(map(Requirement, wanted))
    assert len(found) == len(wanted)
    assert facts["Version"] == __version__
    assert facts["License-Expression"] == "Apache-2.0"
    assert dict(scripts["console_scripts"]) == {
        "keras-distill": "keras_distill.__main__:main"
    }


def test_the_version_is_that_of_the_changelog():
    headings = re.findall(
        r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert headings[0] == __version__


def test_installed_it_says_what_there_is(run):
    listed = run("-m", "keras_distill")
    assert listed.returncode == 0, listed.stderr
    script = run(run.target / "bin" / "keras-distill")
    assert script.stdout == listed.stdout == package.overview()


@pytest.mark.parametrize("name", package.COMMANDS)
def test_installed_every_command_has_its_help(run, name):
    result = run(run.target / "bin" / "keras-distill", name, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")


def test_installed_the_quick_start_begins_in_an_empty_folder(run):
    result = run("-m", "keras_distill", "train", "--stages", "data")
    assert result.returncode == 0, result.stderr
    data = run.folder / "saved_models" / "quick" / "data"
    assert (data / "train.jsonl.gz").is_file()
    assert (data / "unlabeled.jsonl.gz").is_file()


# Without the wheel


def test_every_command_is_in_the_list_with_a_page_about_it():
    commands = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in (ROOT / "keras_distill").rglob("*.py")
        # What has a command line for people, not for a child process.
        if re.search(r"Parser\(|parser\(__doc__\)", path.read_text())
        and 'if __name__ == "__main__"' in path.read_text()
    }
    assert {module for module, _, _ in package.COMMANDS.values()} == commands
    for name, (_, _, page) in package.COMMANDS.items():
        text = (ROOT / page).read_text()
        assert re.search(rf"keras_distill\.{name}\b|\b{name}\.py\b", text), name
        assert f"  {name} " in package.overview()
    assert max(map(len, package.overview().splitlines())) <= 80


def test_a_command_gets_the_rest_of_the_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["keras-distill", "train", "--bogus"])
    with pytest.raises(SystemExit) as ended:
        package.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--bogus" in line
    assert line.endswith("(see keras-distill train --help)")


def test_a_command_that_there_is_not_is_one_line(capsys):
    assert package.main(["trian"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no command 'trian', expected one of: train,")
