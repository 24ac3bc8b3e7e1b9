"""What a bind string means. Ground: plain data, no sockets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

ALLOWED = "HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH, unix:PATH?mode=660&user=NAME&group=NAME or fd://N"

_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[^\s:/\[\]]*)):(?P<port>[0-9]{1,5})")
_HOST = re.compile(r"[^\s/\[\]\0]*")
# What may stand behind the ? of a unix bind. Names as useradd(8) allows them, or numbers.
_FILE = {"mode": re.compile(r"0?[0-7]{3}"), "user": re.compile(r"[\w.-]{1,64}"), "group": re.compile(r"[\w.-]{1,64}")}


@dataclass(frozen=True, kw_only=True)
class Bind:
    """One place to listen at.

    kind: "tcp" (host, port; an empty host means all interfaces), "unix" (path; mode: permission bits or None; user and
    group: owners of the file, "" for ours) or "fd" (an inherited descriptor that listens already or is bound).
    """

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int | None = None
    user: str = ""
    group: str = ""
    fd: int = -1

    def __str__(self) -> str:
        if self.kind == "unix":
            facts = [f"mode={self.mode:o}"] if self.mode is not None else []
            facts += [f"{name}={value}" for name, value in (("user", self.user), ("group", self.group)) if value]
            return f"unix:{self.path}" + ("?" + "&".join(facts) if facts else "")
        if self.kind == "fd":
            return f"fd://{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def tcp_bind(host: str, port: int) -> Bind:
    """A TCP bind from a host (with or without the brackets of an IPv6 address) and a port.

    Raises ValueError for a port outside 0..65535 and for what cannot be a host.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"the port {port} is not in 0..65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name or an address")
    return Bind(kind="tcp", host=host, port=port)


def _unix_bind(text: str) -> Bind:
    path, mark, query = text.partition("?")
    if path.startswith("//"):  # unix:///run/app.sock is the same as unix:/run/app.sock
        path = path[2:]
    if not path or "\0" in path:
        raise ValueError("a unix bind needs a path, e.g. unix:/run/app.sock")
    if not mark:
        return Bind(kind="unix", path=path)
    pairs = parse_qsl(query, keep_blank_values=True)
    facts = dict(pairs)
    known = all(name in _FILE and _FILE[name].fullmatch(value) for name, value in pairs)
    if not pairs or not known or len(facts) != len(pairs):
        raise ValueError(
            f"after ? only mode=NNN (three octal digits), user=NAME and group=NAME are known, once each, not {query!r}"
        )
    mode = int(facts["mode"], 8) if "mode" in facts else None
    return Bind(kind="unix", path=path, mode=mode, user=facts.get("user", ""), group=facts.get("group", ""))


def parse_bind(text: str) -> Bind:
    """Read one bind string.

    `:PORT` means all interfaces. Port 0 lets the system choose. Raises ValueError that says what is allowed.
    """
    text = text.strip()
    if text.startswith("unix:"):
        return _unix_bind(text[5:])
    if text.startswith("fd://"):
        if not (text[5:].isascii() and text[5:].isdecimal()):
            raise ValueError(f"fd:// needs a descriptor number, not {text[5:]!r}")
        return Bind(kind="fd", fd=int(text[5:]))
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an address to bind; allowed: {ALLOWED}")
    return tcp_bind(match["six"] or match["name"], int(match["port"]))
