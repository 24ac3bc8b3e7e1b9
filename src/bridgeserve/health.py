"""Ask the server of this container how it is: `python -m bridgeserve.health [PATH]`. Roof, beside `cli.py`.

For a HEALTHCHECK in an image that has neither curl nor a shell. Where the server listens is read as the
server reads it, from the environment (BRIDGESERVE_BIND, PORT and the like) and the TOML file of the current
directory; what its command line said is not known here. PATH is "/" when it is left out.

Exit code 0: an answer below 500 came within two seconds. Even 404 and 400 say that server and app are awake.
Exit code 1: anything else, with the reason on stderr. Docker and Podman keep it (`inspect`).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import sys
import time

from bridgeserve.binds import Bind
from bridgeserve.sources import ConfigError, from_command_line

LIMIT = 2.0
# RFC 9112 4: HTTP-version SP status-code SP.
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_LONGEST_LINE = 4096
# The PROXY protocol, version 1: the peer itself is the client.
_UNKNOWN = b"PROXY UNKNOWN\r\n"


def ask(bind: Bind, path: str = "/", limit: float = LIMIT, secure: bool = False, proxied: bool = False) -> int:
    """The status code that the server behind `bind` answers to a GET of `path`. `secure`: over TLS, with whatever
    certificate it has; `proxied`: with a PROXY header in front.

    All of it takes `limit` seconds at most. Raises OSError (TimeoutError among them) when no answer comes,
    ValueError for a bind that nobody can connect to and for an answer that is not HTTP.
    """
    deadline = time.monotonic() + limit
    # HTTP/1.0: no interim answer comes before the real one (RFC 9110 15.2), and the connection ends after it.
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: bridgeserve-health\r\n\r\n"
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(_connect(bind, limit))
        peer.settimeout(_left(deadline))
        if proxied:
            peer.sendall(_UNKNOWN)
        if secure:
            peer = stack.enter_context(_secured(peer))
            peer.settimeout(_left(deadline))
        peer.sendall(request.encode("ascii"))
        head = b""
        while b"\n" not in head and len(head) < _LONGEST_LINE:
            peer.settimeout(_left(deadline))
            data = peer.recv(_LONGEST_LINE)
            if not data:
                break
            head += data
    match = _STATUS_LINE.match(head)
    if match is None:
        raise ValueError(f"not an HTTP answer: {head[:40]!r}")
    return int(match[1])


def _secured(peer: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(peer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _connect(bind: Bind, limit: float) -> socket.socket:
    if bind.kind == "fd" or (bind.kind == "tcp" and bind.port == 0):
        raise ValueError(f"{bind} does not tell where to connect")
    if bind.kind == "unix":
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.settimeout(limit)
            peer.connect(bind.path)
        except BaseException:
            # Whatever ended the attempt: a socket that nobody will own is closed here.
            peer.close()
            raise
        return peer
    # A wildcard address is for listening; the same interface answers on loopback.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind.host, bind.host)
    return socket.create_connection((host, bind.port), timeout=limit)


def main(arguments: list[str]) -> int:
    """The exit code of the command; its reason goes to stderr when it is not 0."""
    path = arguments[0] if arguments else "/"
    if len(arguments) > 1 or not re.fullmatch(r"/[!-~]*", path):
        sys.stderr.write("usage: python -m bridgeserve.health [PATH]\n")
        return 1
    try:
        settings = from_command_line({}, os.environ).settings
        secure, proxied = settings.tls is not None, settings.proxy_protocol
        status = ask(settings.binds[0], path, secure=secure, proxied=proxied)
    except (ConfigError, OSError, ValueError) as error:
        sys.stderr.write(f"unhealthy: {error}\n")
        return 1
    if status >= 500:
        sys.stderr.write(f"unhealthy: the answer was {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
