import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_distill.data.normalize import normalize

TREEBANK = [
    *["``", "''", "`", "'", '"', "-lrb-", "-RRB-", "-lsb-", "(", ")", "["],
    *["]", "n't", "'s", "'re", "'ll", "do", "ca", "it", "can", "not", "only"],
    *["gon", "na", "lem", "me", ",", ".", "...", "!", ":", "$", "20", "%"],
    *["[MASK]", "\\/", "and\\/or", ":)", "--", "é", "\u200b", "\x00", "x"],
    *["\u2018", "\u2019", "\u201c", "\u201d", "n\u2019t"],
]
pieces = st.lists(
    st.tuples(st.sampled_from(TREEBANK), st.sampled_from([" ", "", "\t "]))
)


@pytest.mark.parametrize(
    ("treebank", "typed"),
    [
        ("i do n't , ca n't , wo n't .", "i don't, can't, won't."),
        ("it 's we 're they 've i 'd", "it's we're they've i'd"),
        ("IT 'S , DO N'T", "IT'S, DON'T"),
        ("`` fear dot com ''", '"fear dot com"'),
        ('a " real " deal', 'a "real" deal'),
        ("he said : `` no . ''", 'he said: "no."'),
        ("superior ''", 'superior"'),
        ("his ` blundering ' style", "his 'blundering' style"),
        ("the girls ' room", "the girls' room"),
        ("a film -lrb- 2002 -RRB- .", "a film (2002)."),
        ("-lsb- sic -rsb- and -lcb- x -rcb-", "[sic] and {x}"),
        ("a . . . b ...", "a... b..."),
        ("funny\\/gritty f\\*\\*k", "funny/gritty f**k"),
        ("gon na wan na got ta lem me gim me", "gonna wanna gotta lemme gimme"),
        ("i can not go", "i cannot go"),
        ("$ 20 and 5 %", "$20 and 5%"),
        ("it\u2019s \u201cgood\u201d, \u2018so\u2019", "it's \"good\", 'so'"),
        ("ca n\u2019t \u2019\u2019", "can't\""),
    ],
)
def test_treebank_spelling_becomes_typed_spelling(treebank, typed):
    assert normalize(treebank) == typed


@pytest.mark.parametrize(
    "text",
    [
        "Don't. It's (really) \"good\", isn't it?",
        "costs .5 of it",
        "a face :) and :-( another ;)",
        "you can not only see but hear it",
        "back in the '60s and '70s",
        "a [MASK] of [MASK]",
        "naïve café 中文 👍🏽 عربى",
        "[math]\\frac{1}{2}[/math]",
    ],
)
def test_typed_text_stays_as_it_is(text):
    assert normalize(text) == text


def test_all_whitespace_becomes_single_spaces_on_one_line():
    assert normalize(" a\tb\r\nc\u00a0\u2028d\x85 ") == "a b c d"


def test_invisible_characters_go_without_leaving_a_space():
    assert normalize("\ufeffin\u00advis\u200bib\x00le\x9f") == "invisible"


def test_text_of_nothing_but_space_becomes_empty():
    assert normalize(" \n\t") == ""


@pytest.mark.parametrize(
    "text", ["do [MASK] , no", "[MASK] n't", "( [MASK] )", "`` [MASK] ''"]
)
def test_the_mask_stays_whole(text):
    assert "[MASK]" in normalize(text)


@settings(deadline=None)
@given(pieces)
def test_normalising_twice_changes_nothing_more(parts):
    once = normalize("".join(word + glue for word, glue in parts))
    assert normalize(once) == once


@settings(deadline=None)
@given(st.text())
def test_normalising_any_text_twice_changes_nothing_more(text):
    once = normalize(text)
    assert normalize(once) == once


@settings(deadline=None)
@given(pieces)
def test_no_letter_is_lost_but_those_of_bracket_names(parts):
    text = "".join(word + " " for word, _ in parts if "b-" not in word.lower())
    kept = [c for c in normalize(text) if c.isalnum()]
    assert kept == [c for c in text if c.isalnum()]


def test_a_long_s_makes_no_bracket():
    assert normalize("-l\u017fb- x") == "-l\u017fb- x"
