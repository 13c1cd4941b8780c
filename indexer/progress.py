"""Progress reporting for long-running work."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the stages of a long task, one after the other."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage, of `total` steps if known."""

    def advance(self, steps: int = 1) -> None:
        """Add finished steps to the present stage."""


class NullProgress:
    """Progress that is not shown."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1) -> None:
        """Do nothing."""
