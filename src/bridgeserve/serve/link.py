"""The line between the supervisor and a worker: one message, a JSON object, is one packet on a socketpair.

The supervisor begins with the setup. Then it says what to do ("drain", "leave", "stop", "reopen", "dump"), and the
worker how it is ("ready", "failed", "beat", "due", "drained"). Nobody waits for the other: a packet that does not fit
is dropped, as when the other one was stopped for long. Beats are said again and again; "due" until it was taken.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from bridgeserve.dispatch import forked
from bridgeserve.dispatch.spawn import CONTROL, MESSAGE_MAX

TEXT_MAX = 65536  # characters of a reason or a trace


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end, which never waits, and the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, CONTROL)
    ours.setblocking(False)
    return ours, theirs


def send(end: socket.socket, message: dict[str, Any]) -> bool:
    """Send a message; False when it was dropped, or nobody is there."""
    try:
        end.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def receive(end: socket.socket) -> dict[str, Any] | None:
    """The next message; None at the end of the line.

    :raises BlockingIOError: there is none now, at an end that does not wait.
    """
    try:
        data = end.recv(MESSAGE_MAX)
    except ConnectionError:
        return None
    if not data:
        return None
    message: dict[str, Any] = json.loads(data)
    return message


class Link:
    """A worker's end. Messages come in on a thread, which hears the end of the supervisor whatever the loop does."""

    def __init__(self, end: socket.socket) -> None:
        end.set_inheritable(False)
        self._end = end
        self._hear: Callable[[str, dict[str, Any]], None] | None = None
        self._early: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        forked.watch(self)

    def forked(self) -> None:
        """See `dispatch.forked`."""
        self._end.close()

    def setup(self) -> dict[str, Any] | None:
        """Wait for the first message; None when nobody will send one."""
        return receive(self._end)

    def say(self, word: str, **more: Any) -> bool:
        """(any thread) Tell the supervisor; False when it was not told."""
        return send(self._end, {"word": word, **more})

    def say_why(self, reason: str, trace: str) -> None:
        """Tell why there is no start: as much of it as fits. The system bounds a packet, and JSON makes text longer."""
        most = TEXT_MAX
        while most and not self.say("failed", reason=reason[:most], trace=trace[-most:]):
            most //= 4

    def listen(self, alone: Callable[[str], None]) -> None:
        """Begin to hear. `alone`: called on the thread for words that come before `attach`."""

        def run() -> None:
            while True:
                message = receive(self._end)
                word = "orphaned" if message is None else message["word"]
                with self._lock:
                    hear = self._hear
                    if hear is None:
                        alone(word)
                        self._early.append((word, message or {}))
                if hear is not None:
                    with contextlib.suppress(RuntimeError):  # the loop is closed: we are at the end anyway
                        hear(word, message or {})
                if message is None:
                    return

        threading.Thread(target=run, name="bridgeserve-link", daemon=True).start()

    def attach(self, hear: Callable[[str, dict[str, Any]], None]) -> None:
        """From now on `hear` is called on the thread, for what came before as well."""
        with self._lock:
            self._hear = hear
            early, self._early = self._early, []
        for word, message in early:
            hear(word, message)
