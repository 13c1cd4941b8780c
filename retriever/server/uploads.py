"""Pictures that people send, as files that exist in memory alone."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType


class Upload(AbstractContextManager["Upload"]):
    """Bytes as a file without a name on any disk; gone when closed, or with the process."""

    def __init__(self, content: bytes) -> None:
        """Hold the bytes.

        Raises:
            OSError: there is no memory for them.
        """
        self._file = -1
        self._file, self.path = _nameless()
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
        """Let the memory go."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _nameless() -> tuple[int, Path]:
    """An empty file that no folder lists, and a path by which this process can open it anew."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("picture")
        return file, Path(f"/proc/self/fd/{file}")
    file, name = tempfile.mkstemp()  # systems other than Linux
    os.unlink(name)
    return file, Path(f"/dev/fd/{file}")
