"""Examples, for the tests of what reads, writes and splits them."""

from hypothesis import strategies as st

from keras_distill.data.examples import Example

_texts = st.text(st.characters(exclude_categories=["Cs"]))
examples = st.builds(
    Example,
    _texts,
    st.none() | _texts,
    st.none() | st.integers(0, 4),
    _texts,
    st.sampled_from(["", "g1", "g2", "g3"]),
)


def rows(n, classes=2):
    return [Example(f"t{i}", None, i % classes, str(i)) for i in range(n)]
