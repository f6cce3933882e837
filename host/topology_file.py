"""Reads a topology file; everything that is wrong with it is reported at once, with lines, in plain words."""

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from .link_demand import settle_circuits
from .link_objects import Objects, overlay
from .runtime.limits import format_size
from .tables.rates import LEAST_RATE, LINE_RATE, format_rate
from .topology import TopologyFile
from .topology_check import Checker
from .topology_document import Document, Location, Problem, TopologyError, path_of, show
from .topology_types import (
    ENDPOINT_PATTERN,
    IMAGE_PATTERN,
    INTERFACE_PATTERN,
    LINK_END_PATTERN,
    MAC_PATTERN,
    NAME_PATTERN,
    NETWORK_NAME_PATTERN,
    PORT_PATTERN,
    VNIC_NAME_PATTERN,
)

__all__ = ["document_of", "load", "parse", "read"]

_PATTERNS = {
    NAME_PATTERN: "a name of at most 31 lower-case letters, digits and hyphens, a letter first, no hyphen last",
    NETWORK_NAME_PATTERN: "a name of at most 21 lower-case letters, digits and hyphens, a letter first, no hyphen last",
    INTERFACE_PATTERN: "eth0 to eth7, or a VNIC's name of at most 15 lower-case letters, digits and hyphens",
    PORT_PATTERN: "a physical port, p0 to p7",
    VNIC_NAME_PATTERN: "the name of a VNIC, or ROUTER.INTERFACE of one that is written in a virtual router",
    LINK_END_PATTERN: "the name of a VNIC, or ROUTER:INTERFACE of one that is written in a virtual router",
    ENDPOINT_PATTERN: "NODE:pK, as in left:p0",
    MAC_PATTERN: "a MAC address, as in 02:00:00:00:00:01",
    IMAGE_PATTERN: "a name of at most 64 letters, digits, hyphens and underscores",
}


#: Keys whose values are rates.
_RATE_KEYS = ("in", "out", "rate", "punt-rate", "police", "max-bw", "min-bw")


def _models(annotation: Any) -> Iterator[Any]:
    """The annotation and what it consists of, without Annotated and unions."""
    if get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _models(part)
    else:
        yield annotation


def _keys_at(location: Location) -> list[str]:
    """Keys that the mapping at a location may have."""
    kinds: list[Any] = [TopologyFile]
    for step in location:
        following: list[Any] = []
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                field = {field.alias or name: field for name, field in kind.model_fields.items()}.get(str(step))
                if field is not None:
                    following += _models(field.annotation)
            elif get_origin(kind) in (dict, list):
                following += _models(get_args(kind)[-1])
        kinds = following
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _translate(document: Document, error: Any) -> Problem:
    """A problem as pydantic reports it, in this module's words."""
    location: Location = tuple(step for step in error["loc"] if step != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    # Steps that pydantic adds for the arms of a union are not in the file.
    real: list[str | int] = []
    node = document.data
    for step in location:
        inside = (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int)
                                                               and step < len(node))
        if not inside:
            break
        real.append(step)
        node = node[step]
    where = tuple(real)
    found = show(error["input"])
    if kind == "missing":
        return Problem(document.line(where), path_of(where), f"no key '{location[-1]}'", "it to be there")
    if kind == "extra_forbidden":
        keys = ", ".join(_keys_at(location[:-1]))
        return Problem(document.line(where), path_of(where), f"an unknown key '{location[-1]}'", f"one of {keys}")
    if kind == "string_pattern_mismatch":
        expected = _PATTERNS[context["pattern"]]
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        expected = "a mapping"
    elif kind == "list_type":
        expected = "a list"
    elif kind == "value_error":
        expected = str(context["error"]).rpartition("expected ")[2]
    elif kind == "too_short":
        expected = f"at least {context['min_length']} entry"
    elif kind in ("greater_than_equal", "less_than_equal") and where[-1:] and where[-1] in _RATE_KEYS:
        expected = f"{format_rate(LEAST_RATE)} to {format_rate(LINE_RATE)} bit/s"
    elif kind.startswith("ip_v4_network"):
        expected = "an IPv4 prefix without host bits, as in 192.0.2.0/24"
    elif kind.startswith("ip_v6_network"):
        expected = "an IPv6 prefix without host bits, as in 2001:db8::/32"
    elif kind.startswith("ip_v4_address"):
        expected = "an IPv4 address"
    elif kind.startswith("ip_v6_address"):
        expected = "an IPv6 address"
    elif kind == "too_long":
        expected = f"at most {context['max_length']} entries"
    elif kind == "greater_than_equal" and where[-1:] == ("memory",):
        expected = f"at least {format_size(context['ge'])}"
    elif kind in ("int_type", "int_parsing", "int_from_float"):
        expected = "a whole number"
    else:
        expected = error["msg"].removeprefix("Input should be ").replace("a valid", "a")
    if not expected:
        expected = "something else"
    return Problem(document.line(where), path_of(where), found, expected)


def _not_yaml(error: YAMLError, text: str) -> Problem:
    """A problem as the YAML parser reports it."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        return Problem(line, "", f"the character U+{int(error.character):04X}", "text")
    if not isinstance(error, MarkedYAMLError):
        return Problem(1, "", " ".join(str(error).split()), "YAML")
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    what = " ".join((error.problem or "something else").split())
    if isinstance(error, DuplicateKeyError):
        key = re.match(r'found duplicate key "(.*?)"', what)
        return Problem(line, "", f"the key {key[1]!r} twice" if key else what, "each key of a mapping once")
    both = re.fullmatch(r"(?:expected (.*?),? )?but (?:got|found) (.*)", what)
    if both:
        return Problem(line, "", both[2], both[1] or "YAML")
    return Problem(line, "", what.removeprefix("found "), "YAML")


def _merged(problems: list[Problem]) -> list[Problem]:
    """Problems with the same value, one for each kind of thing it could have been, as one."""
    expected: dict[tuple[int, str, str], list[str]] = {}
    for problem in problems:
        said = expected.setdefault((problem.line, problem.where, problem.found), [])
        if problem.expected not in said:
            said.append(problem.expected)
    return [Problem(*key, " or ".join(said)) for key, said in expected.items()]


def _by_command(problem: Problem, objects: Objects) -> Problem:
    """A problem of an object that is not in the file is said to be one."""
    for section, entries in objects.items():
        for name in entries:
            place = f"topology.{section}.{name}"
            if problem.where == place or problem.where.startswith((f"{place}.", f"{place}[")):
                return replace(problem, where=f"{problem.where} (made by command)")
    return problem


def document_of(text: str, file: str = "<text>") -> Document:
    """Read the YAML of a topology.

    Raises
    ------
    TopologyError
        If it is none.
    """
    try:
        document = Document(text)
    except YAMLError as error:
        raise TopologyError(file, [_not_yaml(error, text)]) from None
    except RecursionError:
        raise TopologyError(file, [Problem(1, "", "brackets in brackets without end", "YAML")]) from None
    if not isinstance(document.data, dict):
        raise TopologyError(file, [Problem(1, "", show(document.data), "a mapping with the keys name and topology")])
    return document


def parse(text: str, file: str = "<text>", *, objects: Objects | None = None, running: Mapping[str, int] | None = None,
          keep_boards: bool = False) -> TopologyFile:
    """Read a topology.

    Parameters
    ----------
    text, file : str
        The file's contents, and its name for messages.
    objects : Objects, optional
        Link objects that commands have made.
    running : mapping of str to int, optional
        Circuits that the nodes' boards have: a node is not to have fewer if the file does not say.
    keep_boards : bool
        It is not to have more either: boards that run are not to be replaced.

    Raises
    ------
    TopologyError
        If anything is wrong with it.
    """
    document = document_of(text, file)
    objects = objects or {}
    document.data = overlay(document.data, objects)
    try:
        model = TopologyFile.model_validate(document.data)
    except ValidationError as error:
        problems = [_translate(document, entry) for entry in error.errors(include_url=False)]
        raise TopologyError(file, [_by_command(problem, objects) for problem in _merged(problems)]) from None
    settle_circuits(model.topology, running or {}, keep_boards=keep_boards)
    problems = Checker(document, model.topology).check()
    if problems:
        raise TopologyError(file, [_by_command(problem, objects) for problem in dict.fromkeys(problems)])
    return model


def read(path: Path) -> str:
    """Text of a topology file.

    Raises
    ------
    TopologyError
        If it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise TopologyError(str(path), [Problem(1, "", str(reason), "a readable topology file")]) from None


def load(path: Path, *, objects: Objects | None = None, running: Mapping[str, int] | None = None) -> TopologyFile:
    """Read a topology file; see :func:`parse`.

    Raises
    ------
    TopologyError
        If it can't be read, or anything is wrong with it.
    """
    return parse(read(path), str(path), objects=objects, running=running)
