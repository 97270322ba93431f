"""Normalisation: one spelling for text as people type it and as GLUE has it.

SST-2 is Penn-Treebank tokenized ("do n't", "it 's", "-lrb-"). Users type
"don't", and phones make a curly quote of that. Without this step they become
different words for a student.
"""

import re

# Invisible characters that BERT's tokenizer drops too.
_INVISIBLE = {
    code: None
    for code in (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0xFEFF)
    if not chr(code).isspace()
}
# Phones and word processors write these by themselves.
_CURLY_QUOTES = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
_CHARACTERS = str.maketrans(_INVISIBLE | _CURLY_QUOTES)

# Text without any of these is left as it is; most typed text is.
_TRIGGER = re.compile(
    r"[`\\]|''| n't| [%,.!?;:'\")\]}]|[$(\[{\"] |^['\"] |-[lr][rsc]b-"
    r"|can not|gon na|wan na|got ta|lem me|gim me",
    re.IGNORECASE,
)
_BRACKETS = {
    "-lrb-": "(",
    "-rrb-": ")",
    "-lsb-": "[",
    "-rsb-": "]",
    "-lcb-": "{",
    "-rcb-": "}",
}
# ASCII: a long s is an "s" to IGNORECASE, but not in the table above.
_BRACKET = re.compile("|".join(_BRACKETS), re.IGNORECASE | re.ASCII)
_ESCAPED = re.compile(r"\\([/*])")
# Penn-Treebank quotes know their side; plain ones are told by counting.
_DOUBLE_QUOTE = re.compile(
    r"(?<!\S)`` (?=\S)|(?<=\S) ''(?=[\s,.!?;:)\]}]|$)|``|''"
)
_OPENING_QUOTE = re.compile(r"(?<!\S)` (?=\S)|`")

# Each only takes spaces away, so that repeating them comes to an end.
_SPACES = (
    (re.compile(r"(?<!\S)([(\[{]) "), r"\1"),
    (re.compile(r" ([)\]}]+)(?=[\s,.!?;:'\")\]}]|$)"), r"\1"),
    # Not " :)": that is a face.
    (
        re.compile(r" ([,.!?;:]+(?=[\s'\"]|$)|[,.!?]+(?=[)\]}]))"),
        r"\1",
    ),
    (re.compile(r"(?<=[A-Za-z]) (n't)\b", re.IGNORECASE), r"\1"),
    (
        re.compile(r"(?<=\w) '(?=(?:s|m|re|ve|ll|d)\b)", re.IGNORECASE),
        "'",
    ),
    (re.compile(r"^' (?=\w)"), "'"),
    # A quotation's end or a plural's possessive: "the girls ' room".
    (re.compile(r"(?<=\S) '(?=[\s,.!?;:)\]}]|$)"), "'"),
    (re.compile(r"(?<=\d) %(?!\S)"), "%"),
    (re.compile(r"\$ (?=\d)"), "$"),
    # "can not only" is another construction, never written "cannot".
    (
        re.compile(
            r"\b(can) (not)\b(?! (?:only|just|merely|simply)\b)",
            re.IGNORECASE,
        ),
        r"\1\2",
    ),
    (re.compile(r"\b(gon|wan) (na)\b", re.IGNORECASE), r"\1\2"),
    (re.compile(r"\b(got) (ta)\b", re.IGNORECASE), r"\1\2"),
    (re.compile(r"\b(lem|gim) (me)\b", re.IGNORECASE), r"\1\2"),
)


def normalize(text: str) -> str:
    r"""Return the text on one line, spelled as people type it.

    Whitespace runs become one space, invisible control characters go, curly
    quotes become straight ones, and Penn-Treebank spelling is undone:
    contractions, brackets, quotes and the spaces around punctuation. Letters,
    case and `[MASK]` stay as they are.

    Args:
        text: Any text.

    Returns:
        The normalised text; normalising it again changes nothing.

    Example:
        >>> normalize("`` it 's bad , '' she said -lrb- twice -rrb- .")
        '"it\'s bad," she said (twice).'
    """
    text = " ".join(text.translate(_CHARACTERS).split())
    # One rule can make room for another ("` `" is "``"): repeat until
    # nothing changes. Every rewrite shortens the text or replaces a "`".
    while _TRIGGER.search(text):
        rewritten = _rewrite(text)
        if rewritten == text:
            break
        text = rewritten
    return text


def _rewrite(text: str) -> str:
    text = _BRACKET.sub(lambda match: _BRACKETS[match[0].lower()], text)
    text = _ESCAPED.sub(r"\1", text)
    text = _DOUBLE_QUOTE.sub('"', text)
    text = _OPENING_QUOTE.sub("'", text)
    for pattern, replacement in _SPACES:
        text = pattern.sub(replacement, text)
    if '" ' in text or ' "' in text:
        text = _attach_quotes(text)
    return " ".join(text.split())


def _attach_quotes(text: str) -> str:
    """Join quote marks that stand alone to what they open or close."""
    pieces = text.split('"')
    opening = True
    for i in range(len(pieces) - 1):
        before, after = pieces[i], pieces[i + 1]
        alone = (not before or before.endswith(" ")) and (
            not after or after.startswith(" ")
        )
        if alone and opening and after:
            pieces[i + 1] = after.removeprefix(" ")
        elif alone:
            pieces[i] = before.removesuffix(" ")
        opening = not opening
    return '"'.join(pieces)
