"""A board's key is made once, whole, and for its owner."""

import stat
from concurrent.futures import ThreadPoolExecutor

from polyrouter.host.board.keyfile import make_key, read_key


def test_the_first_of_many_makes_it(tmp_path):
    path = tmp_path / "new" / "key"

    def make(_):
        made = make_key(path)
        return made, read_key(path)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(make, range(64)))
    assert [made for made, _ in results].count(True) == 1
    assert len({key for _, key in results}) == 1
    assert [file.name for file in path.parent.iterdir()] == ["key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_one_that_is_there_stays(tmp_path):
    path = tmp_path / "key"
    path.write_text("ab" * 16)
    assert not make_key(path)
    assert path.read_text() == "ab" * 16
