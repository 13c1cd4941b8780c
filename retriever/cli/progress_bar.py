"""Progress drawn on stderr: the stage, a bar, how much is done, the rate, and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

WIDTH = 20  # of the bar: a line fits 80 columns


class RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        """The rate of a task, nothing before it is known."""
        speed = task.finished_speed or task.speed
        return Text(
            f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.1f}/s" if speed else ""
        )


class Bar:
    """An `hashlens.indexer.progress.Progress` that people see."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def stage(self, name: str, total: int | None = None, done: int = 0) -> None:
        """A stage begins, of which some steps were done before; the stage before it is done."""
        if self._task is not None:
            steps = self._bar.tasks[self._task].completed or 1
            self._bar.update(self._task, total=steps, completed=steps)
        self._task = self._bar.add_task(name, total=total, completed=done)

    def advance(self, steps: int = 1) -> None:
        """Steps of the present stage are done."""
        if self._task is not None:
            self._bar.advance(self._task, steps)


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """A bar while the work lasts; nothing is drawn where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=WIDTH),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Bar(bar)
