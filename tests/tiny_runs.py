"""Tiny data, a tiny BERT and the real train.py, for the tests of whole runs.

Run as a script it writes the BERT: importing a TensorFlow class of
transformers turns `tf.keras` into tf_keras, which must not happen in the
process of the tests.
"""

import contextlib
import importlib.util
import logging
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import unittest.mock
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent

GOOD = "great lovely superb charming tasty warm brilliant fresh".split()
BAD = "awful dull bland rude broken stale dreadful weak".split()
THINGS = "film book soup hotel phone song room plot service cake".split()
REST = "the a was is it and but very so not we found this that".split()
WORDS = [*GOOD, *BAD, *THINGS, *REST, *"one two three four five".split()]

# Every run of these tests has them; a second call gives the same ones.
SMALL = (
    *("--pos-tagger", "none", "--n-iter", "4", "--epochs", "8"),
    *("--teacher-epochs", "4", "--teacher-lr", "3e-3", "--batch-size", "16"),
    *("--precision", "float32"),
    *("--set", "teacher.batch_size=4"),
    *("--set", "transfer_set.rows_per_shard=60"),
    *("--set", "augmentation.workers=1"),
    *("--set", "student.lstm_units=16", "--set", "student.hidden_units=16"),
    *("--set", "student.embedding_dim=8"),
    *("--set", "student.evaluations_per_epoch=1"),
    *("--set", "data.heldout_fraction=0.3"),
)


def sentence(rng, word):
    """A sentence that one word decides."""
    thing = rng.choice(THINGS)
    return rng.choice(
        [
            f"the {thing} was {word}",
            f"it is a {word} {thing}",
            f"we found the {thing} so very {word} .",
            f"{word} , this {thing} is {word} !",
            f"the {thing} and that {rng.choice(THINGS)} : {word}",
        ]
    )


def write_sst2(folder, rows=90, dev=40, seed=0):
    """Write SST-2 in GLUE's layout; return the folder for --data-dir."""
    rng = random.Random(seed)
    (folder / "SST-2").mkdir(parents=True, exist_ok=True)
    for name, count in (("train", rows), ("dev", dev)):
        lines = ["sentence\tlabel"]
        for i in range(count):
            word = rng.choice(GOOD if i % 2 else BAD)
            lines.append(f"{sentence(rng, word)} \t{i % 2}")
        text = "\n".join(lines) + "\n"
        (folder / "SST-2" / f"{name}.tsv").write_text(text)
    lines = ["index\tsentence"]
    lines += [f"{i}\t{sentence(rng, rng.choice(GOOD))}" for i in range(10)]
    (folder / "SST-2" / "test.tsv").write_text("\n".join(lines) + "\n")
    return folder


def write_qqp(folder, rows=90, dev=40, seed=1):
    """Write QQP in GLUE's layout; return the folder for --data-dir."""
    rng = random.Random(seed)
    (folder / "QQP").mkdir(parents=True, exist_ok=True)
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    number = 0
    for name, count in (("train", rows), ("dev", dev)):
        lines = [header]
        for i in range(count):
            thing, word = rng.choice(THINGS), rng.choice(GOOD)
            questions = (
                f"is the {thing} {word} {number} ?",
                f"was this {thing} {word if i % 2 else rng.choice(BAD)} ?",
            )
            lines.append(
                f"{number}\t{2 * number}\t{2 * number + 1}\t{questions[0]}"
                f"\t{questions[1]}\t{i % 2}"
            )
            number += 1
        text = "\n".join(lines) + "\n"
        (folder / "QQP" / f"{name}.tsv").write_text(text)
    return folder


def write_stars(folder, rows=160, seed=2):
    """Write reviews.csv with five classes, and more.txt without labels."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    words = "one two three four five".split()
    lines = ["date,stars,review"]
    for i in range(rows):
        text = sentence(rng, words[i % 5])
        lines.append(f'2024-01-01,{1 + i % 5},"{text}"')
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n")
    more = [sentence(rng, rng.choice(words)) for _ in range(30)]
    (folder / "more.txt").write_text("\n".join(more) + "\n")
    return folder


def write_vectors(path, dim=8, seed=3):
    """Write GloVe text vectors for most of the words."""
    rng = random.Random(seed)
    lines = [
        " ".join([word, *(f"{rng.uniform(-1, 1):.4f}" for _ in range(dim))])
        for word in WORDS[:-5]
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def environment(**more):
    """The environment of a run: no GPU, no hub, few threads."""
    return {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "HF_HUB_OFFLINE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_NUM_INTEROP_THREADS": "2",
        **more,
    }


# Not by preexec_fn, for which subprocess forks: gRPC's threads, which
# TensorBoard and TensorFlow bring into this process, may abort a fork.
_PREPARED = """
import os, resource, signal, sys
{}
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# A shell's background jobs ignore Ctrl-C, and so would their children.
HEARS_CTRL_C = "signal.signal(signal.SIGINT, signal.SIG_DFL)"


def python(*arguments, prepare=HEARS_CTRL_C):
    """Return the command that runs Python after a line of preparation."""
    prepared = _PREPARED.format(prepare)
    return [sys.executable, "-I", "-c", prepared, *map(str, arguments)]


def run(*arguments, stdin=None, **more):
    """Run Python in the project's root; `more` joins its environment."""
    return subprocess.run(
        python(*arguments),
        cwd=ROOT,
        env=environment(**more),
        input=stdin or "",
        capture_output=True,
        text=True,
        start_new_session=True,
    )


def script(name):
    """Load a script of the project's root as a module."""
    stem = name.removesuffix(".py")
    spec = importlib.util.spec_from_file_location(stem, ROOT / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_here(*command):
    """Run a command of `run` in this process.

    For what does not depend on a process of its own, as a run that goes on
    after a kill does: TensorFlow's import takes seconds.

    Args:
        command: A script of the project's root, or `-m` and a module, and
            the arguments.
    """
    words = [str(word) for word in command]
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        with (
            _written_to(output, 1, contextlib.redirect_stdout),
            _written_to(errors, 2, contextlib.redirect_stderr),
            unittest.mock.patch.dict(os.environ, environment()),
            same_logging(),
        ):
            code = _exit_code(words)
        written = []
        for stream in (output, errors):
            stream.seek(0)
            written.append(stream.read().decode())
    return subprocess.CompletedProcess(words, code, *written)


def _exit_code(words):
    if words[0] != "-m":
        return script(words[0]).main(words[1:])
    with (
        unittest.mock.patch.object(sys, "argv", words[1:]),
        warnings.catch_warnings(),
    ):
        # The module may have been imported before.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            runpy.run_module(words[1], run_name="__main__", alter_sys=False)
        except SystemExit as ended:
            return ended.code
    return 0


@contextlib.contextmanager
def _written_to(file, descriptor, redirected):
    """Catch what this process and its children write to a descriptor."""
    kept = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    try:
        with (
            open(descriptor, "w", buffering=1, closefd=False) as stream,
            redirected(stream),
        ):
            yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@contextlib.contextmanager
def same_logging():
    """Undo what a command line sets up, so that caplog works elsewhere."""
    logger = logging.getLogger("keras_distill")
    handlers, level = list(logger.handlers), logger.level
    propagate = logger.propagate
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def killed(pattern, count, when, *arguments):
    """Run Python until SIGKILL meets it at a file; see stop_at/."""
    result = run(
        *arguments,
        STOP_AT=f"{pattern} {count} {when}",
        PYTHONPATH=str(ROOT / "tests" / "stop_at"),
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    return result


def interrupted(pattern, count, *arguments):
    """Press Ctrl-C when a file was written; see stop_at/.

    As in a terminal, the whole process group gets the signal.

    Returns:
        The exit code and all that was written to stderr.
    """
    result = run(
        *arguments,
        STOP_AT=f"{pattern} {count} after",
        STOP_SIGNAL="SIGINT",
        PYTHONPATH=str(ROOT / "tests" / "stop_at"),
    )
    return result.returncode, result.stderr


def until(condition):
    """Wait for what comes at once; the limit is for a busy machine."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def lives(pid):
    """Say whether a process runs; one that only waits to be told does not."""
    result = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True
    )
    return result.stdout.strip()[:1] not in ("Z", "")


def write_bert(folder, seed=0):
    """Write a BERT of two layers with random weights and no dropout."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        TFBertForSequenceClassification,
    )

    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *".,:!?"]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(pieces) + "\n")
    tokenizer = BertTokenizerFast(str(vocabulary), do_lower_case=True)
    tokenizer.save_pretrained(folder)
    tf_keras.utils.set_random_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        # Without dropout a run that was interrupted has the same numbers.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = TFBertForSequenceClassification(config)
    model.build_in_name_scope()
    model.save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    write_bert(Path(sys.argv[1]), *map(int, sys.argv[2:]))
