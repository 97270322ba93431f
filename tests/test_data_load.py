from collections import Counter

import pytest

from keras_distill.config import Config, DataConfig
from keras_distill.data import splits as corpus
from keras_distill.data import splits as load
from keras_distill.data.splits import load_splits, read_corpus
from keras_distill.errors import UserError


@pytest.fixture
def files(tmp_path):
    """Write custom CSV files and return a function that loads them."""

    def csv(name, n, start=0, labels="abc"):
        path = tmp_path / name
        rows = [
            f"row {start + i},{labels[i % len(labels)]}\n" for i in range(n)
        ]
        path.write_text("text,label\n" + "".join(rows))
        return str(path)

    def loaded(dev=False, test=False, seed=42, **settings):
        settings["train_file"] = csv("train.csv", 400)
        if dev:
            settings["dev_file"] = csv("dev.csv", 60, 1000)
        if test:
            settings["test_file"] = csv("test.csv", 90, 2000)
        config = Config("custom", seed=seed, data=DataConfig(**settings))
        return load_splits(config)

    loaded.csv = csv
    return loaded


def glue(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in rows.items():
        text = "".join(f"{name} text{i}\t{i % 2}\n" for i in range(n))
        (folder / f"{name}.tsv").write_text("sentence\tlabel\n" + text)


def test_with_dev_and_test_dev_chooses(files):
    splits = files(dev=True, test=True)
    assert splits.selected_on == "dev"
    assert splits.select == splits.dev
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (
        400,
        60,
        90,
    )


def test_with_dev_alone_a_part_of_train_chooses(files):
    splits = files(dev=True)
    assert splits.selected_on == "heldout"
    assert (len(splits.train), len(splits.select)) == (380, 20)
    assert len(splits.dev) == 60
    assert splits.test is None
    assert not set(splits.train) & set(splits.select)


def test_with_test_alone_the_held_out_part_is_dev(files):
    splits = files(test=True)
    assert splits.selected_on == "dev"
    assert splits.dev == splits.select
    assert (len(splits.train), len(splits.dev)) == (380, 20)


def test_with_neither_dev_is_held_out_too(files):
    splits = files()
    assert splits.selected_on == "heldout"
    parts = [
        {e.id for e in p} for p in (splits.train, splits.select, splits.dev)
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 400
    assert len(parts[2]) == 20


def test_select_on_dev_does_what_the_paper_did(files):
    splits = files(dev=True, select_on="dev")
    assert splits.selected_on == "dev"
    assert len(splits.train) == 400
    assert splits.select == splits.dev


def test_select_on_heldout_leaves_dev_untouched(files):
    splits = files(dev=True, test=True, select_on="heldout")
    assert splits.selected_on == "heldout"
    assert len(splits.select) == 20


def test_select_on_dev_without_dev_is_an_error(files):
    with pytest.raises(UserError, match="no dev file"):
        files(select_on="dev")


def test_a_held_out_fraction_of_nothing_is_an_error(files):
    with pytest.raises(UserError, match="heldout_fraction is 0"):
        files(dev=True, heldout_fraction=0.0)


def test_few_held_out_rows_are_warned_of(files, caplog):
    files(dev=True)
    assert "only 20 rows are held out" in caplog.text


def test_the_seed_chooses_what_is_held_out(files):
    assert files() == files()
    assert files(seed=1).select != files(seed=2).select


def test_a_train_limit_draws_from_what_is_left(files):
    whole, some = files(dev=True), files(dev=True, train_limit=50)
    assert some.select == whole.select
    assert len(some.train) == 50
    places = [whole.train.index(e) for e in some.train]
    assert places == sorted(places)
    assert len(Counter(e.label for e in some.train)) == 3


def test_labels_and_pair_are_told(files):
    splits = files()
    assert splits.labels == ["a", "b", "c"]
    assert splits.pair is False


def test_a_second_text_makes_pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = "".join(f"a {i},b {i},{i % 2}\n" for i in range(100))
    path.write_text("text,more,label\n" + rows)
    data = DataConfig(train_file=str(path), text_pair_column="more")
    assert load_splits(Config("custom", data=data)).pair is True


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        ({"text_pair_column": "text"}, "'text' is named as text and second"),
        ({"text_pair_column": "label"}, "'label' is named as second text and"),
        ({"text_column": "label"}, "'label' is named as text and label"),
        ({"label_column": "text"}, "'text' is named as text and label"),
    ],
)
def test_a_column_cannot_be_two_things(files, columns, roles):
    with pytest.raises(UserError, match=f"train.csv: column {roles}"):
        files(**columns)


def test_a_train_limit_that_loses_a_class_is_an_error(files):
    with pytest.raises(UserError, match="train_limit is 1, .* the class 'a'"):
        files(dev=True, train_limit=1)


def test_a_dev_label_that_train_lacks_is_an_error(files, tmp_path):
    dev = files.csv("other.csv", 4, labels="abz")
    with pytest.raises(UserError, match="other.csv, line 4.*'z'.*a, b, c"):
        files(dev_file=dev)


def test_a_single_class_is_an_error(tmp_path, files):
    path = files.csv("one.csv", 10, labels="a")
    config = Config("custom", data=DataConfig(train_file=path))
    with pytest.raises(UserError, match="expected at least two"):
        load_splits(config)


def test_a_class_without_training_rows_is_warned_of(files, caplog):
    files(labels=["a", "b", "c", "never"])
    assert "no training row has the label 'never'" in caplog.text


def test_rows_of_dev_that_are_in_train_too_are_warned_of(files, caplog):
    files(dev_file=files.csv("same.csv", 5))
    assert "5 of 5 rows of dev are in train too" in caplog.text


def test_unlabelled_files_are_passed_on_and_must_exist(files, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("text\n")
    assert files(unlabeled=[str(more)]).unlabeled == [more]
    with pytest.raises(UserError, match="none.txt: no such file"):
        files(unlabeled=[str(more), str(tmp_path / "none.txt")])


@pytest.mark.parametrize(
    ("task", "settings", "reason"),
    [
        ("custom", {}, "train_file is missing"),
        ("custom", {"train_file": "x", "data_dir": "y"}, "data_dir"),
        ("sst2", {"train_file": "x.csv"}, "data.train_file is 'x.csv'"),
        ("quick", {"data_dir": "y"}, "data.data_dir is 'y'"),
        ("custom", {"train_file": "x", "labels": ["a", "a"]}, "'a' twice"),
        ("custom", {"train_file": "x", "labels": []}, r"\[\], .* at least two"),
        ("sst2", {"labels": ["a"]}, "expected at least two"),
        ("sst2", {"train_file": "x"}, "--data-dir, yours by --task custom"),
        ("quick", {"train_file": "x"}, "your files come by --task custom"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(task, settings, reason):
    with pytest.raises(UserError, match=reason):
        load_splits(Config(task, data=DataConfig(**settings)))


def test_glue_is_read_from_a_folder_with_a_part_held_out(tmp_path):
    glue(tmp_path / "SST-2", {"train": 200, "dev": 30})
    config = Config("sst2", data=DataConfig(data_dir=str(tmp_path)))
    splits = load_splits(config)
    assert splits.selected_on == "heldout"
    assert splits.labels == ["negative", "positive"]
    assert (len(splits.train), len(splits.select)) == (190, 10)
    assert len(splits.dev) == 30
    assert splits.test is None


def test_phrases_of_an_sst2_sentence_stay_on_one_side(tmp_path):
    glue(tmp_path, {"dev": 30})
    rows = "".join(
        f"s{i} a{i} b{i} c{i} d{i} e{i}{end}\t{i % 2}\n"
        for i in range(100)
        for end in ("", " more")
    )
    (tmp_path / "train.tsv").write_text("sentence\tlabel\n" + rows)
    config = Config("sst2", data=DataConfig(data_dir=str(tmp_path)))
    splits = load_splits(config)
    first = [
        {e.text_a.split()[0] for e in p} for p in (splits.train, splits.select)
    ]
    assert len(splits.select) == 10
    assert not first[0] & first[1]


def test_glue_is_downloaded_when_no_folder_is_given(tmp_path, monkeypatch):
    glue(tmp_path / "SST-2", {"train": 200, "dev": 30})
    monkeypatch.setenv("KERAS_DISTILL_CACHE", str(tmp_path / "cache"))
    asked = []

    def fake(task, cache_dir):
        asked.append((task, cache_dir))
        return tmp_path / "SST-2"

    monkeypatch.setattr(load, "download_glue", fake)
    assert len(load_splits(Config("sst2")).dev) == 30
    assert asked == [("sst2", tmp_path / "cache" / "glue")]


def test_glue_without_dev_or_with_unlabelled_train_is_an_error(tmp_path):
    glue(tmp_path / "SST-2", {"train": 20})
    config = Config("sst2", data=DataConfig(data_dir=str(tmp_path)))
    with pytest.raises(UserError, match="holds no dev file"):
        load_splits(config)
    (tmp_path / "SST-2/train.tsv").write_text("sentence\na\n")
    with pytest.raises(UserError, match="train.tsv, line 1: no column 'label'"):
        load_splits(config)


@pytest.fixture
def small_corpus(tmp_path, monkeypatch):
    for split, n in (("train", 6), ("dev", 4), ("test", 2)):
        rows = "".join(
            f"{label}\t{split} {i} is it 's\n"
            for i in range(n // 2)
            for label in ("negative", "positive")
        )
        (tmp_path / f"{split}.tsv").write_text("label\ttext\n" + rows)
    (tmp_path / "unlabeled.txt").write_text("more\n")
    monkeypatch.setattr(corpus, "_folder", lambda: tmp_path)
    return tmp_path


def test_the_corpus_is_read_by_split(small_corpus):
    examples = read_corpus("dev")
    assert [e.label for e in examples] == [0, 1, 0, 1]
    assert examples[0].text_a == "dev 0 is it's"
    assert examples[0].id == "dev-0"


def test_a_corpus_split_that_does_not_exist_lists_those_that_do(small_corpus):
    with pytest.raises(UserError, match="expected one of: train, dev, test"):
        read_corpus("all")


def test_the_quick_task_chooses_on_dev_and_reports_test(small_corpus):
    splits = load_splits(Config())
    assert splits.selected_on == "dev"
    assert splits.labels == ["negative", "positive"]
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (6, 4, 2)
    assert splits.unlabeled == [small_corpus / "unlabeled.txt"]
