"""Reading one value of one option: text from a person, or an object from Python code.

Roof, beside `sources.py`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from bridgeserve.binds import parse_bind, tcp_bind
from bridgeserve.observe.access import compile_format
from bridgeserve.option import Option
from bridgeserve.settings import OPTIONS
from bridgeserve.wire.forwarded import read_names
from bridgeserve.wire.trust import Trust

_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
# RFC 9110 5.6.2 (token) and 5.5 (field values without controls; obs-text is latin-1).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# The framing of a response is never the same for every response.
_FRAMING = frozenset({"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


def read_value(name: str, raw: object) -> Any:
    """The value of the option `name`. Raises ValueError that says what is allowed."""
    option = OPTIONS[name]
    value = _READERS[option.kind](option, raw)
    check = _CHECKS.get(name)
    return value if check is None else check(value)


def _refuse(option: Option, raw: object) -> ValueError:
    return ValueError(f"{raw!r} is not allowed; allowed: {option.allowed}")


def _number(option: Option, raw: object) -> int | float:
    value: int | float
    # bool is an int to Python, but `threads=True` is a mistake.
    if isinstance(raw, bool):
        raise _refuse(option, raw)
    if isinstance(raw, str):
        text = raw.strip()
        pattern = _WHOLE if option.kind == "int" else _DECIMAL
        if not pattern.fullmatch(text):
            raise _refuse(option, raw)
        value = int(text) if option.kind == "int" else float(text)
    elif isinstance(raw, int):
        value = raw if option.kind == "int" else float(raw)
    elif isinstance(raw, float) and option.kind == "float" and math.isfinite(raw):
        value = raw
    else:
        raise _refuse(option, raw)
    low = option.minimum is not None and value < option.minimum and not (option.zero and value == 0)
    if low or (option.maximum is not None and value > option.maximum):
        raise _refuse(option, raw)
    return value


def _switch(option: Option, raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in _ON | _OFF:
        return raw.strip().lower() in _ON
    raise _refuse(option, raw)


def _choice(option: Option, raw: object) -> str:
    if isinstance(raw, str) and raw.strip().lower() in option.choices:
        return raw.strip().lower()
    raise _refuse(option, raw)


def _text(option: Option, raw: object) -> str:
    if not isinstance(raw, str) or "\0" in raw:
        raise _refuse(option, raw)
    return raw


def _path(option: Option, raw: object) -> str:
    path = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
    if not isinstance(path, str) or not path or "\0" in path:
        raise _refuse(option, raw)
    return path


def _many(option: Option, raw: object) -> tuple[str, ...]:
    entries = [raw] if isinstance(raw, str) else raw
    if not isinstance(entries, Sequence) or not all(isinstance(entry, str) for entry in entries):
        raise _refuse(option, raw)
    check = {"bind": _bind, "header": _header, "reserve": _reserve}.get(option.kind, _text)
    return tuple(check(option, entry) for entry in entries)


def _bind(option: Option, entry: str) -> str:
    parse_bind(entry)
    return entry.strip()


def _header(option: Option, entry: str) -> str:
    name, colon, value = entry.partition(":")
    name, value = name.strip(" \t"), value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise ValueError(
            f"{entry!r} is not allowed; allowed: NAME:VALUE, the name a token, the value without control characters"
        )
    if name.lower() in _FRAMING:
        raise ValueError(f"{name} cannot be set: the server decides it for each response")
    return f"{name}: {value}"


def _reserve(option: Option, entry: str) -> str:
    pattern, colon, number = entry.rpartition(":")
    if not colon or not pattern.startswith(("/", "*")) or not _WHOLE.fullmatch(number) or int(number) < 1:
        raise _refuse(option, entry)
    return f"{pattern}:{int(number)}"


def _root_path(value: str) -> str:
    # PEP 3333: SCRIPT_NAME is empty or starts with a slash, and PATH_INFO begins where it ends.
    if value and not value.startswith("/"):
        raise ValueError(f"{value!r} is not allowed; allowed: nothing, or a path that starts with /")
    return value.rstrip("/")


def _host(value: str) -> str:
    tcp_bind(value, 0)
    return value


# ssl.CERT_NONE, CERT_OPTIONAL and CERT_REQUIRED, which other servers take as numbers.
_CERT_REQS = {"0": "none", "1": "optional", "2": "required"}


def _cert_reqs(value: str) -> str:
    word = value.strip().lower()
    word = _CERT_REQS.get(word, word)
    if word not in _CERT_REQS.values():
        raise ValueError(f"{value!r} is not allowed; allowed: none, optional, required")
    return word


def _trusted(value: str) -> str:
    Trust.parse(value)
    return value


def _forwarded_names(value: str) -> str:
    read_names(value)
    return value


def _access_format(value: str) -> str:
    compile_format(value)
    return value


def _binds(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("at least one address is needed")
    fixed = [each for each in value if not each.endswith(":0")]  # port 0 is another port each time
    if len(set(fixed)) != len(fixed):
        raise ValueError("the same address is given twice")
    return value


_READERS: dict[str, Callable[[Option, object], Any]] = {
    "int": _number,
    "float": _number,
    "flag": _switch,
    "switch": _switch,
    "choice": _choice,
    "text": _text,
    "path": _path,
    "bind": _many,
    "header": _many,
    "list": _many,
    "reserve": _many,
}

_CHECKS: dict[str, Callable[[Any], Any]] = {
    "root_path": _root_path,
    "host": _host,
    "access_log_format": _access_format,
    "forwarded_allow_ips": _trusted,
    "ssl_cert_reqs": _cert_reqs,
    "forwarded_headers": _forwarded_names,
    "bind": _binds,
}
