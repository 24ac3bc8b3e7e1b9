"""The listening sockets of a fleet: opened once, inherited by every worker, never bound anew while they are wanted."""

from __future__ import annotations

import os
import socket
from collections import Counter

from bridgeserve.binds import Bind
from bridgeserve.net.listeners import Address, ListenError, address_of, give_file, open_listeners

Key = tuple[str, str, int, int]


def keys_of(binds: tuple[Bind, ...]) -> list[Key]:
    """What makes a bind the same as one of before: the place, not the mode of its file. `HOST:0` may come twice."""
    seen: Counter[tuple[str, str, int]] = Counter()
    keys: list[Key] = []
    for bind in binds:
        place = (bind.kind, bind.host or bind.path, bind.port if bind.kind == "tcp" else bind.fd)
        keys.append((*place, seen[place]))
        seen[place] += 1
    return keys


class Sockets:
    """The sockets that count, and those that a reload wants instead."""

    def __init__(self) -> None:
        self._now: dict[Key, list[socket.socket]] = {}
        self._next: dict[Key, list[socket.socket]] | None = None
        self._files: list[Bind] = []

    def prepare(self, binds: tuple[Bind, ...], backlog: int, reuse_port: bool) -> None:
        """Open what is new in `binds`, which then wait for `adopt`.

        :raises ListenError: nothing has changed then.
        """
        wanted: dict[Key, list[socket.socket]] = {}
        try:
            for key, bind in zip(keys_of(binds), binds, strict=True):
                wanted[key] = self._now.get(key) or open_listeners((bind,), backlog, reuse_port)
        except ListenError:
            self._close(wanted, self._now)
            raise
        self._next = wanted
        self._files = [bind for bind in binds if bind.kind == "unix"]

    def adopt(self) -> bool:
        """What was prepared counts; what it does not have is closed. True when something was closed.

        :raises ListenError: the mode or the owner of a file cannot be changed; everything else has happened.
        """
        assert self._next is not None
        before, self._now, self._next = self._now, self._next, None
        gone = self._close(before, self._now)
        for bind in self._files:
            give_file(bind)
        return gone

    def discard(self) -> None:
        """Forget what was prepared."""
        if self._next is not None:
            self._close(self._next, self._now)
            self._next = None

    def close(self) -> None:
        """Close all of them, and remove the files of the unix sockets."""
        self.discard()
        self._close(self._now, {})
        self._now = {}

    @staticmethod
    def _close(given: dict[Key, list[socket.socket]], kept: dict[Key, list[socket.socket]]) -> bool:
        gone = [each for key, listeners in given.items() if key not in kept for each in listeners]
        for listener in gone:
            listener.close()
        return bool(gone)

    def descriptors(self, prepared: bool) -> list[int]:
        """Those that count, or those that are prepared, as descriptors."""
        given = self._now if not prepared or self._next is None else self._next
        return [listener.fileno() for listeners in given.values() for listener in listeners]

    @property
    def addresses(self) -> list[Address]:
        """Where we listen."""
        return [address_of(listener) for listeners in self._now.values() for listener in listeners]


def inherited(descriptors: tuple[int, ...]) -> tuple[Bind, ...]:
    """Binds of sockets that a service manager has opened."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return tuple(Bind(kind="fd", fd=descriptor) for descriptor in descriptors)
