"""A file goes to the socket by sendfile(2), past the transport.

The transport is emptied first, so that nothing it holds can come after the file. Waiting for the
client uses a duplicate of the descriptor: the loop watches the transport's own one. Three ends:
progress, a client that is gone (the descriptor turns writable and the call fails), the write deadline.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.net.client import untaken

if TYPE_CHECKING:
    from bridgeserve.net.exchange import Exchange

PIECE = 1 << 20  # octets in one call, so that others have their turn


async def send_file(exchange: Exchange, file: int, offset: int, count: int) -> bool:
    """Send `count` octets of the descriptor `file` from `offset` as the body.

    :returns: False under TLS, and when the response is not one of a known length (nothing was sent then).
    :raises ClientDisconnected: the client left, or did not read for the write timeout.
    """
    connection = exchange.connection
    if exchange.lost:
        raise ClientDisconnected("the client left")
    transport = connection.transport
    if transport.get_extra_info("sslcontext") is not None or not connection.session.sends_raw(count):
        return False  # under TLS the socket takes records, not our octets
    transport.set_write_buffer_limits(high=0)
    try:
        await exchange.drain()
        target = os.dup(transport.get_extra_info("socket").fileno())
        try:
            while count:
                sent = await _piece(exchange, target, file, offset, min(count, PIECE))
                if sent == 0:
                    break  # the file is shorter than it was: the response will be cut
                offset += sent
                count -= sent
                exchange.sent += sent
                connection.session.sent_raw(sent)
        finally:
            os.close(target)
    finally:
        if not exchange.lost:
            transport.set_write_buffer_limits()
    return True


async def _piece(exchange: Exchange, target: int, file: int, offset: int, count: int) -> int:
    loop = asyncio.get_running_loop()
    connection = exchange.connection
    while True:
        if exchange.lost:
            raise ClientDisconnected("the client left")
        try:
            sent = os.sendfile(target, file, offset, count)
        except BlockingIOError:
            pass
        except OSError as error:
            exchange.abort()
            raise ClientDisconnected("the client left") from error
        else:
            await asyncio.sleep(0)
            return sent
        timeouts = connection.engine.protocols.timeouts
        most = max(untaken(connection.transport) - timeouts.least_read, 0)
        writable = loop.create_future()
        loop.add_writer(target, _ready, writable)
        try:
            await asyncio.wait_for(writable, timeouts.write)
        except TimeoutError:
            if untaken(connection.transport) > most:
                exchange.abort(reset=True)
                raise ClientDisconnected("the client does not read, or too slowly") from None
        finally:
            loop.remove_writer(target)


def _ready(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
