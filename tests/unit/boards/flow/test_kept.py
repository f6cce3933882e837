"""Results are kept by what they were made of; a folder is whole or not there."""

from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.flow.kept import digest, kept_result, put_in_place, write_result


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
    place = tmp_path / "seed-1"
    for text in "one", "two":
        made = tmp_path / ".seed-1"
        made.mkdir()
        (made / text).write_text(text)
        put_in_place(made, place)
        assert [path.name for path in place.iterdir()] == [text]
        assert [path.name for path in tmp_path.iterdir()] == ["seed-1"]
