"""Connections: few enough for the process, and closed where no request comes in time.

uvicorn bounds neither. It waits without end for the head of a request, so that clients who open
many connections and say nothing would hold them all (Slowloris). At the limit of open files
asyncio's accept loop fills the log instead of serving.
"""

from __future__ import annotations

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL = 20.0  # seconds within which a head must have come
MAX_CONNECTIONS = 512  # connections at a time; fewer where the process may open few files
MAX_ACCEPTS = 64  # connections that are accepted in one go


def bounds() -> tuple[int, int]:
    """The most connections, and the most accepted in one go, by the limit of open files.

    Half of the files are left to the index and to pictures. asyncio accepts a few times before it
    tells of the first connection, so one go is a sixteenth.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS, MAX_ACCEPTS
    return max(1, min(MAX_CONNECTIONS, files // 2)), max(1, min(MAX_ACCEPTS, files // 16))


class TimelyHeads(H11Protocol):
    """uvicorn's protocol; a connection whose next head does not come in time is closed.

    Where there are too many, the one that waited longest for a head makes room for a new one.
    """

    most: int = MAX_CONNECTIONS
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            self._longest_idle().leave()

    def leave(self) -> None:
        """Close the connection at once."""
        self._cancel()
        self.connections.discard(self)
        self.transport.abort()

    def _longest_idle(self) -> TimelyHeads:
        """The connection that has waited longest for a head; this one where all others work."""
        idle = [one for one in self.connections if isinstance(one, TimelyHeads) and one.due]
        return min(idle, key=lambda one: one.due or 0.0, default=self)

    @property
    def due(self) -> float | None:
        """Time by which a head must have come; None while a request is answered."""
        return self._late.when() if self._late else None

    def data_received(self, data: bytes) -> None:
        """Wait while no request has begun, or the one before is answered."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._cancel()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(ARRIVAL, self.transport.close)

    def _cancel(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
