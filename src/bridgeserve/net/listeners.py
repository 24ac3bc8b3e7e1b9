"""Listening sockets and the accept loop.

The accept loop is ours, not the event loop's, for three reasons: accepting stops while
`--limit-connections` is reached, it backs off when the process is out of descriptors, and at a
drain the backlog is served before the socket is closed.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import grp
import logging
import os
import pwd
import socket
import stat
from contextlib import suppress
from typing import Any

from bridgeserve.binds import Bind
from bridgeserve.dispatch import forked
from bridgeserve.dispatch.base import Endpoint
from bridgeserve.net.connection import Connection
from bridgeserve.net.engine import Engine
from bridgeserve.net.opening import Opening

_log = logging.getLogger("bridgeserve")
BURST = 64  # connections accepted in one turn of the loop
BACKLOG_MOST = 65536  # connections accepted at a drain: no backlog is longer
BACK_OFF = 0.1  # seconds without accepting after the system said that it has no room
# accept(2): that one connection was gone before we took it. Any other error stays until something changes:
# the system is out of descriptors or memory, the listener is broken.
GONE = {
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPERM,
    errno.EPROTO,
    errno.ETIMEDOUT,
}
Address = tuple[str, int] | str


class ListenError(Exception):
    """A bind that cannot be listened at; the message says which and why."""


def open_listeners(binds: tuple[Bind, ...], backlog: int, reuse_port: bool = False) -> list[socket.socket]:
    """Listen at every bind, or at none.

    :param reuse_port: let other sockets listen at the same TCP port (SO_REUSEPORT).
    :raises ListenError: with the address and the system's reason.
    """
    opened: list[socket.socket] = []
    try:
        for bind in binds:
            try:
                opened.extend(_open(bind, reuse_port))
                for listener in opened:
                    listener.setblocking(False)
                    listener.listen(backlog)
            except OSError as error:
                raise ListenError(f"cannot listen at {bind}: {error.strerror or error}") from error
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _open(bind: Bind, reuse_port: bool) -> list[socket.socket]:
    if bind.kind == "fd":
        return [socket.socket(fileno=bind.fd)]
    if bind.kind == "unix":
        return [_open_unix(bind)]
    return _open_tcp(bind, reuse_port)


def _open_tcp(bind: Bind, reuse_port: bool) -> list[socket.socket]:
    """One socket for each address of the host; for all interfaces one that takes IPv6 and IPv4."""
    if not bind.host or bind.host == "::":
        if socket.has_dualstack_ipv6():
            everywhere = ("", bind.port)
            make = socket.create_server
            return [make(everywhere, family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=reuse_port)]
        bind = Bind(kind="tcp", host="0.0.0.0", port=bind.port)
    found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        port = listeners[0].getsockname()[1] if listeners and bind.port == 0 else address[1]
        where = (str(address[0]), int(port))
        listeners.append(socket.create_server(where, family=family, reuse_port=reuse_port))
    return listeners


class UnixListener(socket.socket):
    """A unix socket that we have bound: its file goes with it, unless another server has put its own there.

    That of an inherited one is not ours.
    """

    identity = (0, 0)  # of the file

    def bind(self, path: Any) -> None:
        """Bind, and remember the file."""
        super().bind(path)
        self.identity = _identity(path)

    def close(self) -> None:
        """Close the socket and remove its file."""
        path = self.getsockname() if self.fileno() >= 0 else ""
        super().close()
        if path:
            with suppress(OSError):
                if _identity(path) == self.identity:
                    os.unlink(path)


def _identity(path: str) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino


def give_file(bind: Bind) -> None:
    """Give the file of a unix socket its mode and its owner.

    :raises ListenError: for an unknown user or group, and for what the system does not allow.
    """
    try:
        _give_file(bind)
    except OSError as error:
        raise ListenError(f"cannot listen at {bind}: {error.strerror or error}") from error


def _give_file(bind: Bind) -> None:
    user, group = -1, -1
    try:
        if bind.user:
            user = int(bind.user) if bind.user.isdecimal() else pwd.getpwnam(bind.user).pw_uid
        if bind.group:
            group = int(bind.group) if bind.group.isdecimal() else grp.getgrnam(bind.group).gr_gid
    except KeyError as error:
        raise OSError(errno.EINVAL, f"no such user or group: {bind.user or '-'}, {bind.group or '-'}") from error
    if user >= 0 or group >= 0:
        os.chown(bind.path, user, group)
    if bind.mode is not None:
        os.chmod(bind.path, bind.mode)


def _open_unix(bind: Bind) -> socket.socket:
    """A unix socket; a stale file of a server that is gone is replaced, a live one is an error."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(bind.path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                try:
                    probe.connect(bind.path)
                except ConnectionRefusedError:
                    os.unlink(bind.path)
                else:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    listener = UnixListener(socket.AF_UNIX)
    try:
        listener.bind(bind.path)
        _give_file(bind)
    except BaseException:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> Address:
    """(host, port), or the path of a unix socket."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return os.fsdecode(name)
    return str(name[0]), int(name[1])


class Acceptor:
    """Accepts on one listener and makes connections, on the loop.

    :param limit: connections open at once in the engine, None for no limit.
    :param opening: for peers that have something to say before HTTP.
    """

    def __init__(
        self, engine: Engine, listener: socket.socket, limit: int | None, opening: Opening | None = None
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._limit = limit
        self._opening = opening
        self._listening = False
        self._closed = False
        self._back_off: asyncio.TimerHandle | None = None
        self._complain_at = 0.0  # no earlier: a line for each attempt would be ten a second
        self._making: set[asyncio.Task[None]] = set()
        self.address = address_of(listener)
        self._wildcard = isinstance(self.address, tuple) and self.address[0] in ("0.0.0.0", "::")

    def start(self) -> None:
        """Begin to accept."""
        self._engine.on_closed(self._resume)
        if self._opening is not None:
            self._opening.on_room(self._resume)
        forked.watch(self)
        self._resume()

    def _resume(self) -> None:
        if not self._listening and not self._closed and self._back_off is None and self._room():
            self._listening = True
            self._engine.loop.add_reader(self._listener.fileno(), self._accept)

    def _pause(self) -> None:
        if self._listening:
            self._listening = False
            self._engine.loop.remove_reader(self._listener.fileno())

    def _room(self) -> bool:
        if self._opening is not None and not self._opening.room:
            return False
        return self._limit is None or len(self._engine.connections) + len(self._making) < self._limit

    def _accept(self) -> None:
        """The listener is readable."""
        for _ in range(BURST):
            if not self._room():
                self._pause()
                return
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Accept one connection; False when there is none, or no room for it in the system."""
        try:
            accepted, name = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in GONE:
                return True
            self._complain(error)
            self._pause()
            self._back_off = self._engine.loop.call_later(BACK_OFF, self._after_back_off)
            return False
        if accepted.fileno() <= 2:
            try:
                accepted = self._lift(accepted)
            except OSError as error:  # no descriptor is left
                accepted.close()
                self._complain(error)
                return True
        accepted.setblocking(False)
        task = self._engine.loop.create_task(self._make(accepted, name))
        self._making.add(task)
        task.add_done_callback(self._made)
        return True

    def _complain(self, error: OSError) -> None:
        now = self._engine.loop.time()
        if now >= self._complain_at:
            self._complain_at = now + 1.0
            _log.warning("cannot accept connections: %s; trying again every %g s", error.strerror, BACK_OFF)

    def _lift(self, accepted: socket.socket) -> socket.socket:
        """Away from 0, 1 and 2, which an application has closed: what it prints must not go to a client."""
        descriptor = accepted.fileno()
        null = os.open(os.devnull, os.O_RDWR)  # this, too, may be one of the three, and then stays
        try:
            lifted = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError:
            if null > 2:
                os.close(null)
            raise
        accepted.detach()
        os.dup2(null, descriptor)
        if null > 2:
            os.close(null)
        _log.error("descriptor %d was closed by the application and is /dev/null from now on", descriptor)
        return socket.socket(fileno=lifted)

    def _after_back_off(self) -> None:
        self._back_off = None
        self._resume()

    async def _make(self, accepted: socket.socket, name: object) -> None:
        engine = self._engine
        try:
            endpoint = engine.proxies.meet(self._endpoint(accepted, name))
            if endpoint.client is not None:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._opening is not None:
                await self._opening.connect(accepted, endpoint)
            else:
                await engine.loop.connect_accepted_socket(lambda: Connection(engine, endpoint, direct=True), accepted)
        except OSError:
            accepted.close()  # the peer was quicker
        except asyncio.CancelledError:
            accepted.close()
            raise

    def _made(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection could not be made", exc_info=error)
        self._resume()  # while it was made it counted twice, or for nothing

    def _endpoint(self, accepted: socket.socket, name: object) -> Endpoint:
        if isinstance(self.address, str):
            return Endpoint("http", None, (self.address, None))
        server = accepted.getsockname()[:2] if self._wildcard else self.address
        assert isinstance(name, tuple)
        host: str = name[0]
        if host.startswith("::ffff:") and "." in host:  # an IPv4 client of a dual-stack listener
            host = host[7:]
        return Endpoint("http", (host, name[1]), (server[0].removeprefix("::ffff:"), server[1]))

    async def drain(self, handover: bool = False) -> None:
        """Serve what is in the backlog, or leave it to others (`handover`), then close the listener."""
        if self._closed:
            return
        self._pause()
        if self._back_off is not None:
            self._back_off.cancel()
        for _ in range(0 if handover else BACKLOG_MOST):  # others may connect as fast as we accept
            if not self._accept_one():
                break
        self.close()
        if self._making:
            await asyncio.wait(set(self._making), timeout=1.0)
            self._abandon()

    def abort(self) -> None:
        """Close the listener, and what is not a connection yet, at once."""
        self.close()
        self._abandon()

    def _abandon(self) -> None:
        for task in self._making:
            task.cancel()

    def forked(self) -> None:
        """See `dispatch.forked`."""
        self._listener.close()

    def close(self) -> None:
        """Close the listener at once."""
        if self._closed:
            return
        self._pause()
        self._closed = True
        self._listener.close()
