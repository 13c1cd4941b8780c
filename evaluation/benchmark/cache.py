"""A cache of finished work in a folder, so that an interrupted run can continue."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hashlens.evaluation.result_files import Json, to_file_name, write_file


@dataclass(frozen=True, slots=True)
class ResultCache:
    """JSON values by name and settings, one file each in `folder`."""

    folder: Path

    def load_or_compute(
        self, name: str, settings: Sequence[Any], compute: Callable[[], Json]
    ) -> Json:
        """Return the stored result, or compute and store it.

        Args:
            name: part of the file's name.
            settings: JSON values; other settings have other results.
            compute: returns JSON values; its exceptions are passed on, and nothing is stored.

        Raises:
            InputError: the folder cannot be written.
        """
        key = hashlib.sha256(json.dumps([name, *settings]).encode()).hexdigest()[:16]
        path = self.folder / f"{to_file_name(name)}.{key}.json"
        try:
            stored: Json = json.loads(path.read_text(encoding="utf-8"))
            return stored
        except (OSError, ValueError):
            text = json.dumps(compute(), ensure_ascii=False)
        write_file(path, text)
        # Parsed again, so that fresh and stored results agree to the last digit and type.
        fresh: Json = json.loads(text)
        return fresh


def hash_code(modules: Sequence[str]) -> list[str]:
    """Return hashes of the modules and of all hashlens modules that they import, even indirectly.

    A change of any of them changes the list.
    """
    waiting, hashes = list(modules), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name not in hashes:
            hashes[name], imported = _read_module(name)
            waiting += imported
    return [hashes[name] for name in sorted(hashes)]


@cache
def _read_module(module: str) -> tuple[str, list[str]]:
    """Return the SHA-256 of a module's file, and the hashlens modules that it imports."""
    spec = find_spec(module)
    text = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    imported: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hashlens."):
            package = find_spec(str(node.module))
            folders = list(package.submodule_search_locations or ()) if package else []
            modules = [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if any(Path(folder, f"{alias.name}.py").is_file() for folder in folders)
            ]
            imported += modules or [str(node.module)]
    return hashlib.sha256(text).hexdigest(), imported
