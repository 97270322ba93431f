import tiny_students

from keras_distill.search.trial import measure_cost
from keras_distill.transfer_set.record import Rows


def test_the_cost_is_that_of_the_int8_file(tmp_path):
    small, large = (
        measure_cost(
            tiny_students.make_student(tmp_path / f"{pair}", pair=pair),
            Rows([["a good film", "bad"]] * (1 + pair), None, None),
        )
        for pair in (False, True)
    )
    assert 0 < small["latency_ms"] < 100
    assert small["parameters_without_embeddings"] < small["parameters"]
    # The metadata and the words are in the file too.
    assert 2000 < small["int8_bytes"] < large["int8_bytes"] < 100_000
