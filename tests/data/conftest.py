import pytest

from keras_distill.data.records import read_records
from keras_distill.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Write a file and return its dialect and its numbered records."""

    def run(content, name="my.csv", columns=("text", "label"), **options):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode("utf-8")
        path.write_bytes(content)
        dialect, records = read_records(path, columns, **options)
        return dialect, list(records)

    return run


@pytest.fixture
def cells(read):
    """Write a file and return the cells of its records."""

    def run(*arguments, **options):
        _, records = read(*arguments, **options)
        return [tuple(fields.values()) for _, fields in records]

    return run


@pytest.fixture
def refused(read):
    """Write a file and return why it is not read, in one line."""

    def run(*arguments, **options):
        with pytest.raises(UserError) as caught:
            read(*arguments, **options)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return run
