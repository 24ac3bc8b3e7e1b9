"""Lines of the access log: from a format to a function of a record.

The atoms are those that gunicorn's documentation names, so that an old format keeps its meaning.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from collections.abc import Callable
from typing import TypeAlias

from bridgeserve.observe.records import RequestRecord

Line: TypeAlias = Callable[[RequestRecord], str]

COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'
COMBINED = COMMON + ' "%(f)s" "%(a)s"'

_ATOM = re.compile(r"%(?:%|\((?:\{(?P<named>[^{}()]+)\}(?P<where>[ioe])|(?P<atom>[A-Za-z_]+))\)[sd])")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PLAIN = frozenset(range(0x20, 0x7F)) - {0x22, 0x5C}
_ESCAPES = {code: f"\\x{code:02x}" for code in range(256) if code not in _PLAIN}


def escape(octets: bytes) -> str:
    """Printable ASCII as it is; controls, quotes, backslashes and everything else as \\xNN."""
    return octets.decode("latin-1").translate(_ESCAPES)


def _escape_text(text: str) -> str:
    return escape(text.encode("utf-8", "surrogateescape"))


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    """All values of a header, or "-". Names of responses may come in any case."""
    found = [value for key, value in headers if key.lower() == name]
    return escape(b", ".join(found)) if found else "-"


def _host(record: RequestRecord) -> str:
    return _escape_text(record.client[0]) if record.client and record.client[0] else "-"


def _peer(record: RequestRecord) -> str:
    if not record.client or not record.client[0]:
        return "-"
    host, port = record.client
    if not port:  # a proxy has told the address alone
        return _escape_text(host)
    return f"[{_escape_text(host)}]:{port}" if ":" in host else f"{_escape_text(host)}:{port}"


def _user(record: RequestRecord) -> str:
    """The user of Basic credentials (RFC 7617), which nobody has verified here."""
    for name, value in record.request.headers:
        if name == b"authorization":
            scheme, _, credentials = value.partition(b" ")
            if scheme.lower() != b"basic":
                return "-"
            try:
                user = base64.b64decode(credentials.strip(), validate=True).partition(b":")[0]
            except (binascii.Error, ValueError):
                return "-"
            # White space would move every later column.
            return escape(user).replace(" ", "\\x20") or "-"
    return "-"


def _time(record: RequestRecord) -> str:
    now = time.localtime(record.wall)
    minutes = now.tm_gmtoff // 60
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    # strftime would use the month names of the locale.
    day = f"{now.tm_mday:02d}/{_MONTHS[now.tm_mon - 1]}/{now.tm_year}"
    return f"[{day}:{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d} {zone}]"


def _request_line(record: RequestRecord) -> str:
    request = record.request
    return f"{escape(request.method)} {escape(request.target)} HTTP/{request.version}"


_ATOMS: dict[str, Line] = {
    "h": _host,
    "l": lambda record: "-",
    "u": _user,
    "t": _time,
    "r": _request_line,
    "s": lambda record: str(record.status),
    "m": lambda record: escape(record.request.method),
    "U": lambda record: escape(record.request.target.partition(b"?")[0]),
    "q": lambda record: escape(record.request.target.partition(b"?")[2]),
    "H": lambda record: f"HTTP/{record.request.version}",
    "b": lambda record: str(record.body_bytes) if record.body_bytes else "-",
    "B": lambda record: str(record.body_bytes),
    "f": lambda record: _header(record.request.headers, b"referer"),
    "a": lambda record: _header(record.request.headers, b"user-agent"),
    "T": lambda record: str(int(record.duration)),
    "M": lambda record: str(int(record.duration * 1e3)),
    "D": lambda record: str(int(record.duration * 1e6)),
    "L": lambda record: f"{record.duration:.6f}",
    "p": lambda record: f"<{os.getpid()}>",
    # Not gunicorn's.
    "queue_ms": lambda record: f"{record.queue * 1e3:.3f}",
    "app_ms": lambda record: f"{record.app * 1e3:.3f}",
    "bytes_in": lambda record: str(record.body_in),
    "bytes_out": lambda record: str(record.body_bytes),
    "request_id": lambda record: record.request_id or "-",
}


def _named(name: str, where: str) -> Line:
    """%({name}i)s a request header, %({name}o)s a response header, %({name}e)s a variable: HTTP_* or of the
    process.
    """
    key = name.lower().encode("latin-1", "replace")
    if where == "i":
        return lambda record: _header(record.request.headers, key)
    if where == "o":
        return lambda record: _header(record.headers, key)
    if name.startswith("HTTP_"):
        wanted = key[5:].replace(b"_", b"-")
        return lambda record: _header(record.request.headers, wanted)
    return lambda record: _escape_text(os.environ.get(name, "-"))


def _default(record: RequestRecord) -> str:
    """127.0.0.1:40123 "GET / HTTP/1.1" 200 12 0.4ms, and `cut` where the client did not get the whole
    response.
    """
    tail = " cut" if record.cut else ""
    sent = f"{record.status} {record.body_bytes} {record.duration * 1e3:.1f}ms"
    return f'{_peer(record)} "{_request_line(record)}" {sent}{tail}'


def _first(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((_text(value) for key, value in headers if key.lower() == name), None)


def _text(octets: bytes) -> str:
    """Text for JSON, which escapes by itself."""
    return octets.decode("utf-8", "backslashreplace").replace("\x7f", "\\x7f")


def _json(record: RequestRecord) -> str:
    request = record.request
    path, _, query = request.target.partition(b"?")
    moment = time.gmtime(record.wall)
    line: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{int(record.wall % 1 * 1000):03d}Z",
        "client": record.client[0] if record.client else None,
        "port": record.client[1] if record.client else None,
        "method": _text(request.method),
        "path": _text(path),
        "query": _text(query),
        "protocol": f"HTTP/{request.version}",
        "status": record.status,
        "bytes": record.body_bytes,
        "bytes_in": record.body_in,
        "ms": round(record.duration * 1e3, 3),
        "queue_ms": round(record.queue * 1e3, 3),
        "app_ms": round(record.app * 1e3, 3),
        "referer": _first(request.headers, b"referer"),
        "user_agent": _first(request.headers, b"user-agent"),
        "cut": record.cut,
        "pid": os.getpid(),
    }
    if record.request_id:
        line["request_id"] = record.request_id
    return json.dumps(line, separators=(",", ":"))  # ASCII only: no line separator of any kind gets through


def compile_format(format: str) -> Line:
    """The function that writes a record as one line (without its end).

    Raises ValueError for an empty format, control characters in it, and atoms that nobody knows.
    """
    if format == "default":
        return _default
    if format == "json":
        return _json
    format = {"common": COMMON, "combined": COMBINED}.get(format, format)
    if not format.strip() or not format.isprintable():
        raise ValueError(
            "an access log format is one line of text with atoms such as %(h)s,"
            " or one of default, common, combined, json"
        )
    parts: list[Line] = []
    end = 0
    for match in _ATOM.finditer(format):
        _literal(format[end : match.start()], parts)
        end = match.end()
        if match.group() == "%%":
            _literal_text("%", parts)
        elif match["named"]:
            parts.append(_named(match["named"], match["where"]))
        elif match["atom"] in _ATOMS:
            parts.append(_ATOMS[match["atom"]])
        else:
            raise ValueError(f"{match.group()} is not an atom; allowed: {_known()}")
    _literal(format[end:], parts)
    return lambda record: "".join([part(record) for part in parts])


def _known() -> str:
    return (
        " ".join(f"%({atom})s" for atom in _ATOMS)
        + " %({name}i)s %({name}o)s %({name}e)s, or default, common, combined, json"
    )


def _literal(text: str, parts: list[Line]) -> None:
    if "%" in text:
        raise ValueError(f"{text[text.index('%') :]!r} is not an atom; allowed: {_known()}")
    _literal_text(text, parts)


def _literal_text(text: str, parts: list[Line]) -> None:
    if text:
        parts.append(lambda record: text)
