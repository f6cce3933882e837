"""Components with a fault in them, to see that a proof finds it."""

import inspect
import textwrap

__all__ = ["with_fault"]


def with_fault(kind: type, method: str, *changes: tuple[str, str]) -> type:
    """A class like ``kind``, but for some lines of one of its methods.

    Parameters
    ----------
    kind : type
    method : str
    *changes : tuple of str
        A line, or a part of one, that is there just once, and what becomes of it.
    """
    function = getattr(kind, method)
    source = textwrap.dedent(inspect.getsource(function))
    for line, becomes in changes:
        assert source.count(line) == 1, line
        source = source.replace(line, becomes)
    names = dict(function.__globals__)
    exec(source, names)
    return type(f"Faulty{kind.__name__}", (kind,), {method: names[method]})
