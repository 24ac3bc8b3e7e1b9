"""The floor: what a uvloop protocol costs that does nothing but find the end of a head and answer.

No server on this loop can be cheaper, so the others are told as a ratio to it. `python -m benchmarks.floor PORT`
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import cast

import uvloop

from benchmarks.apps.content import BODY
from benchmarks.apps.content import JSON as TYPE

HEAD_END = b"\r\n\r\n"
# As long as the answers of the others: the same app, with a date and a server's name.
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2000 00:00:00 GMT\r\nserver: floor\r\n"
    b"content-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (TYPE.encode(), len(BODY), BODY)
)


class Floor(asyncio.Protocol):
    """One connection. Requests with a body are not understood."""

    __slots__ = ("rest", "transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        end = data.find(HEAD_END)
        while end >= 0:
            self.transport.write(ANSWER)
            data = data[end + len(HEAD_END) :]
            end = data.find(HEAD_END)
        self.rest = data


async def serve(port: int) -> None:
    """Serve on the loopback until TERM or INT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Floor, "127.0.0.1", port, backlog=2048)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
