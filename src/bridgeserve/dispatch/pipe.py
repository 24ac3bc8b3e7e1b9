"""The port of a request that runs in a child process, and the channel to the engine. All of it is the child's.

One thread serves one request after the other and talks to the engine over a blocking socket. While a request runs,
what the engine says (credit, the client's leave, pieces of the body) waits in that socket; it is looked at when the
application writes, reads or asks. Threads of the application may log meanwhile: sending is under a lock.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
from collections import deque
from typing import BinaryIO

from bridgeserve.dispatch.base import ClientDisconnected, Endpoint, EngineGone, close_input
from bridgeserve.dispatch.body import StreamedBody
from bridgeserve.dispatch.facts import read_endpoint
from bridgeserve.groups import Limits
from bridgeserve.wire import ipc
from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.events import Request
from bridgeserve.wire.familiar import HeadReader
from bridgeserve.wire.framing import BODYLESS, ResponseHead, informational
from bridgeserve.wire.gate import replace_host

READ = 262144
LOOK = 64  # requests after which a child looks at what the engine has said too late
HEAD_MAX = ipc.FRAME_MAX - 2 * ipc.PIECE  # octets of a response head, so that a piece of the body has room beside it
STACK_SIGNAL = signal.SIGUSR2  # to a child: write the stacks of your threads
# The engine has held a head to its limits before it sends it on.
NO_LIMITS = Limits(request_line=1 << 30, fields=1 << 30, field_size=1 << 30)


class Channel:
    """Frames from and to the engine.

    :param stream: a connected stream socket, blocking.
    :param side: a connected datagram socket beside it, for descriptors.
    :param lane: where requests wait (`dispatch.lane`), blocking.
    """

    def __init__(self, stream: socket.socket, side: socket.socket, lane: socket.socket | None = None) -> None:
        self._lane = lane
        self._stream = stream
        self._side = side
        self._reader = ipc.FrameReader(ipc.FROM_ENGINE)
        self._frames: deque[tuple[int, int, bytes]] = deque()
        self._lock = threading.Lock()
        self._held = b""
        self.heads = HeadReader(NO_LIMITS)
        # One buffer for all reads: a new one of this size for each would be mapped and unmapped by the system.
        self._buffer = bytearray(READ)
        self._view = memoryview(self._buffer)

    def forked(self) -> None:
        """See `dispatch.forked`: for a process that the application has forked the engine is gone."""
        self._lock = threading.Lock()
        self._held = b""
        self._frames.clear()
        for each in (self._stream, self._side, self._lane):
            if each is not None:
                each.close()

    def send(self, kind: int, call: int, payload: bytes = b"", *, hold: bool = False) -> None:
        """Send a frame, after those that were held; `hold`: keep it until the next one or `flush`."""
        with self._lock:
            self._held += ipc.frame(kind, call, payload)
            if not hold:
                self._flush()

    def flush(self) -> None:
        """Send what was held."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held:
            try:
                self._stream.sendall(held)
            except OSError as error:
                raise EngineGone from error

    def next_request(self) -> tuple[int, bytes]:
        """Wait for a request: its number and its payload; raises EngineGone at the end of the lane."""
        assert self._lane is not None
        try:
            size = self._lane.recv_into(self._buffer)
        except OSError as error:
            raise EngineGone from error
        if not size:
            raise EngineGone
        _, number, _ = ipc.HEADER.unpack_from(self._buffer)
        payload = bytes(self._view[ipc.HEADER.size : size])
        while not payload:  # a large one, which comes by the stream
            kind, call, payload = self.receive()
            payload = payload if (kind, call) == (ipc.REQUEST, number) else b""
        if number % LOOK == 0:
            # What was said for requests that had ended by then may not fill the stream.
            self._frames.extend([frame for frame in iter(self.poll, None) if frame[1] == number])
        return number, payload

    def receive(self) -> tuple[int, int, bytes]:
        """Wait for the next frame; raises EngineGone."""
        while not self._frames:
            self._receive(0)
        return self._frames.popleft()

    def poll(self) -> tuple[int, int, bytes] | None:
        """The next frame if one is there."""
        if not self._frames:
            try:
                self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return self._frames.popleft() if self._frames else None

    def _receive(self, flags: int) -> None:
        try:
            size = self._stream.recv_into(self._buffer, READ, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise EngineGone from error
        if not size:
            raise EngineGone
        self._frames.extend(self._reader.feed(bytes(self._view[:size])))

    def receive_file(self) -> BinaryIO:
        """The file that the engine has sent before the frame that speaks of it."""
        _, descriptors, _, _ = socket.recv_fds(self._side, 1, 1)
        return os.fdopen(descriptors[0], "rb")

    def send_file(self, descriptor: int) -> None:
        """Send a descriptor; the frame that speaks of it follows."""
        socket.send_fds(self._side, [b"f"], [descriptor])


class PipePort:
    """See `dispatch.port.Port`."""

    def __init__(self, channel: Channel, call: int, asked: ipc.RequestFrame) -> None:
        self._channel = channel
        self._call = call
        self._asked = asked
        self._body: BinaryIO | None = None
        self._credit = ipc.WINDOW
        self._pieces: deque[bytes] = deque()  # of the request body; b"" is its end
        self._lost = False
        self._disconnected = False
        self._answer: tuple[ResponseHead, bytes] | None = (
            None  # a whole response that goes out at the end, or by `flush`
        )
        self.complete = False
        self.request: Request = channel.heads.read(asked.head)
        self.endpoint: Endpoint = read_endpoint(asked.facts)
        if self.endpoint.host is not None:
            replace_host(self.request, self.endpoint.host)
        if asked.length >= 0:
            self.request.content_length = asked.length  # known now for a chunked body too
        self.request.body = asked.body

    def body(self) -> BinaryIO:
        """The request body: it came with the head, as a file, or is asked for piece by piece."""
        if self._body is None:
            if self._asked.source == ipc.INLINE:
                self._body = io.BytesIO(self._asked.body)
            elif self._asked.source == ipc.DESCRIPTOR:
                self._body = self._channel.receive_file()
            else:
                self._body = io.BufferedReader(StreamedBody(self._read), ipc.PIECE)
        return self._body

    def _read(self) -> bytes:
        self._look()
        self._check()
        if not self._pieces:  # one wish may have brought several
            self._channel.send(ipc.WANT, self._call)
        while not self._pieces:
            self._heed(self._channel.receive())
            if self._lost:
                raise ClientDisconnected("the client left before its body was complete")
        return self._pieces.popleft()

    def _heed(self, frame: tuple[int, int, bytes]) -> None:
        """What the engine says while the request runs."""
        kind, call, payload = frame
        if call != self._call:
            return
        if kind == ipc.CREDIT:
            self._credit += ipc.read_number(payload)
        elif kind == ipc.GONE:
            self._disconnected = True
            self._lost = self._lost or payload == b"\1"
        elif kind == ipc.BODY:
            self._pieces.append(payload)
        elif kind == ipc.BODY_END:
            self._pieces.append(b"")

    def _look(self) -> None:
        while (frame := self._channel.poll()) is not None:
            self._heed(frame)

    def _check(self) -> None:
        if self._lost:
            raise ClientDisconnected("the client left")

    def inform(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send an interim response."""
        payload = informational(status, headers)
        if len(payload) > HEAD_MAX:
            raise ResponseError("an interim response that is too large")
        self._channel.send(ipc.INFORM, self._call, payload)

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """Send the head; a body that is too large for its frame follows it."""
        if len(head.line) + len(head.block) > HEAD_MAX:
            raise ResponseError("a response head that is too large")
        self._look_if_asked(end)
        if end and len(body) > ipc.PIECE:
            # The whole length is known here, and the frames behind the head do not tell it.
            if head.content_length is None and head.status not in BODYLESS:
                head = head.with_length(len(body))
            if self.request.method == b"HEAD" or head.status in BODYLESS:
                body = b""
        if end and len(body) <= ipc.PIECE:
            self.complete = True
            self._answer = (head, body)
            return
        self._channel.send(ipc.HEAD, self._call, ipc.pack_head(head, False, b""), hold=bool(body))
        self._send(body)
        if end:
            self.finish()

    def _look_if_asked(self, end: bool) -> None:
        """A client that has left is worth a look when much is to come, or an earlier frame has told it."""
        if not end or self._lost:
            self._look()
        self._check()

    def write(self, data: bytes) -> None:
        """Send more; waits for credit; raises ClientDisconnected."""
        self._look()
        self._check()
        self._send(data)

    def _send(self, data: bytes) -> None:
        for start in range(0, len(data), ipc.PIECE):
            piece = data[start : start + ipc.PIECE]
            while self._credit < len(piece):
                self._channel.flush()
                self._heed(self._channel.receive())
                self._check()
            self._credit -= len(piece)
            self._channel.send(ipc.DATA, self._call, piece)

    def finish(self, data: bytes = b"") -> None:
        """Send the last octets; raises ClientDisconnected."""
        self._look_if_asked(False)
        self._send(data)
        self.complete = True
        self._channel.send(ipc.END, self._call, hold=True)

    def send_file(self, file: int, offset: int, count: int) -> bool:
        """Hand the file over: the engine sends it, and this child is free meanwhile."""
        self._look_if_asked(False)
        self._channel.send_file(file)
        self._channel.send(ipc.FILE, self._call, ipc.pack_file(offset, count), hold=True)
        return True

    def flush(self) -> None:
        """Let go out what was said."""
        if self._answer is not None:
            head, body = self._answer
            self._answer = None
            self._channel.send(ipc.HEAD, self._call, ipc.pack_head(head, True, body), hold=True)
        self._channel.flush()

    def abort(self) -> None:
        """Cut the connection."""
        if not self.complete:
            self.complete = True
            self._channel.send(ipc.ABORT, self._call, hold=True)

    def disconnected(self) -> bool:
        """True once the client has sent its last octet or is gone."""
        self._look()
        return self._disconnected

    def close(self) -> None:
        """The application has ended; this is the last word."""
        if self._asked.source == ipc.DESCRIPTOR:
            self.body()  # else its descriptor would be taken for that of a later request
        if self._body is not None:
            close_input(self._body)
        if self._answer is not None:
            head, body = self._answer
            self._channel.send(ipc.ANSWER, self._call, ipc.pack_head(head, True, body))
            return
        if not self.complete:
            self.abort()
        self._channel.send(ipc.DONE, self._call)
