"""Which version of hashlens runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The version that is installed, or `unknown` where the source runs without being installed."""
    try:
        return version("hashlens")
    except PackageNotFoundError:
        return "unknown"
