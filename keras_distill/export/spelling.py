"""Normalises text inside a graph, so that a SavedModel needs no Python.

`data.normalize` rewrites text before training. A SavedModel gets text as
people send it and has to give it the same ids. BERT's splitter cuts at every
punctuation mark whatever spaces are around it, so only the rewrites that
change words or punctuation marks are repeated here.
"""

import tensorflow as tf

# As `data.normalize`: control characters that are no space are dropped.
_INVISIBLE = (
    r"[\x{0}-\x{8}\x{e}-\x{1b}\x{7f}-\x{84}\x{86}-\x{9f}"
    r"\x{ad}\x{200b}\x{feff}]"
)
_CURLY_QUOTES = ((r"[\x{2018}\x{2019}]", "'"), (r"[\x{201c}\x{201d}]", '"'))
# What Python's str.split takes for a space.
_SPACES = (
    r"[\t-\r\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"
)

# Stand in for a minus sign and a space while a rule must not see them. No
# text holds them: they are among the invisible ones.
_MINUS, _SPACE = "\x01", "\x02"

# RE2 has neither \b beyond ASCII nor look-around: a rule takes what stands
# beside its words along and puts it back.
_START, _END = r"(^|[^\pL\pN_])", r"([^\pL\pN_]|$)"
_BRACKETS = {
    "lrb": "(",
    "rrb": ")",
    "lsb": "[",
    "rsb": "]",
    "lcb": "{",
    "rcb": "}",
}
# "can not only" is another construction. Twice, as one match takes along the
# space that the next one begins with.
_NOT_ONLY = (
    rf"(?i){_START}(can) (not (?:only|just|merely|simply)){_END}",
    rf"\1\2{_SPACE}\3\4",
)
_RULES = (
    # All brackets at once, as one may share its minus sign with another.
    # Not (?i), to which a long s is an s.
    (r"-([LRlr][RSCrsc][Bb])-", rf"{_MINUS}\1{_MINUS}"),
    *(
        (_MINUS + "".join(f"[{c}{c.upper()}]" for c in name) + _MINUS, mark)
        for name, mark in _BRACKETS.items()
    ),
    (r"\\([/*])", r"\1"),
    # An opening quote loses the space behind it, which the next rules see.
    (r"(^| )`` ([^ ])", r'\1"\2'),
    ("``|''", '"'),
    (r"(^| )` ([^ ])", r"\1'\2"),
    ("`", "'"),
    # Two single quotes that closed the gap between them are a double one.
    (r"' '([ ,.!?;:)\]}]|$)", r"''\1"),
    (rf"(?i)([a-z]) (n't){_END}", r"\1\2\3"),
    _NOT_ONLY,
    _NOT_ONLY,
    (rf"(?i){_START}(can) (not){_END}", r"\1\2\3\4"),
    (_SPACE, " "),
    (rf"(?i){_START}(gon|wan) (na){_END}", r"\1\2\3\4"),
    (rf"(?i){_START}(got) (ta){_END}", r"\1\2\3\4"),
    (rf"(?i){_START}(lem|gim) (me){_END}", r"\1\2\3\4"),
)
# Words of printable ASCII and a space between each: what comes before the rules
# leaves such a text as it is. Text that is not UTF-8 is not one.
_PLAIN = r"(?:[!-~]+(?: [!-~]+)*)?"
# Without any of these no rule has something to do; most typed text has none.
_TRIGGER = (
    r"(?i).*(?:-[lr][rsc]b-|\\[/*]|`|''|' '| n't|can not|gon na|wan na"
    r"|got ta|lem me|gim me).*"
)
# One rule can make room for another. Each application shortens a text or
# rids it of a "`"; text that anybody writes is done after two.
_MAX_ROUNDS = 10


def normalize_for_ids(texts: tf.Tensor) -> tf.Tensor:
    """Normalise as far as word ids depend on it.

    `StudentTokenizer` gives it the ids that it gives
    `data.normalize.normalize(text)`.
    """
    matches = tf.strings.regex_full_match
    # Most of the time that a text took went to rules that found nothing.
    asked = ~matches(texts, _PLAIN) | matches(texts, _TRIGGER)
    places = tf.where(asked)
    return tf.cond(
        tf.reduce_any(asked),
        lambda: tf.tensor_scatter_nd_update(
            texts, places, _normalized(tf.gather_nd(texts, places))
        ),
        lambda: texts,
    )


def _normalized(texts: tf.Tensor) -> tf.Tensor:
    texts = tf.strings.regex_replace(texts, _INVISIBLE, "")
    for pattern, quote in _CURLY_QUOTES:
        texts = tf.strings.regex_replace(texts, pattern, quote)
    texts = tf.strings.regex_replace(texts, _SPACES, " ")
    texts = tf.strings.strip(texts)
    texts, _ = tf.while_loop(
        lambda texts, before: tf.reduce_any(texts != before),
        lambda texts, before: (_rewrite(texts), texts),
        (_rewrite(texts), texts),
        maximum_iterations=_MAX_ROUNDS,
    )
    return texts


def _rewrite(texts: tf.Tensor) -> tf.Tensor:
    for pattern, rewrite in _RULES:
        texts = tf.strings.regex_replace(texts, pattern, rewrite)
    return texts
