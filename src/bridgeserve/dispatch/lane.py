"""The way of requests to one child: a socket that keeps whole messages, from which both sides may read.

The child takes the next request when it has ended the one before. The engine may take back what the child has not
taken: each message is read by one of the two, so a request is run once or not at all, whatever dies meanwhile.
"""

from __future__ import annotations

import socket
import sys

# A packet socket tells the end of the other side; elsewhere an empty message does.
KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
BUFFER = 1 << 20  # the system may grant less, and a fifth of this is enough
MESSAGE_MAX = 262144


class Lane:
    """The engine's side. `theirs` is the descriptor for the child."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, KIND)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._ours.setblocking(False)

    def send(self, message: bytes) -> bool:
        """Put a message in; False when there is no room."""
        try:
            self._ours.send(message)
        except BlockingIOError:
            return False
        return True

    def take_back(self) -> list[bytes]:
        """What the child has not taken, in its order; nothing of it will reach the child."""
        found: list[bytes] = []
        while True:
            try:
                message = self.theirs.recv(MESSAGE_MAX, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            if not message:
                return found
            found.append(message)

    def end(self) -> None:
        """The child finds the end behind what it has not taken yet."""
        if KIND == socket.SOCK_DGRAM:
            self.send(b"")
        self._ours.close()

    def close(self) -> None:
        """Close both sides here."""
        self._ours.close()
        self.theirs.close()
