"""Progress drawn on stderr: the stage, a bar, how much is done, and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """An `indexer.progress.Progress` that people see."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; the one before is done."""
        if self._task is not None:
            done = self._bar.tasks[self._task].completed or 1
            self._bar.update(self._task, total=done, completed=done)
        self._task = self._bar.add_task(name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Steps of the present stage are done."""
        if self._task is not None:
            self._bar.advance(self._task, steps)


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """A bar while the work lasts; nothing is drawn where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Bar(bar)
