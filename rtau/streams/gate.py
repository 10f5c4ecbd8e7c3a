"""Who may come in: how many connections at once, and how many new ones in a second."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from websockets.asyncio.server import ServerConnection


class Gate:
    """Turns connections away at once that are too many, or that come too fast, before anything is read from them.

    Args:
        most: open at a time, those included that have not said yet what they want.
        burst: that may come at once after a quiet time.
        rate: that may come in a second in the long run.

    Attributes:
        refused: those turned away.
    """

    def __init__(self, *, most: int, burst: int, rate: float) -> None:
        self._most, self._burst, self._rate = most, burst, rate
        self._open, self._allowed, self._seen = 0, float(burst), time.monotonic()
        self.refused = 0

    def admits(self) -> bool:
        """Whether a connection that comes now may stay; it is counted."""
        now = time.monotonic()
        self._allowed = min(self._allowed + (now - self._seen) * self._rate, self._burst)
        self._seen = now
        if self._open >= self._most or self._allowed < 1:
            self.refused += 1
            return False
        self._allowed -= 1
        self._open += 1
        return True

    def connection(self, *words: Any, **options: Any) -> asyncio.Protocol:
        """What serves a new connection; arguments are those of a `ServerConnection`."""
        return _Guest(self, *words, **options) if self.admits() else _TurnedAway()

    def leave(self) -> None:
        """A connection has gone."""
        self._open -= 1


class _Guest(ServerConnection):
    def __init__(self, gate: Gate, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._gate = gate

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave()
        super().connection_lost(exc)


class _TurnedAway(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
