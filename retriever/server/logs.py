"""The log of the server, in which nothing that was sent can look like a line of the log."""

from __future__ import annotations

import logging
from typing import Any

from hashlens.indexer.text.escaping import safe


class SafeLines(logging.Formatter):
    """Lines without control characters; all but the first of a record are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, with its traceback if it has one."""
        lines = super().format(record).splitlines()
        return "\n  ".join(map(safe, lines))


# As `logging.config.dictConfig` takes it. uvicorn warns of each malformed request: clients could
# fill the disk, so that its errors alone are kept.
LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "safe": {
            "()": "hashlens.retriever.server.logs.SafeLines",
            "fmt": "%(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "safe"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"uvicorn": {"level": "ERROR"}},
}
