"""Results are kept by what they were made of; a folder is whole or not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.flow.kept import digest, kept_result, making, write_result
from polyrouter.boards.flow.tools import FlowError


@given(st.lists(st.text()), st.lists(st.text()))
def test_another_origin_has_another_digest(one, other):
    assert (digest(*one) == digest(*other)) == (one == other)


def test_a_result_is_that_of_its_key(tmp_path):
    assert kept_result(tmp_path / "nothing", "a") is None
    write_result(tmp_path, "a", {"seconds": 3})
    assert kept_result(tmp_path, "a") == {"key": "a", "seconds": 3}
    assert kept_result(tmp_path, "b") is None
    (tmp_path / "result.json").write_text("{")
    assert kept_result(tmp_path, "a") is None


def test_a_finished_folder_takes_the_place_of_the_one_before(tmp_path):
    for text in "one", "two":
        with making(tmp_path / "seed-1") as made:
            (made / text).write_text(text)
            assert made.parent == tmp_path      # so that it can be renamed
        assert [path.name for path in (tmp_path / "seed-1").iterdir()] == [text]
        assert [path.name for path in tmp_path.iterdir()] == ["seed-1"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, FlowError])
@pytest.mark.parametrize("before", [False, True])
def test_nothing_is_left_of_a_half_one(tmp_path, error, before):
    if before:
        with making(tmp_path / "seed-1") as made:
            (made / "whole").write_text("")
    with pytest.raises(error), making(tmp_path / "seed-1") as made:
        (made / "half").write_text("")
        raise error
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == (
        ["seed-1/whole"] if before else [])
    assert len(list(tmp_path.iterdir())) == before
