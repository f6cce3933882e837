"""Results of long steps, kept in files for as long as what they were made of stays the same."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["digest", "kept_result", "making", "put_files", "write_result"]

_RESULT = "result.json"


def digest(*parts: str | bytes) -> str:
    """A name for what a result is made of."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def kept_result(folder: Path, key: str) -> dict[str, Any] | None:
    """The result in a folder, if it is of this key."""
    try:
        found = json.loads((folder / _RESULT).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found if found.get("key") == key else None


def write_result(folder: Path, key: str, result: dict[str, Any]) -> None:
    """Write the result of a step, into the folder that it has made."""
    (folder / _RESULT).write_text(json.dumps({"key": key, **result}, indent=1))


def put_files(folder: Path, files: Mapping[str, str]) -> None:
    """Make a folder with these files, in which others make something of them.

    If it has them already it stays as it is, with all that was made. Else what was made was made of something else: it
    is gone, and the folder is a new one.
    """
    if not _has(folder, files):
        with making(folder) as made:
            for name, text in files.items():
                (made / name).write_text(text)


def _has(folder: Path, files: Mapping[str, str]) -> bool:
    try:
        return all((folder / name).read_bytes() == text.encode() for name, text in files.items())
    except FileNotFoundError:
        return False


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A new folder to make something in, under another name.

    It gets its name at the end, and one that had it is gone before. If the block fails or is interrupted, nothing of it
    is left, and the old one stays.
    """
    made = folder.with_name(f".{folder.name}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _put_in_place(made, folder)


def _put_in_place(made: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(made, folder)
    shutil.rmtree(old, ignore_errors=True)
