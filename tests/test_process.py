import os
import signal
import subprocess
import sys

import pytest
from tiny_runs import ROOT, lives, python, until

from keras_distill.errors import LostError, ReportedError, UserError
from keras_distill.process import Child, cores, run_child


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that makes `python -m NAME` run some code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(code):
        (tmp_path / "some_child.py").write_text(code)
        return "some_child"

    return make


def test_a_child_gets_its_arguments_and_the_package(module, tmp_path):
    name = module(
        "import sys, keras_distill.process\n"
        "open(sys.argv[1], 'w').write(' '.join(sys.argv[2:]))\n"
    )
    run_child(name, [str(tmp_path / "said"), "--a", "b c"])
    assert (tmp_path / "said").read_text() == "--a b c"


def test_a_switch_of_the_shell_does_not_reach_the_child(
    module, tmp_path, monkeypatch
):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    name = module(
        "import os, sys\n"
        "assert 'TF_USE_LEGACY_KERAS' not in os.environ\n"
        "open(sys.argv[1], 'w').close()\n"
    )
    run_child(name, [str(tmp_path / "said")])
    assert (tmp_path / "said").exists()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"


def test_bad_input_of_a_child_is_not_reported_twice(module):
    with pytest.raises(ReportedError):
        run_child(module("raise SystemExit(2)"), [])


def test_a_child_that_fails_is_named_with_its_exit_code(module):
    with pytest.raises(UserError) as caught:
        run_child(module("raise SystemExit(7)"), [])
    assert str(caught.value) == "python -m some_child failed: exit code 7"


@pytest.mark.parametrize(
    "name, hint", [("SIGKILL", " (out of memory?)"), ("SIGTERM", "")]
)
def test_a_child_that_is_killed_is_named_with_the_signal(module, name, hint):
    number = int(getattr(signal, name))
    code = f"import os\nos.kill(os.getpid(), {number})"
    with pytest.raises(UserError) as caught:
        run_child(module(code), [])
    expected = f"python -m some_child was killed: signal {number}{hint}"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(130)",
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "os.kill(os.getpid(), signal.SIGINT)",
    ],
)
def test_a_child_that_was_interrupted_interrupts_its_parent(module, code):
    with pytest.raises(KeyboardInterrupt):
        run_child(module(code), [])


WAITING = """
import os, sys, time
from keras_distill.process import exit_with_parent
assert exit_with_parent()
with open(sys.argv[1], "w") as stream:
    stream.write(str(os.getpid()))
os.rename(sys.argv[1], sys.argv[2])
time.sleep(120)
"""
PARENT = """
import sys
from keras_distill.process import Child, cores, run_child
run_child("some_child", sys.argv[1:])
"""


@pytest.fixture
def family(module, tmp_path):
    """Start a parent with a waiting child; yield the parent, the child's id."""
    module(WAITING)
    place = tmp_path / "pid"
    names = [str(tmp_path / "unfinished"), str(place)]
    parent = subprocess.Popen(
        python("-c", PARENT, *names),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with parent:
        until(place.exists)
        child = int(place.read_text())
        yield parent, child
        for pid in (parent.pid, child):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_dies_with_its_killed_parent(family, number):
    parent, child = family
    assert lives(child)
    parent.send_signal(number)
    assert parent.wait() == -number
    until(lambda: not lives(child))


def test_ctrl_c_ends_the_child_first(family):
    parent, child = family
    os.killpg(parent.pid, signal.SIGINT)
    parent.wait()
    assert not lives(child)
    assert b"KeyboardInterrupt" in parent.stderr.read()


def test_a_process_of_its_own_does_not_wait_for_a_parent():
    code = "from keras_distill.process import exit_with_parent as e\n"
    code += "import time; assert not e(); time.sleep(0.2); print('alive')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "alive\n"


@pytest.mark.parametrize("found", [None, 3])
def test_where_no_affinity_is_told_the_machine_counts(monkeypatch, found):
    assert cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: found)
    assert cores() == (found or 1)


def test_what_is_to_be_done_meanwhile_is_done_while_the_child_works(
    module, tmp_path
):
    name = module(
        "import os, sys, time\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
    )
    done = tmp_path / "done"
    run_child(name, [str(done)], meanwhile=done.touch)
    assert done.exists()


def test_a_child_beside_tells_lines_and_holds_back_what_was_bad(module):
    lines = []
    name = module(
        "import sys\n"
        "sys.stderr.write('one\\ntwo \\xb5\\nerror: nothing to learn\\n')\n"
        "raise SystemExit(2)\n"
    )
    with Child(name, [], tell=lines.append) as child:
        with pytest.raises(UserError) as caught:
            child.wait()
    assert lines == ["one", "two \xb5"]
    assert str(caught.value) == "nothing to learn"


def test_a_child_beside_that_dies_can_be_told_from_bad_input(module):
    code = "import os\nos.kill(os.getpid(), 9)"
    with Child(module(code), [], tell=print) as child:
        with pytest.raises(LostError, match="was killed: signal 9"):
            child.wait()


def test_a_child_beside_ends_with_what_is_done_here(module, tmp_path):
    place, final = tmp_path / "at", tmp_path / "pid"
    with pytest.raises(ValueError, match="here"):
        with Child(module(WAITING), [place, final], tell=print):
            until(final.exists)
            raise ValueError("what went wrong here")
    assert not lives(int(final.read_text()))
