"""Finding, loading and refusing teachers; see test_worlds.py."""

import hashlib
import http.server
import json
import re
import sys
import threading

import numpy as np
import pytest
import teacher_tiny as tiny

from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.files import read_json, write_json

REPOSITORY = "acme/tiny-bert"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LONG = [Example("a " * 40, "the " * 40)]


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves `server.folder` as the Hugging Face hub serves a repository."""

    def do_GET(self):
        path = self.path.partition("?")[0].strip("/")
        self.server.seen.append(f"{self.command} /{path}")
        found = re.match(f"{REPOSITORY}/resolve/(main|{COMMIT})/(.*)", path)
        if found:
            file = self.server.folder / found[2]
            if file.is_file():
                return self._send(file.read_bytes())
            return self._refuse("EntryNotFound")
        if path.startswith(f"api/models/{REPOSITORY}/tree"):
            return self._refuse("EntryNotFound")
        if path.startswith(f"api/models/{REPOSITORY}"):
            names = sorted(p.name for p in self.server.folder.iterdir())
            facts = {
                "id": REPOSITORY,
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in names],
            }
            return self._send(json.dumps(facts).encode())
        return self._refuse("RepoNotFound")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass

    def _refuse(self, code):
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data):
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory):
    """A hub with one teacher, which knows what it was asked for."""
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.folder, server.seen = tmp_path_factory.mktemp("hub"), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # All before transformers is imported.
        patch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("HF_HUB_OFFLINE", "0")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("NO_PROXY", "127.0.0.1")
        from keras_distill.teacher.runtime import prepare_environment
        from keras_distill.teacher.source import prepare_hub

        prepare_environment("float32")
        prepare_hub(REPOSITORY)
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def teachers(hub):
    """The module under test."""
    from keras_distill.teacher import checkpoint

    return checkpoint


def logits_of(teacher, rows, longest=32):
    from keras_distill.teacher.predict import Predictor

    return Predictor(teacher, longest, 64).logits(rows)[0]


def error_of(work, *arguments):
    with pytest.raises(UserError) as caught:
        work(*arguments)
    return str(caught.value)


def test_a_package_name_leads_to_the_model_folder_inside(
    teachers, tmp_path, monkeypatch
):
    place = tmp_path / "tiny_teacher_package" / "model"
    tiny.checkpoint(place, head=False)
    (place.parent / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert teachers.find_checkpoint("tiny-teacher-package") == str(place)


def test_an_encoder_gets_a_head_and_is_saved_and_loaded_as_it_is(
    teachers, tmp_path
):
    classes = ["a", "b", "c"]
    encoder = tiny.checkpoint(tmp_path / "encoder", head=False)
    teacher = teachers.load_teacher(str(encoder), classes)
    saved = tmp_path / "saved"
    teachers.save_teacher(teacher, saved)
    names = {path.name for path in saved.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} < names
    assert read_json(saved / "teacher.json") == {
        "lower_case": True,
        "parameters": sum(w.size for w in tiny.weights(teacher)),
    }
    rows = tiny.examples(6)
    before = logits_of(teacher, rows)
    after = logits_of(teachers.load_fine_tuned(str(saved), classes), rows)
    assert before.std() > 0.1
    assert np.abs(before - after).max() < 1e-6


def test_lower_casing_tokenizers_are_told_from_cased_ones(teachers, tmp_path):
    lower_cases = teachers.lower_cases
    assert lower_cases(tiny.tokenizer(tmp_path / "a"))
    assert not lower_cases(tiny.tokenizer(tmp_path / "b", lower_case=False))
    assert not lower_cases(tiny.roberta_tokenizer(tmp_path / "c"))


def test_a_teacher_from_the_hub_is_the_one_that_lies_there(teachers, hub):
    tiny.checkpoint(hub.folder, seed=3)
    teacher = teachers.load_teacher(REPOSITORY, tiny.LABELS)
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        for method in ("HEAD", "GET"):
            assert f"{method} /{REPOSITORY}/resolve/main/{file}" in hub.seen
    origin = teachers.load_teacher(str(hub.folder), tiny.LABELS)
    for ours, theirs in zip(*map(tiny.weights, (teacher, origin)), strict=True):
        assert np.array_equal(ours, theirs)
    words = teacher.tokenizer.tokenize("a superb film")
    assert words == ["a", "superb", "film"]


def test_a_name_that_the_hub_does_not_know_is_said_so(teachers):
    message = error_of(teachers.load_teacher, "acme/nothing", tiny.LABELS)
    assert message.startswith("teacher acme/nothing cannot be loaded")
    assert "is not a valid model identifier" in message


@pytest.fixture(scope="module")
def bert(teachers, tmp_path_factory):
    tokens = tiny.tokenizer(tmp_path_factory.mktemp("bert"))
    return teachers.Teacher(tiny.bert(), tokens, [0, 1])


@pytest.fixture(scope="module")
def roberta(teachers, tmp_path_factory):
    tokens = tiny.roberta_tokenizer(tmp_path_factory.mktemp("roberta"))
    return teachers.Teacher(tiny.roberta(tokens), tokens, [0, 1])


@pytest.mark.parametrize(
    "name, text",
    [
        ("bert", "[CLS] a [MASK] film [SEP] the [MASK] [SEP]"),
        ("roberta", "<s>a<mask> film</s></s>the<mask></s>"),
    ],
)
def test_masks_become_the_teachers_own_where_they_stood(request, name, text):
    from keras_distill.teacher.predict import encode

    tokens = request.getfixturevalue(name).tokenizer
    pair = [Example("a [MASK] film", "the [MASK]")]
    columns = encode(tokens, pair, 64).columns
    ids = columns["input_ids"][0]
    assert ids.tolist().count(tokens.mask_token_id) == 2
    assert tokens.decode(ids) == text
    if name == "bert":
        assert columns["token_type_ids"][0].tolist() == 5 * [0] + 3 * [1]


def test_no_input_is_longer_than_asked_or_than_the_model_has_positions(
    bert, roberta
):
    from keras_distill.teacher.predict import encode

    assert encode(bert.tokenizer, LONG, 16).lengths[0] == 16
    # RoBERTa's 34 positions serve 32 tokens.
    assert (bert.cut(8), bert.cut(128), roberta.cut(128)) == (8, 32, 32)


def test_texts_longer_than_the_model_are_labelled_all_the_same(bert, roberta):
    for teacher in (bert, roberta):
        assert logits_of(teacher, LONG, 128).shape == (1, 2)


def test_a_folder_without_configuration_or_weights_is_refused(
    teachers, tmp_path
):
    from transformers import BertConfig

    bare = tmp_path / "bare"
    tiny.tokenizer(bare).save_pretrained(bare)
    message = error_of(teachers.find_checkpoint, str(bare))
    assert "bare has no config.json; found: " in message
    BertConfig().save_pretrained(bare)
    message = error_of(teachers.load_teacher, str(bare), tiny.LABELS)
    assert "bare has no weights, expected one of: model.safetensors" in message


def other_tokens(folder):
    (folder / "tokenizer.json").write_text('{"no": "tokenizer"}')


def configured(**changes):
    def write(folder):
        path = folder / "config.json"
        write_json(path, read_json(path) | changes)

    return write


def without_padding(folder):
    from transformers import BertTokenizerFast

    vocabulary = str(folder / "vocab.txt")
    BertTokenizerFast(vocabulary, pad_token=None).save_pretrained(folder)


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (other_tokens, r"^teacher folder .*/spoilt cannot be loaded: "),
        (configured(hidden_size=8), "its weights do not fit its config.json"),
        (
            configured(model_type="modernbert"),
            "of the family modernbert, for which transformers 4.53 has no "
            "TensorFlow class .* --teacher-logits FILE",
        ),
        (without_padding, "no padding token"),
    ],
)
def test_a_spoilt_folder_is_refused(teachers, tmp_path, spoil, reason):
    folder = tiny.checkpoint(tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(UserError, match=reason) as caught:
        teachers.load_teacher(str(folder), tiny.LABELS)
    assert "hub" not in str(caught.value)


def sharded(folder):
    """Write a checkpoint in many files, with an index of them."""
    tiny.tokenizer(folder).save_pretrained(folder)
    tiny.bert(names=tiny.LABELS).save_pretrained(
        folder, safe_serialization=True, max_shard_size="5KB"
    )
    return folder


def test_a_whole_sharded_checkpoint_is_a_teacher(teachers, tmp_path):
    folder = sharded(tmp_path / "sharded")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert not (folder / "model.safetensors").exists()
    whole = str(tiny.checkpoint(tmp_path / "whole", names=tiny.LABELS))
    first, second = (
        logits_of(teachers.load_fine_tuned(name, tiny.LABELS), tiny.examples(4))
        for name in (whole, str(folder))
    )
    assert np.abs(first - second).max() < 1e-6


def test_half_a_sharded_checkpoint_is_none(teachers, tmp_path):
    folder = sharded(tmp_path / "sharded")
    lost = sorted(folder.glob("model-*.safetensors"))[-1]
    lost.unlink()
    message = error_of(teachers.load_teacher, str(folder), tiny.LABELS)
    assert "lacks 1 of the" in message and lost.name in message


def test_logits_that_are_no_numbers_are_told_before_hours_are_lost(
    teachers, tmp_path
):
    from keras_distill.teacher.predict import check_answers

    tokens = tiny.tokenizer(tmp_path)
    teacher = teachers.Teacher(tiny.bert(), tokens, [0, 1])
    kernel = teacher.model.classifier.kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    arguments = ("bert", teacher, tiny.examples(3), 32)
    message = error_of(check_answers, *arguments)
    assert "teacher bert gives the logits [[nan" in message
    assert "--precision float32" in message


def test_a_forward_pass_that_fails_is_one_line(teachers, tmp_path):
    from keras_distill.teacher.predict import check_answers

    tokens = tiny.tokenizer(tmp_path)
    teacher = teachers.Teacher(tiny.bert(layers=1), tokens, [0, 1, 2])
    message = error_of(check_answers, "bert", teacher, tiny.examples(3), 32)
    assert "logits of shape [2, 2] for 2 rows, expected [2, 3]" in message
    # More words than the model has rows.
    tokens.add_tokens(["unheard"] * 1 + [f"of{i}" for i in range(50)])
    rows = [Example("unheard of49")] * 2
    message = error_of(check_answers, "bert", teacher, rows, 32)
    assert "teacher bert cannot read the rows of this run: " in message
    assert "\n" not in message


def test_a_checkpoint_without_head_is_no_fine_tuned_teacher(teachers, tmp_path):
    encoder = str(tiny.checkpoint(tmp_path / "encoder", head=False))
    message = error_of(teachers.load_fine_tuned, encoder, tiny.LABELS)
    assert "is not fine-tuned: it has no weights for classifier" in message
    assert "--teacher" in message


def test_logits_come_in_the_order_of_the_tasks_classes(teachers, tmp_path):
    rows, names = tiny.examples(5), ["positive", "negative"]
    permuted = str(tiny.checkpoint(tmp_path / "permuted", names=names))
    logits, plain = (
        logits_of(teachers.load_fine_tuned(permuted, labels), rows)
        for labels in (tiny.LABELS, names)
    )
    assert np.array_equal(logits, plain[:, ::-1])
    assert not np.array_equal(logits, plain)


def test_names_that_are_told_are_the_tasks_from_then_on(teachers, tmp_path):
    names = ["POSITIVE", "NEGATIVE"]
    folder = str(tiny.checkpoint(tmp_path / "other", names=names))
    labels, rows = ["0", "1"], tiny.examples(5)
    assert "--teacher-classes POSITIVE=0,NEGATIVE=1" in error_of(
        teachers.load_fine_tuned, folder, labels
    )
    told = ["NEGATIVE=0", "POSITIVE=1"]
    teacher = teachers.load_fine_tuned(folder, labels, told)
    assert teacher.columns == [1, 0]
    teachers.save_teacher(teacher, tmp_path / "saved")
    again = teachers.load_fine_tuned(str(tmp_path / "saved"), labels)
    assert again.matched.by == "name"
    assert np.array_equal(logits_of(again, rows), logits_of(teacher, rows))
