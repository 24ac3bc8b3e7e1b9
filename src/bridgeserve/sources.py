"""From words to `Settings`: command line > BRIDGESERVE_<OPTION> > --env-file > config file > WEB_CONCURRENCY, PORT
and FORWARDED_ALLOW_IPS > default.

Every value keeps the name of its origin, and every refusal names the source, the key and what is allowed.
Reading one value is `values.py`, reading one source `environment.py` and `configfile.py`; here the sources are
put in their order. The Python API reads no environment: what the code says is what counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridgeserve.configfile import file_layer
from bridgeserve.environment import environment_layer, read_env_file
from bridgeserve.layer import PREFIX, ConfigError, Layer, flag_of, spellings, suggestion, variable_of
from bridgeserve.settings import OPTIONS, Settings

__all__ = ["PREFIX", "ConfigError", "Layer", "Sourced", "Sources", "flag_of", "from_options", "variable_of"]

# The four ways to say where to listen. They exclude each other; a stronger source silences the ways of a
# weaker one.
_BIND_WAYS = (("bind",), ("host", "port"), ("uds",), ("fd",))
_BIND_FIELDS = frozenset(name for way in _BIND_WAYS for name in way)


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """Settings, the origin of each value by field name, and the variables that the env file adds to the
    environment.
    """

    settings: Settings
    origins: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def binds_given(self) -> bool:
        """Has any source said where to listen?"""
        return self.origins["bind"] != "default"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a command takes its options from, kept as it was at the start, so that they can be read again.

    given: the options of the command line by field name, None where not typed. environ: the environment before
    an env file was put into it. directory: the current one, before --chdir; files are looked for there.
    """

    given: Mapping[str, Any]
    environ: Mapping[str, str]
    directory: str = "."

    @classmethod
    def of_process(cls, given: Mapping[str, Any]) -> Sources:
        """Those of this process as it is now."""
        return cls(given=dict(given), environ=dict(os.environ), directory=os.getcwd())

    def read(self) -> Sourced:
        """Read every source. Changes nothing, so it may be called again (on HUP) and in any thread.

        The environment wins over the env file, as it does for every program that reads such files. Raises
        ConfigError.
        """
        typed = {name: value for name, value in self.given.items() if value is not None and value != ()}
        command = Layer(source="command line", values=typed, keys={name: flag_of(name) for name in typed})
        outer = environment_layer(self.environ, "environment")
        layers = [command, outer]
        file = file_layer(_first(layers, "config"), self.directory)
        extra: dict[str, str] = {}
        known = [*layers, file] if file else layers
        path = _first(known, "env_file")
        if path is not None:
            label = next(layer.label("env_file") for layer in known if "env_file" in layer.values)
            found = read_env_file(path, self.directory, label)
            extra = {key: value for key, value in found.items() if key not in self.environ}
            inner = environment_layer(extra, f"env file {path}")
            for name in ("env_file", "config"):
                if name in inner.values:
                    said = "another one" if name == "env_file" else "a config file"
                    raise ConfigError(f"{inner.label(name)}: an env file cannot name {said}")
            layers.append(inner)
        if file is not None:
            layers.append(file)
        settings, origins = merge(layers, {**extra, **self.environ})
        return Sourced(settings=settings, origins=origins, environment=extra)


def _first(layers: list[Layer], name: str) -> Any:
    """The checked value of a field in the strongest layer that has it, or None. Raises ConfigError."""
    return next((layer.read(name) for layer in layers if name in layer.values), None)


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


def merge(layers: list[Layer], environ: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
    """Settings and the origin of each value. `layers` are strongest first; `environ` has the variables that many
    programs share, the weakest.

    A value of None counts as not given. Raises ConfigError.
    """
    shared = _shared_layer(environ or {})
    layers = [
        Layer(
            source=each.source,
            keys=each.keys,
            values={k: v for k, v in each.values.items() if v is not None},
            lines=each.lines,
        )
        for each in (*layers, shared)
    ]
    way = _choose_bind(layers)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name in layer.values:
            if name in values or (name in _BIND_FIELDS and name not in way):
                continue
            values[name] = layer.read(name)
            origins[name] = layer.label(name)
            if layer is layers[-1] and name == "port" and "host" not in values:
                values["host"], origins["host"] = "0.0.0.0", origins["port"]
    _fold_bind(values, origins)
    return Settings(**values), {name: origins.get(name, "default") for name in OPTIONS}


def _shared_layer(environ: Mapping[str, str]) -> Layer:
    """The variables that are not ours alone, such as PORT, as the table of options names them."""
    keys = {name: option.shared for name, option in OPTIONS.items() if option.shared and environ.get(option.shared)}
    return Layer(source="environment", values={name: environ[key] for name, key in keys.items()}, keys=keys)


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


def from_command_line(given: Mapping[str, Any], environ: Mapping[str, str], directory: str = ".") -> Sourced:
    """What `bridgeserve ...` was told: `Sources.read`, once. Raises ConfigError."""
    return Sources(given=given, environ=environ, directory=directory).read()


def from_options(**options: Any) -> Settings:
    """The settings of `from_keywords`."""
    return from_keywords(options).settings


def from_keywords(options: Mapping[str, Any]) -> Sourced:
    """Settings from the keyword options of the Python API: the fields of `Settings`, `bind` also as one
    string. A file is read only where `config` names it.

    None counts as not given. Raises ConfigError for an unknown option or a value that is not allowed.
    """
    for name in options:
        if name not in OPTIONS:
            hint = suggestion(name, spellings())
            raise ConfigError(f"keyword option: {name} is not an option of bridgeserve{hint}")
    given = {name: value for name, value in options.items() if value is not None}
    layer = Layer(source="keyword option", values=given, keys={name: name for name in given})
    if "env_file" in given:
        raise ConfigError("keyword option: env_file is for the command; a program sets its environment itself")
    file = file_layer(layer.read("config")) if "config" in given else None
    settings, origins = merge([layer] if file is None else [layer, file])
    return Sourced(settings=settings, origins=origins, environment={})
