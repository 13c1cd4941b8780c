"""Every error that ends a command becomes one line on stderr and an exit status."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from hashlens.indexer.errors import HashlensError, explain, is_foreseen
from hashlens.interrupts import INTERRUPTED, noticing
from hashlens.retriever.cli.output import drop_output, warn

TRACEBACK = "HASHLENS_TRACEBACK"  # environment variable that shows where an error came from


@contextmanager
def reporting() -> Iterator[None]:
    """Report the error that ends the work inside, and exit with its status.

    Raises:
        SystemExit: an error ended the work.
    """
    with noticing() as is_interrupted:
        try:
            yield
        except SystemExit:
            if is_interrupted():  # Typer makes a silent end of an interrupt
                _report_interrupt()
            raise
        except (typer.Exit, typer.Abort):
            raise
        except BaseException as error:
            if is_interrupted() or isinstance(error, KeyboardInterrupt):
                _report_interrupt()
                raise SystemExit(INTERRUPTED) from None
            if _is_shown_by_typer(error) or os.environ.get(TRACEBACK):
                raise
            raise SystemExit(_report(error)) from error


def _is_shown_by_typer(error: BaseException) -> bool:
    """Whether it is of a wrong call, which Typer shows with the command's usage."""
    return hasattr(error, "format_message")


def _report_interrupt() -> None:
    warn("interrupted; nothing half-made was left")


def _report(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):  # who reads has enough, as `head` does
        drop_output()
        return 1
    if isinstance(error, HashlensError):
        warn(str(error))
        return error.exit_code
    drop_output()
    hint = "" if is_foreseen(error) else f"; {TRACEBACK}=1 shows where"
    warn(explain(error) + hint)
    return 1
