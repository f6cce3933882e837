import pytest
from polyrouter.host.runtime.limits import Limits, format_size, parse_size
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("text", "size"),
    [("67108864", 2**26), ("64M", 2**26), ("64MiB", 2**26), ("64mb", 2**26), (" 1.5g ", 3 * 2**29), ("8192K", 2**23)],
)
def test_sizes(text, size):
    assert parse_size(text) == size
    assert Limits(memory_bytes=text).memory_bytes == size


@pytest.mark.parametrize("text", ["", "M", "64 apples", "-64M", "64P", "1e9"])
def test_not_a_size(text):
    with pytest.raises(ValidationError, match="is not a size; expected a number with an optional unit"):
        Limits(memory_bytes=text)


@pytest.mark.parametrize(("text", "cpus"), [("0.5", 0.5), ("500m", 0.5), (2, 2.0), ("10m", 0.01)])
def test_cpus(text, cpus):
    assert Limits(cpus=text).cpus == cpus


@pytest.mark.parametrize("text", ["half", "", "m", "0", "-1", "inf", "nan", "9m"])
def test_not_cpus(text):
    with pytest.raises(ValidationError):
        Limits(cpus=text)


def test_too_small_and_unknown():
    for wrong in ({"memory_bytes": "1M"}, {"pids": 0}, {"disk": "1G"}):
        with pytest.raises(ValidationError):
            Limits(**wrong)


@pytest.mark.parametrize(("size", "text"), [(2**26, "64M"), (3 * 2**29, "1536M"), (2**40, "1T"), (1000, "1000")])
def test_format_reads_back(size, text):
    assert format_size(size) == text
    assert parse_size(text) == size


def test_kinds():
    limits = Limits(memory_bytes="64M", pids=10)
    assert limits.kinds == {"memory", "pids"}
    assert limits.only(frozenset({"pids", "cpu"})) == Limits(pids=10)
