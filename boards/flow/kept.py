"""Results of long steps, kept in files for as long as what they were made of stays the same."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

__all__ = ["digest", "kept_result", "put_in_place", "write_result"]

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


def put_in_place(made: Path, folder: Path) -> None:
    """Give a finished folder its name; one that had it is gone before. There is never a half one of that name."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(made, folder)
    shutil.rmtree(old, ignore_errors=True)
