"""Keeps pictures that people send as files in memory."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType


class Upload(AbstractContextManager["Upload"]):
    """Bytes as a file that is on no disk; it ends when closed, or with the process."""

    def __init__(self, content: bytes) -> None:
        """Keep the bytes, at a path that only this process can open.

        Raises:
            OSError: there is no memory for them.
        """
        self._file = -1
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("picture")
            self.path = Path(f"/proc/self/fd/{self._file}")
        else:  # systems other than Linux
            self._file, name = tempfile.mkstemp()
            os.unlink(name)
            self.path = Path(f"/dev/fd/{self._file}")
        with open(self._file, "wb", closefd=False) as file:
            file.write(content)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
