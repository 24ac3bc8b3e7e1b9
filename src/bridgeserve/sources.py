"""From words to `Settings`: command line > BRIDGESERVE_<OPTION> > --env-file > PORT > default.

Every value keeps the name of its origin, and every refusal names the source, the key and what is allowed.
Reading one value is `values.py`; here the sources are put in their order. The Python API reads no
environment: what the code says is what counts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridgeserve.settings import OPTIONS, Settings
from bridgeserve.values import read_value

PREFIX = "BRIDGESERVE_"

# The four ways to say where to listen. They exclude each other; a stronger source silences the ways of a
# weaker one.
_BIND_WAYS = (("bind",), ("host", "port"), ("uds",), ("fd",))
_BIND_FIELDS = frozenset(name for way in _BIND_WAYS for name in way)

# Kubernetes puts variables like these into the environment of a container beside a service named
# "bridgeserve".
_SERVICE_LINK = re.compile(r"(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)")
_SERVICE_LINK_PORT = re.compile(r"(?:tcp|udp|sctp)://.*")
_ENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


class ConfigError(Exception):
    """A wrong option: an unknown name, a value that is not allowed, or two that exclude each other.

    Exit code 2.
    """


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One source. values are by field name; keys are the words that the user typed for them."""

    source: str
    values: Mapping[str, Any]
    keys: Mapping[str, str]

    def label(self, name: str) -> str:
        """The source and the key, as errors and origins show them."""
        return f"{self.source}: {self.keys[name]}"


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """Settings, the origin of each value by field name, and the variables that the env file adds to the
    environment.
    """

    settings: Settings
    origins: Mapping[str, str]
    environment: Mapping[str, str]


def flag_of(name: str) -> str:
    """The long option of a field: limit_queue -> --limit-queue."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable of a field: limit_queue -> BRIDGESERVE_LIMIT_QUEUE."""
    return PREFIX + name.upper()


def _suggestion(word: str, spell: Iterable[tuple[str, str]]) -> str:
    """ "; did you mean X?" for the nearest of (known spelling, what to propose), or ""."""
    known = dict(spell)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {known[near[0]]}?" if near else ""


def _spellings() -> Iterable[tuple[str, str]]:
    """Each way to write an option as an identifier, with the field that it means."""
    for name, option in OPTIONS.items():
        for alias in option.aliases:
            if alias.startswith("--"):
                yield alias[2:].replace("-", "_"), name
        yield name, name


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
            hint = _suggestion(name, ((spelling, variable_of(field)) for spelling, field in _spellings()))
            raise ConfigError(f"{source}: {key} is not an option of bridgeserve{hint}")
        if name in values:
            raise ConfigError(f"{source}: {key} contradicts {keys[name]}; set one of them")
        keys[name] = key
        values[name] = _split(OPTIONS[name].kind, text)
        if opposite:
            values[name] = not _read(Layer(source=source, values=values, keys=keys), name)
    return Layer(source=source, values=values, keys=keys)


def _split(kind: str, text: str) -> Any:
    """One variable holds several binds (comma or white space between) or several headers (one a line)."""
    if kind == "bind":
        return [part for part in re.split(r"[,\s]+", text) if part]
    if kind == "header":
        return [line.strip() for line in text.splitlines() if line.strip()]
    return text


def read_env_file(path: str) -> dict[str, str]:
    """The NAME=VALUE lines of a file.

    `#` starts a comment line, `export ` is forgiven, one pair of quotes is taken off.

    Raises ConfigError when the file cannot be read or a line is something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"--env-file {path}: cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _ENV_LINE.fullmatch(line)
        if match is None or "\0" in line:
            raise ConfigError(f"--env-file {path}, line {number}: not NAME=VALUE")
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[match[1]] = value
    return found


def _read(layer: Layer, name: str) -> Any:
    """The checked value of a field in a layer. Raises ConfigError."""
    try:
        return read_value(name, layer.values[name])
    except ValueError as error:
        raise ConfigError(f"{layer.label(name)}: {error}") from None


def _choose_bind(layers: list[Layer]) -> tuple[str, ...]:
    """The way to listen that counts: the one of the strongest layer that names any.

    Raises ConfigError for two in one layer.
    """
    for layer in layers:
        ways = [way for way in _BIND_WAYS if any(name in layer.values for name in way)]
        if len(ways) > 1:
            given = ", ".join(layer.keys[name] for way in ways for name in way if name in layer.values)
            raise ConfigError(
                f"{layer.source}: {given} exclude each other; allowed: several binds, or host and port, or uds, or fd"
            )
        if ways:
            return ways[0]
    return ()


def merge(layers: list[Layer], port: str = "") -> tuple[Settings, dict[str, str]]:
    """Settings and the origin of each value. `layers` are strongest first; `port` is $PORT, the weakest.

    A value of None counts as not given. Raises ConfigError.
    """
    layers = [
        Layer(source=each.source, keys=each.keys, values={k: v for k, v in each.values.items() if v is not None})
        for each in layers
    ]
    way = _choose_bind(layers)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name in layer.values:
            if name in values or (name in _BIND_FIELDS and name not in way):
                continue
            values[name] = _read(layer, name)
            origins[name] = layer.label(name)
    if port and "port" not in values and way in ((), ("host", "port")):
        last = Layer(source="environment", values={"port": port}, keys={"port": "PORT"})
        values["port"] = _read(last, "port")
        values.setdefault("host", "0.0.0.0")
        origins["port"] = last.label("port")
        origins.setdefault("host", last.label("port"))
    _fold_bind(values, origins)
    return Settings(**values), {name: origins.get(name, "default") for name in OPTIONS}


def _fold_bind(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Show a bind in uvicorn's words as `bind` too, so that there is one place to look at.

    Raises ConfigError.
    """
    given = [name for name in ("uds", "fd", "host", "port") if name in values]
    if not given:
        return
    try:
        binds = Settings(**values).binds
    except ValueError as error:
        raise ConfigError(f"{origins[given[0]]}: {error}") from None
    values["bind"] = tuple(str(bind) for bind in binds)
    origins["bind"] = origins[given[-1]]


def from_command_line(given: Mapping[str, Any], environ: Mapping[str, str]) -> Sourced:
    """What `bridgeserve ...` was told. `given` are the options by field name, None where not typed.

    The environment wins over the env file, as it does for every program that reads such files. Raises
    ConfigError.
    """
    typed = {name: value for name, value in given.items() if value is not None and value != ()}
    command = Layer(source="command line", values=typed, keys={name: flag_of(name) for name in typed})
    outer = environment_layer(environ, "environment")
    layers = [command, outer]
    extra: dict[str, str] = {}
    path = next((_read(layer, "env_file") for layer in layers if "env_file" in layer.values), None)
    if path is not None:
        extra = {key: value for key, value in read_env_file(path).items() if key not in environ}
        inner = environment_layer(extra, f"env file {path}")
        if "env_file" in inner.values:
            raise ConfigError(f"{inner.label('env_file')}: an env file cannot name another one")
        layers.append(inner)
    settings, origins = merge(layers, environ.get("PORT") or extra.get("PORT", ""))
    return Sourced(settings=settings, origins=origins, environment=extra)


def from_options(**options: Any) -> Settings:
    """Settings from the keyword options of the Python API: the fields of `Settings`, `bind` also as one
    string.

    None counts as not given. Raises ConfigError for an unknown option or a value that is not allowed.
    """
    for name in options:
        if name not in OPTIONS:
            hint = _suggestion(name, _spellings())
            raise ConfigError(f"keyword option: {name} is not an option of bridgeserve{hint}")
    layer = Layer(source="keyword option", values=options, keys={name: name for name in options})
    return merge([layer])[0]
