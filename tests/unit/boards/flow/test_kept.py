"""Results are kept by what they were made of; a folder is whole or not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.flow.kept import digest, kept_result, making, put_files, write_result
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


def test_files_that_are_the_same_stay_with_what_was_made_of_them(tmp_path):
    files, project = {"top.v": "module", "top.tcl": "synth"}, tmp_path / "vivado"
    put_files(project, files)
    assert {path.name: path.read_text() for path in project.iterdir()} == files
    (project / "top.bit").write_text("of hours")
    times = {name: (project / name).stat().st_mtime_ns for name in files}
    put_files(project, dict(files))
    assert (project / "top.bit").read_text() == "of hours"
    assert {name: (project / name).stat().st_mtime_ns for name in files} == times      # make has nothing to do


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_text("another"), lambda path: path.write_text("synth\n"), lambda path: path.unlink()])
def test_files_that_were_changed_are_made_anew_without_what_was_made_of_them(tmp_path, spoil):
    files, project = {"top.v": "module", "top.tcl": "synth"}, tmp_path / "vivado"
    put_files(project, files)
    (project / "top.bit").write_text("of something else")
    spoil(project / "top.tcl")
    put_files(project, files)
    assert {path.name: path.read_text() for path in project.iterdir()} == files


def test_other_files_take_the_place_of_a_folder(tmp_path):
    put_files(tmp_path / "vivado", {"top.v": "one", "top.tcl": "two"})
    for other in {"top.v": "one", "top.tcl": "three"}, {"top.v": "onetwo", "top.tcl": ""}:
        (tmp_path / "vivado" / "top.bit").write_text("of something else")
        put_files(tmp_path / "vivado", other)
        assert {path.name: path.read_text() for path in (tmp_path / "vivado").iterdir()} == other
    assert [path.name for path in tmp_path.iterdir()] == ["vivado"]
