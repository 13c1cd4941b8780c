"""The lock file names one version of everything that the project installs, each with its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKED = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)(?: ; ([^\\]+))? \\$", re.MULTILINE)


def locked() -> dict[str, list[Version]]:
    """Versions in the lock file by name; more than one where Pythons or systems differ."""
    found: dict[str, list[Version]] = {}
    for name, version, _ in LOCKED.findall((ROOT / "requirements.lock").read_text()):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


def required(*extras: str) -> list[Requirement]:
    """What a plain install and these extras need; extras of hashlens itself are followed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [*project["dependencies"]]
    waiting = [*extras]
    while waiting:
        for text in project["optional-dependencies"][waiting.pop()]:
            needed = Requirement(text)
            if needed.name == "hashlens":
                waiting += needed.extras
            else:
                found.append(text)
    return [Requirement(text) for text in found]


def test_every_dependency_is_locked_within_its_bounds() -> None:
    versions = locked()
    needed = required("dev", "demo")
    assert len(needed) > 40
    for each in needed:
        fixed = versions.get(canonicalize_name(each.name), [])
        assert fixed, f"{each.name} is missing: run make lock"
        assert all(version in each.specifier for version in fixed), f"{each}: found {fixed}"


def test_every_locked_package_has_a_hash() -> None:
    blocks = re.split(r"^(?=\S)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    packages = [block for block in blocks if "==" in block]
    assert len(packages) == sum(map(len, locked().values()))
    assert all("--hash=sha256:" in block for block in packages)
