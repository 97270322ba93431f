"""The tagger: found, missing, damaged, left out."""

import nltk
import pytest
from tiny_tagger import install

from keras_distill.augmentation import tagged as tagger
from keras_distill.augmentation.tagged import load_tagger
from keras_distill.errors import UserError


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No tagger is loaded, none is installed, and there is no network."""
    load_tagger.cache_clear()
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(nltk, "download", lambda *_, **__: False)
    yield
    load_tagger.cache_clear()


def test_words_get_penn_tags(tmp_path):
    install(tmp_path, {"the": "DT", "film": "NN"})
    assert load_tagger("nltk")(["the", "film"]) == ["DT", "NN"]


def test_without_a_tagger_every_tag_is_empty():
    assert load_tagger("none")(["the", "film"]) == ["", ""]


def test_missing_data_is_downloaded(tmp_path, monkeypatch):
    asked = []

    def download(name, quiet):
        asked.append(name)
        install(tmp_path, {"the": "DT"})
        return True

    monkeypatch.setattr(nltk, "download", download)
    assert load_tagger("nltk")(["the"]) == ["DT"]
    assert asked == [tagger.RESOURCE]


def test_data_missing_for_good_names_the_command_and_the_way_without():
    with pytest.raises(UserError) as error:
        load_tagger("nltk")
    command = "python -m nltk.downloader averaged_perceptron_tagger_eng"
    assert command in str(error.value)
    assert "--pos-tagger none" in str(error.value)


def test_damaged_data_is_an_error_of_one_line(tmp_path):
    place = install(tmp_path, {"the": "DT"})
    (place / f"{tagger.RESOURCE}.weights.json").write_text('{"a": ')
    with pytest.raises(UserError, match="damaged") as error:
        load_tagger("nltk")
    assert "\n" not in str(error.value)
    assert "--pos-tagger none" in str(error.value)
