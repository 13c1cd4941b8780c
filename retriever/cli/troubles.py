"""Turns every error that ends a command into one line on stderr and an exit status."""

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
            is_wrong_call = hasattr(error, "format_message")  # Typer shows it with the usage
            if is_wrong_call or os.environ.get(TRACEBACK):
                raise
            if isinstance(error, HashlensError):
                warn(str(error))
                raise SystemExit(error.exit_code) from error
            drop_output()
            if not isinstance(error, BrokenPipeError):  # the reader has enough, as `head` does
                hint = "" if is_foreseen(error) else f"; {TRACEBACK}=1 shows where"
                warn(explain(error) + hint)
            raise SystemExit(1) from error


def _report_interrupt() -> None:
    warn("interrupted; nothing half-made was left")
