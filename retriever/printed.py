"""What commands print: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from retriever.forms import FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _typeshed import DataclassInstance
    from rich.table import Table

    from indexer.schema import Rejection

SOME_REJECTED, INTERRUPTED = 3, 130  # exit status
PIPED = 240  # columns where there is no terminal


def print_table(table: Table) -> None:
    """A table on stdout; piped, it is as wide as it needs to be."""
    from rich.console import Console

    console = Console(
        width=None if sys.stdout.isatty() else PIPED,
        color_system=None if os.environ.get("NO_COLOR") else "auto",  # not even bold
    )
    with console.capture() as drawn:
        console.print(table)
    # Rich fills lines to the table's width: what is pasted should not end in spaces.
    lines = [line.rstrip() for line in drawn.get().strip("\n").splitlines()]
    typer.echo("\n".join(lines), color=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def told(
    index: Path,
    report: DataclassInstance,
    line: str,
    notes: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Say what was done to an index: its report as one JSON object, or a line and its notes."""
    if as_json:
        print_json({"format": FORMAT, "index": str(index)} | asdict(report))
        return
    typer.echo(f"{index}: {line}")
    for note in notes:
        typer.echo(f"hashlens: {note}", err=True)


def finish(rejections: Sequence[Rejection]) -> None:
    """Report what could not be used, and exit with 3 where whole posts were rejected."""
    from retriever.tables import unused

    for line in unused(rejections):
        typer.echo(line, err=True)
    if not all(rejection.post_kept for rejection in rejections):
        raise typer.Exit(SOME_REJECTED)
