"""Finished work kept in a folder, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hashlens.indexer.errors import InputError


@dataclass(frozen=True, slots=True)
class Parts:
    """JSON values by a name and by all that decides them; one file each in `folder`."""

    folder: Path

    def get(
        self, name: str, settings: Sequence[Any], work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What was kept, or else what `work` gives, which is then kept.

        Args:
            name: for people, who look at the folder; letters that files cannot have are replaced.
            settings: JSON values; any other ones, and the work is done anew.
            work: gives JSON values; what it raises is passed on, and nothing kept.

        Raises:
            InputError: the folder cannot be written.
        """
        key = hashlib.sha256(json.dumps([name, *settings]).encode()).hexdigest()[:16]
        path = self.folder / f"{file_name(name)}.{key}.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            text = json.dumps(work(), ensure_ascii=False)
        write_whole(path, text)
        # Parsed again, so that fresh and kept work are alike to the last digit and type.
        fresh: dict[str, Any] = json.loads(text)
        return fresh


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror}; name another folder"
        ) from error


def file_name(text: str) -> str:
    """A name that any file system takes: letters, digits, `+`, `-` and `_` stay, others are `-`."""
    return re.sub(r"[^\w+-]+", "-", text.replace(",", "+").replace(":", "")) or "-"


def code_of(modules: Sequence[str]) -> list[str]:
    """Digests of the modules' files, and of all of ours that they import, directly or not."""
    waiting, seen = list(modules), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name], imported = _source(name)
            waiting += imported
    return [seen[name] for name in sorted(seen)]


@cache
def _source(module: str) -> tuple[str, tuple[str, ...]]:
    """SHA-256 of a module's file, and the modules of ours that it imports."""
    spec = find_spec(module)
    text = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    return hashlib.sha256(text).hexdigest(), tuple(_imports(ast.parse(text)))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Our own modules that a file imports, at its head or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hashlens."):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if _is_module(name)]
            yield from modules or [str(node.module)]


def _is_module(name: str) -> bool:
    parent, _, last = name.rpartition(".")
    package = find_spec(parent)
    places = package.submodule_search_locations if package else None
    return any(Path(place, f"{last}.py").is_file() for place in places or ())
