from keras_distill.data.examples import Example
from keras_distill.data.splits import group_phrases, hold_out

SENTENCE = "a slow film that finds its heart in the final hour"


def groups(*texts):
    return [e.group for e in group_phrases([Example(t) for t in texts])]


def test_phrases_that_share_five_words_are_of_one_group():
    one, other, third = groups(
        SENTENCE, "finds its heart in the end", "its heart in a shed"
    )
    assert one == other != third


def test_rows_are_linked_through_others():
    first, link, last = groups("a b c d e", "a b c d e f g h i", "e f g h i")
    assert first == link == last


def test_a_short_phrase_joins_the_only_sentence_that_holds_it():
    sentence, phrase = groups(SENTENCE, "its heart")
    assert phrase == sentence


def test_a_short_phrase_of_several_sentences_stands_alone():
    one, other, phrase = groups(
        SENTENCE, "the final word on a very long war", "the final"
    )
    assert len({one, other, phrase}) == 3


def test_equal_short_phrases_are_held_out_together():
    rows = [Example(t) for t in ("so good", "dull", "So good", "fine")]
    _, held = hold_out(group_phrases(rows), 0.5, 2, 5)
    assert sum(e.text_a.lower() == "so good" for e in held) in (0, 2)


def test_order_labels_and_ids_stay():
    rows = [Example("b", None, 1, "x"), Example("a", None, 0, "y")]
    assert [(e.label, e.id) for e in group_phrases(rows)] == [
        (1, "x"),
        (0, "y"),
    ]


def test_held_out_phrases_share_no_run_of_words_with_the_rest():
    words = [[f"w{i}x{j}" for j in range(12)] for i in range(40)]
    rows = [
        Example(" ".join(text[a : a + 6]), None, a % 2)
        for text in words
        for a in range(0, 6)
    ]
    rest, held = hold_out(group_phrases(rows), 0.2, 100, 0)
    seen = {word for e in rest for word in e.text_a.split()}
    assert len(held) == 48
    assert not any(word in seen for e in held for word in e.text_a.split())
