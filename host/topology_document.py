"""A YAML file as plain data that knows its lines, and what is wrong with it."""

from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar

__all__ = ["Document", "Location", "Problem", "TopologyError", "path_of", "show"]

#: Keys and indexes that lead from the top of a file to a value.
Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a topology file."""

    line: int
    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}found {self.found}; expected {self.expected}"


class TopologyError(Exception):
    """A topology file that can't be used; ``problems`` has everything that is wrong with it."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{file}:{problem.line}: {problem}" for problem in self.problems))


class Document:
    """A YAML file as plain data, with the line of each value."""

    def __init__(self, text: str) -> None:
        self._tree = YAML(typ="rt").load(text)
        self.data = self._plain(self._tree)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, CommentedMap):
            return {key: self._plain(item) for key, item in value.items()}
        if isinstance(value, CommentedSeq):
            return [self._plain(item) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, TaggedScalar):
            return value.value
        for kind in (str, int, float):      # ruamel's scalars remember how they were written
            if isinstance(value, kind):
                return kind(value)
        return value

    def line(self, location: Location) -> int:
        """Line of a value, or of the nearest enclosing one that the file has."""
        node, line = self._tree, 1
        for step in location:
            if isinstance(node, CommentedMap) and step in node:
                position = (node.lc.data or {}).get(step)       # none if it was merged in
                node = node[step]
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                position = (node.lc.data or {}).get(step)
                node = node[step]
            else:
                break
            line = position[0] + 1 if position else line
        return line


def show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(value) if isinstance(value, str | int | float) else f"'{value}'"


def path_of(location: Location) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
