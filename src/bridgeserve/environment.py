"""Options from the environment and from an env file. Roof, below `sources.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridgeserve.layer import PREFIX, ConfigError, Layer, spellings, suggestion, variable_of
from bridgeserve.settings import OPTIONS

# Kubernetes puts variables like these into the environment of a container beside a service named
# "bridgeserve".
_SERVICE_LINK = re.compile(r"(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)")
_SERVICE_LINK_PORT = re.compile(r"(?:tcp|udp|sctp)://.*")
_ENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def environment_layer(environ: Mapping[str, str], source: str) -> Layer:
    """The BRIDGESERVE_* variables.

    An empty one counts as not set; BRIDGESERVE_NO_<FLAG> is the opposite of <FLAG>.

    Raises ConfigError for a variable that is no option.
    """
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, text in environ.items():
        if not key.startswith(PREFIX) or not text:
            continue
        word = key[len(PREFIX) :]
        if _SERVICE_LINK.fullmatch(word) or (word == "PORT" and _SERVICE_LINK_PORT.fullmatch(text)):
            continue
        name = word.lower()
        opposite = name.startswith("no_") and name[3:] in OPTIONS and OPTIONS[name[3:]].kind == "flag"
        if opposite:
            name = name[3:]
        if name not in OPTIONS or word != word.upper():
            hint = suggestion(name, ((spelling, variable_of(field)) for spelling, field in spellings()))
            raise ConfigError(f"{source}: {key} is not an option of bridgeserve{hint}")
        if name in values:
            raise ConfigError(f"{source}: {key} contradicts {keys[name]}; set one of them")
        keys[name] = key
        values[name] = _split(OPTIONS[name].kind, text)
        if opposite:
            values[name] = not Layer(source=source, values=values, keys=keys).read(name)
    return Layer(source=source, values=values, keys=keys)


def _split(kind: str, text: str) -> Any:
    """One variable holds several binds (comma or white space between), reserves (white space), headers and other texts
    (one a line).
    """
    if kind == "bind":
        return [part for part in re.split(r"[,\s]+", text) if part]
    if kind == "reserve":
        return text.split()
    if kind in ("header", "list"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    return text


def read_env_file(path: str, directory: str = ".", label: str = "--env-file") -> dict[str, str]:
    """The NAME=VALUE lines of a file.

    `#` starts a comment line, `export ` is forgiven, one pair of quotes is taken off.

    Raises ConfigError when the file cannot be read or a line is something else; `label` says who has named it.
    """
    try:
        text = Path(directory, path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{label} {path}: cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _ENV_LINE.fullmatch(line)
        if match is None or "\0" in line:
            raise ConfigError(f"{label} {path}, line {number}: not NAME=VALUE")
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[match[1]] = value
    return found
