"""Can anything that a client does make a WebSocket raise, hang, hoard or lose count?

`python -m tests.property.sockets --seconds 600 --seed 7`. What property.turmoil is for HTTP: a handshake, frames by the
grammar of RFC 6455, cut, mutated and spliced, from a client that stalls, reads slowly or leaves, to an app that echoes,
floods, falls silent, closes, denies or fails. What must hold is the same; and the server's own frames are read back: a
close frame is the last, with a code that RFC 6455 allows, and no message comes that the app has not sent.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

if __package__ == "tests.property":  # as a command, from the project's folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bridgeserve.groups import WebSocketLimits
from bridgeserve.net.upgrade import Upgrades
from bridgeserve.net.websocket import QUEUE, WebSocketConnection
from net.memory import Wire
from property.fuzz import FOUND
from property.grammar import cut
from property.hunt import Hunt, command, describe
from property.talk import Faults, Receive, Send, Server, new_wire
from property.turmoil import LIMITS, Boom, Client, played, replayed
from wire.drive import READERS
from wire.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, close, deflated, frame, read

FOUND_SOCKETS = FOUND / "sockets"
MESSAGE = 1500  # octets
SOCKETS = WebSocketLimits(max_size=MESSAGE, ping_interval=5.0, ping_timeout=5.0)
ASK = (
    b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, *range(3000, 5000)})
TEXTS = (b"", b"hello", "h\xe9llo \u20ac \U0001f600".encode(), b"x" * 126, b"x" * 1400)
BAD_TEXTS = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * (MESSAGE + 1))


# --- the app ----------------------------------------------------------------------------------------


async def echo(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def flood(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    for _ in range(20):
        await send({"type": "websocket.send", "bytes": b"x" * 1000})


async def silent(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    await asyncio.sleep(20.0)


async def slow(receive: Receive, send: Send) -> None:
    await asyncio.sleep(1.0)
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await asyncio.sleep(0.3)


async def closing(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
    await receive()


async def denying(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def explaining(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"who?", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b""})


async def raising(receive: Receive, send: Send) -> None:
    raise Boom


async def raising_late(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    await receive()
    raise Boom


HABITS = [echo, echo, echo, echo, flood, silent, slow, closing, denying, explaining, raising, raising_late]


async def moody(server: Server, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The habit that the path names."""
    assert scope["type"] == "websocket"
    await receive()
    await HABITS[int(scope["path"][1:])](receive, send)


class SocketClient(Client):
    """Looks at the buffers of the WebSocket as well."""

    def bounded(self) -> None:
        super().bounded()
        live = self._client.protocol
        if isinstance(live, WebSocketConnection):
            waiting = list(live._queue)
            assert len(waiting) <= QUEUE, f"{len(waiting)} messages wait"
            # A frame that is not whole, or what one piece brought beyond the last message that found room.
            unread = live._session.unread
            assert unread <= MESSAGE + 14 + self._largest, f"{unread} octets unread"


# --- one connection ---------------------------------------------------------------------------------


async def play(server: Server, reader: str, data: bytes, rng: random.Random) -> None:
    """From the handshake to the end; `data` is what the client sends behind the handshake."""
    with new_wire(server, reader, LIMITS) as wire:
        wire.engine.upgrades = Upgrades(SOCKETS, server.connect)
        ask = ASK % rng.randrange(len(HABITS)) + rng.choice((b"", DEFLATE)) + b"\r\n"
        client = SocketClient(wire, rng)
        pieces = cut(rng, data, rng.choice((0, 1, 5, 30)))
        await client.say([ask + pieces[0], *pieces[1:]] if pieces and rng.random() < 0.3 else [ask, *pieces])
        await client.leave()
        assert wire.client.lost, "the connection is not closed"
        assert not wire.engine.connections
        assert not server.running, "a WebSocket does not end"
        client.bounded()
        account(wire)


def account(wire: Wire) -> None:
    """One record for the handshake; frames that are frames, and nothing behind a close."""
    statuses = [record.status for record in wire.records]
    assert len(statuses) <= 1, statuses
    head, _, rest = bytes(wire.client.received).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        return
    assert statuses == [101]
    found, _ = read(rest)
    kinds = [first & 0x0F for first, _ in found]
    assert set(kinds) <= {TEXT, BINARY, CLOSE, PING, PONG}, kinds
    assert CLOSE not in kinds[:-1], "a frame behind a close frame"
    if kinds and kinds[-1] == CLOSE and found[-1][1]:
        code = int.from_bytes(found[-1][1][:2])
        assert code in CODES, f"closed with {code}"
    for first, payload in found:
        assert first & 0x80 and not first & 0x30
        if first == 0x80 | TEXT:
            payload.decode()  # raises what an app could not have sent


async def judge(server: Server, faults: Faults, data: bytes, rng: random.Random) -> str:
    """What is wrong with this input; nothing is ""."""
    for reader in READERS:
        try:
            await play(server, reader, data, rng)
            assert not (found := faults.take()), found
        except Exception as error:  # any at all is a find
            faults.take()
            return f"{describe(error)}\nreader {reader} on {data!r}"
    return ""


# --- what to try ------------------------------------------------------------------------------------


def frames(rng: random.Random) -> bytes:
    """A few frames, most of them good."""
    parts = []
    for _ in range(rng.choice((1, 2, 4, 40))):
        bad = rng.random() < 0.03
        text = rng.choice(BAD_TEXTS if bad else TEXTS)
        kind = rng.randrange(10)
        if kind < 4:
            parts.append(frame(rng.choice((TEXT, BINARY)), text))
        elif kind < 6:
            at = rng.randrange(len(text) + 1)
            control = frame(PING, b"between") if rng.random() < 0.5 else b""
            parts += [frame(TEXT, text[:at], fin=False), control, frame(CONT, text[at:])]
        elif kind == 6:
            parts.append(frame(rng.choice((PING, PONG)), text[:125]))
        elif kind == 7:
            parts.append(frame(TEXT, deflated(text), rsv=4))
        elif kind == 8 and bad:
            parts.append(frame(rng.randrange(16), text, fin=False, rsv=rng.randrange(8), masked=rng.random() < 0.5))
        elif kind == 9 and rng.random() < 0.2:
            parts.append(rng.choice((close(1000), close(), close(1005), close(4999, "\u20ac"), frame(CLOSE, b"\x03"))))
    return b"".join(parts)


def sample(rng: random.Random) -> bytes:
    """Frames with a few changes."""
    data = frames(rng)
    for _ in range(rng.choice((0, 0, 1, 3))):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((0, 1, 2, 8, 100)))
        data = data[:at] + rng.choice((b"", rng.randbytes(1), rng.randbytes(4), data[at:to] * 2)) + data[to:]
    return data


async def again(data: bytes, seeds: int) -> str:
    """See `turmoil.replayed`."""
    return await replayed(judge, moody, data, seeds)


async def rounds(hunt: Hunt) -> None:
    """See `turmoil.played`."""
    await played(judge, moody, sample, hunt)


if __name__ == "__main__":
    sys.exit(command(__doc__, rounds, FOUND_SOCKETS))
