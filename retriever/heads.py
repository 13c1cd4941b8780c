"""Connections on which the head of a request is awaited for a while, not for ever.

uvicorn waits without end for the first bytes of a connection and for the rest of a head: whoever
opens many and says nothing would hold them all (Slowloris).
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL = 20.0  # seconds within which a head must have come


class TimelyHeads(H11Protocol):
    """uvicorn's protocol; a connection whose next head does not come in time is closed."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait while no request has begun, or the one before is answered."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._cancel()

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
