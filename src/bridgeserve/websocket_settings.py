"""The options of WebSocket, a part of `Settings`. Ground: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from bridgeserve.groups import WebSocketLimits
from bridgeserve.option import option

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class WebSocketSettings:
    """Times are seconds, sizes octets, as in `Settings`."""

    ws_max_size: int = option(
        "int",
        "WebSocket",
        "Octets of one message, inflated; beyond: close code 1009.",
        16 * MIB,
        minimum=1,
        metavar="BYTES",
    )
    ws_ping_interval: float = option(
        "float",
        "WebSocket",
        "Silence of a client after which it gets a ping, in seconds; 0: no pings.",
        20.0,
        minimum=0,
        aliases=("--websocket-ping-interval",),
    )
    ws_ping_timeout: float = option(
        "float", "WebSocket", "Time for a sign of life after a ping, in seconds.", 20.0, minimum=0.1
    )
    ws_per_message_deflate: bool = option("switch", "WebSocket", "Compress messages where the client offers it.", True)
    ws_deflate_window_bits: int = option(
        "int", "WebSocket", "Window of the compression, as a power of two.", 12, minimum=9, maximum=15
    )
    ws_deflate_memory_level: int = option(
        "int", "WebSocket", "Memory of the compression, as zlib counts it.", 5, minimum=1, maximum=9
    )

    @property
    def websockets(self) -> WebSocketLimits:
        """What a WebSocket may cost."""
        return WebSocketLimits(
            max_size=self.ws_max_size,
            ping_interval=self.ws_ping_interval,
            ping_timeout=self.ws_ping_timeout,
            deflate=self.ws_per_message_deflate,
            window_bits=self.ws_deflate_window_bits,
            memory_level=self.ws_deflate_memory_level,
        )
