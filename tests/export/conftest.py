"""Two exported students for all tests of a session."""

import pytest
from exported_students import answer_here, convert_here, export_run


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """By kind: a student, the folder of its exports, what was said."""
    single = export_run(tmp_path_factory.mktemp("single"), pair=False)
    # One child is enough to see that it works.
    with pytest.MonkeyPatch.context() as patch:
        convert_here(patch)
        answer_here(patch)
        pair = export_run(tmp_path_factory.mktemp("pair"), pair=True)
    return {False: single, True: pair}


@pytest.fixture(params=[False, True], ids=["single", "pair"])
def made(request, exports):
    """Each of the two."""
    return exports[request.param]
