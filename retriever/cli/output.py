"""Prints lines and tables for people, and JSON for programs; nothing else prints."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from hashlens.indexer.errors import OutputError
from hashlens.indexer.text.escaping import json_line, one_line
from hashlens.retriever.json_format import FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _typeshed import DataclassInstance
    from rich.table import Table

    from hashlens.indexer.types import Rejection

SOME_REJECTED = 3  # exit status
PIPED_WIDTH = 240  # columns if stdout is no terminal


def prepare_streams() -> None:
    """Let streams write any text, and keep the descriptors of closed ones from files."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Print a line on stdout; control characters in it are escaped.

    Raises:
        OutputError: stdout cannot be written to.
        BrokenPipeError: the reader has closed it.
    """
    _write(one_line(line))


def warn(message: str) -> None:
    """Print a line on stderr, under the program's name."""
    warn_bare(f"hashlens: {message}")


def warn_bare(line: str) -> None:
    """Print a line on stderr, unless that is closed or full."""
    with suppress(OSError, ValueError):
        typer.echo(one_line(line), err=True)


def print_table(table: Table) -> None:
    """Print a table whose cells are escaped; in a pipe it is as wide as it needs to be."""
    from rich.console import Console

    is_terminal, drawn = sys.stdout is not None and sys.stdout.isatty(), io.StringIO()
    console = Console(
        file=drawn,
        force_terminal=is_terminal or None,
        width=None if is_terminal else PIPED_WIDTH,
        color_system=None if os.environ.get("NO_COLOR") else "auto",  # not even bold
    )
    console.print(table)
    # Rich fills lines to the table's width; pasted lines should not end in spaces.
    lines = [line.rstrip() for line in drawn.getvalue().strip("\n").splitlines()]
    _write("\n".join(lines))


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    _write(json_line(value, getattr(sys.stdout, "encoding", None) or "utf-8"))


def _write(text: str) -> None:
    if sys.stdout is None:
        raise OutputError("stdout: found it closed, expected a terminal, pipe or file to write to")
    try:
        typer.echo(text, color=True)
    except (OSError, ValueError) as error:
        drop_output()
        if isinstance(error, BrokenPipeError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"stdout: cannot be written to ({reason}), expected room there: call again"
        ) from error


def drop_output() -> None:
    """Drop buffered output: Python would try to write it again when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        if (stream := sys.__stdout__) is not None and stream is sys.stdout:
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)


def print_report(
    index: Path,
    report: DataclassInstance,
    line: str,
    notes: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Print the report of a change to an index: one JSON object, or a line and its notes."""
    if as_json:
        print_json({"format": FORMAT, "index": str(index)} | asdict(report))
        return
    say(f"{index}: {line}")
    for note in notes:
        warn(note)


def finish(rejections: Sequence[Rejection]) -> None:
    """Report what could not be used, and exit with 3 if whole posts were rejected."""
    from hashlens.retriever.cli.terminal_tables import unused

    for line in unused(rejections):
        warn_bare(line)
    if not all(rejection.post_kept for rejection in rejections):
        raise typer.Exit(SOME_REJECTED)
