"""The lock files name one version of everything that the project installs, each with its hash.

`requirements-demo.lock` is the part of `requirements.lock` that the demo needs, without PyTorch.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKED = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)(?: ; ([^\\]+))? \\$", re.MULTILINE)


LOCKS = {"requirements.lock": ("dev", "demo"), "requirements-demo.lock": ("demo",)}
locks = pytest.mark.parametrize("lock", LOCKS)


def blocks(lock: str) -> list[str]:
    """The lines of each package in a lock file: its version, its hashes."""
    parts = re.split(r"^(?=\S)", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return [part for part in parts if "==" in part]


def locked(lock: str) -> dict[str, list[Version]]:
    """Versions in a lock file by name; more than one where Pythons or systems differ."""
    found: dict[str, list[Version]] = {}
    for name, version, _ in LOCKED.findall((ROOT / lock).read_text()):
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


@locks
def test_every_dependency_is_locked_within_its_bounds(lock: str) -> None:
    versions = locked(lock)
    needed = required(*LOCKS[lock])
    assert len(needed) > (20 if lock == "requirements-demo.lock" else 40)
    for each in needed:
        fixed = versions.get(canonicalize_name(each.name), [])
        assert fixed, f"{each.name} is missing: run make lock"
        assert all(version in each.specifier for version in fixed), f"{each}: found {fixed}"


@locks
def test_every_locked_package_has_a_hash(lock: str) -> None:
    packages = blocks(lock)
    assert len(packages) == sum(map(len, locked(lock).values()))
    assert all("--hash=sha256:" in block for block in packages)


def test_the_demo_installs_the_same_versions_without_pytorch() -> None:
    some = set(blocks("requirements-demo.lock"))
    assert some < set(blocks("requirements.lock"))
    names = set(locked("requirements-demo.lock"))
    heavy = {canonicalize_name(each.name) for each in required("torch") if each not in required()}
    assert "torch" in heavy
    assert not {name for name in names if name in heavy or name.startswith(("nvidia-", "triton"))}


def test_the_demo_lock_holds_what_its_packages_need() -> None:
    """As their metadata, where they are installed, say for this machine."""
    names = set(locked("requirements-demo.lock"))
    for name in names:
        try:
            needed = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # of another system
            continue
        some = (each for each in needed if not each.marker or each.marker.evaluate({"extra": ""}))
        assert {canonicalize_name(each.name) for each in some} <= names
