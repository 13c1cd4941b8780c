"""How long work says how far it is; the command line draws it, tests and programs stay silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the stages of a long piece of work, one after the other."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins, of `total` steps where that is known."""

    def advance(self, steps: int = 1) -> None:
        """Steps of the present stage are done."""


class NullProgress:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Nothing to show."""

    def advance(self, steps: int = 1) -> None:
        """Nothing to show."""
