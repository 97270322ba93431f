import json

import numpy as np
import pytest
from golden import make

from keras_distill.data.normalize import normalize
from keras_distill.export.opened import LiteStudent

LOGITS = [
    json.loads(line)
    for line in (make.HERE / make.LOGITS).read_text("ascii").splitlines()
]


def test_the_golden_ids_are_those_of_the_students_tokenizer():
    stored = (make.HERE / make.TOKENS).read_text("ascii").splitlines()

    assert stored == make.token_lines()


def test_the_golden_ids_hold_known_and_unknown_words():
    ids = [
        id
        for line in (make.HERE / make.TOKENS).read_text("ascii").splitlines()
        for id in json.loads(line)["ids"]
    ]

    assert len(set(ids)) > 150
    assert {1, 4} < set(ids)
    assert not {0, 2, 3} & set(ids)


def test_the_golden_logits_are_those_of_the_student():
    for stored, now in zip(LOGITS, make.logit_lines(), strict=True):
        fresh = json.loads(now)
        numbers = {"logits", "probabilities"}
        for name in stored.keys() - numbers:
            assert stored[name] == fresh[name]
        for name in numbers:
            np.testing.assert_allclose(stored[name], fresh[name], atol=2e-6)


@pytest.mark.parametrize("name", make.MODELS)
def test_a_golden_model_gives_the_golden_logits(name):
    lines = [line for line in LOGITS if line["model"] == name]
    columns = list(zip(*(line["texts"] for line in lines), strict=True))

    logits, probabilities = LiteStudent(make.HERE / name).answers(columns)

    for found, key in ((logits, "logits"), (probabilities, "probabilities")):
        np.testing.assert_allclose(
            found, [line[key] for line in lines], atol=1e-5
        )


def test_the_golden_texts_cover_text_that_normalisation_changes():
    assert sum(normalize(text) != text for text in make.TEXTS) > 20
