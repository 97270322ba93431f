import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.config import config_from_dict
from keras_distill.data.examples import Example
from keras_distill.errors import UserError
from keras_distill.student import dataset as module
from keras_distill.student.dataset import (
    Reading,
    evaluation_dataset,
    training_dataset,
)
from keras_distill.student.text import SPECIALS, StudentTokenizer
from keras_distill.transfer_set.record import (
    AUGMENTED,
    ORIGINAL,
    encode,
    shard_name,
    write_shard,
)

WORDS = [f"w{i}" for i in range(200)]
TOKENIZER = StudentTokenizer([*SPECIALS, *WORDS], lower_case=True)


def length(number: int) -> int:
    return 1 + (number * 7919) % 23


def record(number: int, pair: bool) -> bytes:
    """Row `number`: its number is in the logits, its lengths vary."""
    text_a = " ".join([WORDS[number % 200]] * length(number))
    text_b = " ".join([WORDS[number % 199]] * length(number * 31 + 5))
    return encode(
        Example(text_a, text_b if pair else None, number % 2, str(number)),
        [number, -number],
        ORIGINAL if number % 3 == 0 else AUGMENTED,
    )


def write(folder, pair, shards=7, rows=37):
    return [
        write_shard(
            folder / shard_name(shard, shards),
            (record(shard * rows + i, pair) for i in range(rows)),
        )
        and folder / shard_name(shard, shards)
        for shard in range(shards)
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sentences"), pair=False)


@pytest.fixture(scope="module")
def pair_files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pairs"), pair=True)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(module, "_BATCHES_PER_WINDOW", 5)
    monkeypatch.setattr(module, "_SHARDS_AT_ONCE", 3)


def batches(files, take=None, **options):
    settings = dict(
        batch_size=8,
        pair=False,
        num_classes=2,
        max_length=128,
        seed=1,
        repeat=False,
    )
    dataset = training_dataset(files, TOKENIZER, **{**settings, **options})
    return list(itertools.islice(dataset.as_numpy_iterator(), take))


def numbers(batches):
    return [targets["teacher_logits"][:, 0].tolist() for _, targets in batches]


def flat(batches):
    return [int(n) for batch in numbers(batches) for n in batch]


def test_every_row_comes_exactly_once_per_epoch(files):
    assert sorted(flat(batches(files))) == list(range(7 * 37))


def test_all_batches_are_full_save_the_remainder(files):
    sizes = sorted(len(batch) for batch in numbers(batches(files)))
    assert sizes == [7 * 37 % 8] + [8] * (7 * 37 // 8)


def test_inputs_and_targets_have_the_promised_types(pair_files):
    inputs, targets = batches(pair_files, 1, pair=True)[0]
    assert sorted(inputs) == ["ids_a", "ids_b"]
    assert sorted(targets) == ["label", "teacher_logits"]
    assert inputs["ids_a"].dtype == inputs["ids_b"].dtype == np.int32
    assert targets["label"].dtype == np.int32
    assert targets["teacher_logits"].dtype == np.float32
    assert targets["teacher_logits"].shape == (8, 2)


def test_text_logits_and_label_of_a_row_stay_together(pair_files):
    for inputs, targets in batches(pair_files, pair=True):
        for i, number in enumerate(targets["teacher_logits"][:, 0]):
            n = int(number)
            for name, word, count in (
                ("ids_a", n % 200, length(n)),
                ("ids_b", n % 199, length(n * 31 + 5)),
            ):
                ids = inputs[name][i]
                assert ids[ids != 0].tolist() == [5 + word] * count
            assert targets["label"][i] == (n % 2 if n % 3 == 0 else -1)
            assert targets["teacher_logits"][i, 1] == -number


def test_a_batch_is_padded_to_its_longest_row(files):
    for inputs, _ in batches(files):
        lengths = (inputs["ids_a"] != 0).sum(1)
        assert inputs["ids_a"].shape[1] == lengths.max()


def test_the_shuffle_is_a_function_of_seed_and_epoch(files):
    first = numbers(batches(files))
    tf.random.set_seed(99)
    assert numbers(batches(files)) == first
    assert numbers(batches(files, seed=2)) != first
    assert numbers(batches(files, epoch=1)) != first


def test_repeating_goes_on_with_the_next_epoch(files):
    per_epoch = len(batches(files))
    found = numbers(batches(files, 2 * per_epoch, repeat=True, epoch=3))
    expected = numbers(batches(files, epoch=3))
    expected += numbers(batches(files, epoch=4))
    assert found == expected


@pytest.mark.parametrize("skip", [1, 7, 33])
def test_skipping_goes_on_with_the_very_next_batch(files, skip):
    whole = numbers(batches(files, 40, repeat=True, epoch=2))
    rest = numbers(
        batches(files, 40 - skip, repeat=True, epoch=2, skip_batches=skip)
    )
    assert rest == whole[skip:]


def test_rows_of_different_shards_mix_in_a_batch(files):
    shards = [{n // 37 for n in batch} for batch in numbers(batches(files))]
    assert sum(len(found) > 1 for found in shards) > len(shards) * 0.8


def test_batches_do_not_come_in_the_order_of_length(files):
    widths = [inputs["ids_a"].shape[1] for inputs, _ in batches(files)]
    assert widths != sorted(widths)
    assert np.corrcoef(widths[:30], range(30))[0, 1] < 0.8


def padding_ratio(batches, name):
    ids = [inputs[name] for inputs, _ in batches]
    return sum(i.size for i in ids) / sum((i != 0).sum() for i in ids)


def test_sorting_windows_removes_most_of_the_padding(files, monkeypatch):
    monkeypatch.setattr(module, "_BATCHES_PER_WINDOW", 100)
    plain = padding_ratio(batches(files, shuffle=False), "ids_a")
    assert plain > 1.5
    assert padding_ratio(batches(files), "ids_a") < 1.1


@pytest.mark.parametrize("name", ["ids_a", "ids_b"])
def test_both_texts_of_pairs_are_bucketed(pair_files, name, monkeypatch):
    monkeypatch.setattr(module, "_BATCHES_PER_WINDOW", 100)
    found = batches(pair_files, pair=True, batch_size=2)
    assert padding_ratio(found, name) < 1.15


def test_without_shuffling_rows_come_as_they_lie_on_disk(files):
    assert flat(batches(files, shuffle=False)) == list(range(7 * 37))


def test_the_baseline_sees_original_labelled_rows_only(files):
    found = batches(files, labelled_only=True)
    assert sorted(flat(found)) == list(range(0, 7 * 37, 3))
    assert all((targets["label"] >= 0).all() for _, targets in found)


def test_long_texts_lose_their_tail(files):
    found = batches(files, max_length=4)
    assert max(inputs["ids_a"].shape[1] for inputs, _ in found) == 4


def test_huge_shards_are_read_in_bounded_pieces(files, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 50)
    assert sorted(flat(batches(files))) == list(range(7 * 37))


def test_an_iterator_s_end_waits_for_no_tuner(files):
    shape = dict(batch_size=8, pair=False, num_classes=2, max_length=128)
    for dataset in (
        training_dataset(files, TOKENIZER, seed=1, **shape),
        evaluation_dataset(files[0], TOKENIZER, **shape),
    ):
        assert dataset.options().autotune.enabled is False


def test_a_missing_shard_is_named(files, tmp_path):
    with pytest.raises(UserError, match="train-9.tfrecord: no such file"):
        batches([*files, tmp_path / "train-9.tfrecord"])
    with pytest.raises(UserError, match="no file was given"):
        batches([])


def test_another_number_of_classes_is_an_error(files):
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches(files, num_classes=3)


def evaluate(file, **options):
    dataset = evaluation_dataset(
        file,
        TOKENIZER,
        batch_size=4,
        pair=False,
        num_classes=2,
        max_length=128,
        **options,
    )
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("sort", [True, False])
def test_evaluation_tells_the_place_of_each_row(files, sort):
    found = evaluate(files[0], sort=sort)
    rows = np.concatenate([targets["row"] for _, targets in found])
    assert sorted(rows.tolist()) == list(range(37))
    assert rows.tolist() == flat(found)


def test_evaluation_can_keep_the_order_of_the_file(files):
    assert flat(evaluate(files[0], sort=False)) == list(range(37))


def test_evaluation_sorts_by_length_inside_a_window(files):
    widths = [inputs["ids_a"].shape[1] for inputs, _ in evaluate(files[0])]
    assert widths[:5] == sorted(widths[:5])
    assert widths[5:] == sorted(widths[5:])


# w10 is also w1 + ##0, and w1 is w + ##1: every word splits.
SPLIT_WORDS = [*SPECIALS, *WORDS, "w", *(f"##{i}" for i in range(10))]
SPLITTING = StudentTokenizer(SPLIT_WORDS)


def reading(monkeypatch, piece_rate=0.5, unknown_rate=0.0, always_whole=0):
    monkeypatch.setattr(module, "_ALWAYS_WHOLE", always_whole)
    settings = config_from_dict(
        {"student": {"piece_rate": piece_rate, "unknown_rate": unknown_rate}}
    ).student
    return Reading.of(settings, SPLIT_WORDS)


def read(batches):
    """The words of each row, by the number in its logits."""
    return {
        int(number): [SPLIT_WORDS[i] for i in ids if i]
        for inputs, targets in batches
        for ids, number in zip(
            inputs["ids_a"], targets["teacher_logits"][:, 0], strict=True
        )
    }


def anew(files, how, **options):
    dataset = training_dataset(
        files,
        SPLITTING,
        batch_size=8,
        pair=False,
        num_classes=2,
        max_length=128,
        seed=options.pop("seed", 1),
        repeat=False,
        reading=how,
        **options,
    )
    return list(dataset.as_numpy_iterator())


def test_a_word_in_pieces_still_spells_itself(files, monkeypatch):
    whole = read(anew(files, None))
    parts = read(anew(files, reading(monkeypatch)))
    assert whole.keys() == parts.keys()
    for number, words in parts.items():
        spelled = " ".join(words).replace(" ##", "")
        assert spelled.split() == whole[number]
    split = sum(len(parts[n]) > len(whole[n]) for n in whole)
    assert split > len(whole) / 2


def test_as_many_words_are_split_and_unknown_as_the_rates_say(
    files, monkeypatch
):
    words = sum(length(n) for n in range(7 * 37))
    parts = read(anew(files, reading(monkeypatch, piece_rate=0.2)))
    pieces = sum(w.startswith("##") for r in parts.values() for w in r)
    assert 0.15 * words < pieces < 0.5 * words
    dark = read(anew(files, reading(monkeypatch, 0.0, 0.3)))
    unknown = sum(w == "[UNK]" for r in dark.values() for w in r)
    # By word, and by text: 1 - 0.7 * 0.7.
    assert 0.4 * words < unknown < 0.62 * words
    assert any(set(row) == {"[UNK]"} for row in dark.values() if len(row) > 9)


def test_the_most_frequent_words_are_always_read_whole(files, monkeypatch):
    how = reading(monkeypatch, 1.0, always_whole=len(SPECIALS) + 100)
    for words in read(anew(files, how)).values():
        first = words[0].removeprefix("w")
        if words[0] != "[UNK]" and len(words) == 1:
            assert int(first) < 100


def test_a_resumed_training_reads_as_it_would_have_read(files, monkeypatch):
    how = reading(monkeypatch, 0.3, 0.1)
    whole = anew(files, how)
    rest = anew(files, how, skip_batches=9)
    assert len(rest) == len(whole) - 9
    for one, other in zip(whole[9:], rest, strict=True):
        np.testing.assert_array_equal(one[0]["ids_a"], other[0]["ids_a"])
    other_seed = anew(files, how, seed=2)
    assert read(whole) != read(other_seed)


def test_without_rates_there_is_nothing_to_read_anew(monkeypatch):
    assert reading(monkeypatch, 0.0, 0.0) is None
    settings = config_from_dict({"student": {"piece_rate": 0.5}}).student
    assert Reading.of(settings, [*SPECIALS, *WORDS]) is None


def test_both_texts_of_a_pair_are_read_anew(pair_files, monkeypatch):
    dataset = training_dataset(
        pair_files,
        SPLITTING,
        batch_size=8,
        pair=True,
        num_classes=2,
        max_length=16,
        seed=1,
        repeat=False,
        reading=reading(monkeypatch, 0.5),
    )
    pieces = {name: 0 for name in ("ids_a", "ids_b")}
    for inputs, _ in dataset.as_numpy_iterator():
        for name, ids in inputs.items():
            assert ids.shape[1] <= 16
            pieces[name] += (ids >= len(SPECIALS) + len(WORDS)).sum()
    assert all(count > 100 for count in pieces.values())
