"""What a hand with bad intent can do: change what a generation holds, and seal it again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hashlens.indexer.generations.filesystem import read_entry
from hashlens.indexer.generations.manifest import MANIFEST, Manifest, to_bytes


def reseal(folder: Path, **changes: object) -> None:
    """Change entries of a manifest."""
    values = json.loads((folder / MANIFEST).read_bytes())
    del values["seal"]
    (folder / MANIFEST).write_bytes(to_bytes(Manifest(**values | changes)))


def reseal_files(folder: Path) -> None:
    """Record every file that is there now, as it is now."""
    values = json.loads((folder / MANIFEST).read_bytes())
    del values["seal"]
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): read_entry(path) for path in found}
    del files[MANIFEST]
    (folder / MANIFEST).write_bytes(to_bytes(replace(Manifest(**values), files=files)))
