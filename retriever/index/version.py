"""The version of hashlens that runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Return the installed version, or `unknown` if the source runs without an installation."""
    try:
        return version("hashlens")
    except PackageNotFoundError:
        return "unknown"
