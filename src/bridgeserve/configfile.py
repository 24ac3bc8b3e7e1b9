"""Options from a TOML file: `bridgeserve.toml`, the table [tool.bridgeserve] of a pyproject.toml, or another file.

Roof, below `sources.py`. A key is the long option without its dashes; underscores will do in the place of
hyphens. Each kind of option has its type in TOML: what is text on the command line is no number here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from bridgeserve.layer import ConfigError, Layer, spellings, suggestion
from bridgeserve.option import Option
from bridgeserve.settings import OPTIONS

FILE = "bridgeserve.toml"
PROJECT = "pyproject.toml"
PROJECT_TABLE = ("tool", "bridgeserve")

# What the types of tomllib are called in TOML, https://toml.io/en/v1.0.0.
_NOUNS = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]*?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*(?:\"([\w-]+)\"|'([\w-]+)'|([\w-]+))\s*=")


def file_layer(path: str | None, directory: str = ".") -> Layer | None:
    """The options of the file `path`; without it those of the first of bridgeserve.toml and pyproject.toml in
    `directory` that has any. None when there is none.

    Raises ConfigError for a file that cannot be read or is not TOML, a key that is no option, and a value of
    another type than the option's.
    """
    if path is not None:
        file = Path(directory, path)
        return _layer(path, _load(path, file), _table_of(file))
    if Path(directory, FILE).is_file():
        return _layer(FILE, _load(FILE, Path(directory, FILE)), ())
    if Path(directory, PROJECT).is_file():
        document = _load(PROJECT, Path(directory, PROJECT))
        if _inner(document[0], PROJECT_TABLE) is not None:
            return _layer(PROJECT, document, PROJECT_TABLE)
    return None


def _table_of(file: Path) -> tuple[str, ...]:
    return PROJECT_TABLE if file.name == PROJECT else ()


def _load(name: str, file: Path) -> tuple[dict[str, Any], str]:
    """The document and its text."""
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config file {name}: not TOML: {error}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a NUL in the name
        raise ConfigError(f"config file {name}: cannot be read: {error}") from None


def _inner(document: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What is at `path`, or None."""
    found: Any = document
    for word in path:
        found = found.get(word) if isinstance(found, dict) else None
    return found


def _layer(name: str, document: tuple[dict[str, Any], str], path: tuple[str, ...]) -> Layer:
    source = f"config file {name}"
    table = _inner(document[0], path)
    if not isinstance(table, dict):
        said = "is missing" if table is None else "is not a table"
        raise ConfigError(f"{source}: [{'.'.join(path)}] {said}")
    lines = _lines(document[1], path)
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for key, value in table.items():
        option = key.replace("-", "_")
        where = f"{source}, line {lines[key]}" if key in lines else source
        full = ".".join((*path, key))
        if option not in OPTIONS:
            hint = suggestion(option, ((spelling, field.replace("_", "-")) for spelling, field in spellings()))
            raise ConfigError(f"{where}: {full} is not an option of bridgeserve{hint}")
        if option in values:
            raise ConfigError(f"{where}: {full} contradicts {keys[option]}; keep one of them")
        if option == "config":
            raise ConfigError(f"{where}: {full}: a config file cannot name another one")
        _check_type(f"{where}: {full}", OPTIONS[option], value)
        values[option], keys[option] = value, full
        if key in lines:
            numbers[option] = lines[key]
    return Layer(source=source, values=values, keys=keys, lines=numbers)


def _check_type(label: str, option: Option, value: object) -> None:
    kind = option.kind
    if kind in ("flag", "switch"):
        fits, allowed = isinstance(value, bool), "true, false"
    elif kind == "int":
        fits, allowed = isinstance(value, int) and not isinstance(value, bool), option.allowed
    elif kind == "float":
        fits, allowed = isinstance(value, (int, float)) and not isinstance(value, bool), option.allowed
    elif option.many:
        entries = value if isinstance(value, list) else [value]
        fits = all(isinstance(entry, str) for entry in entries)
        allowed = f"a string or an array of strings, each {option.allowed}"
    else:
        fits, allowed = isinstance(value, str), option.allowed if option.choices else f"a string, {option.allowed}"
    if not fits:
        raise ConfigError(f"{label}: {_noun(value)} is not allowed; allowed: {allowed}")


def _noun(value: object) -> str:
    noun = next((noun for kind, noun in _NOUNS.items() if isinstance(value, kind)), "a date or time")
    plain = isinstance(value, (bool, int, float, str))
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{noun} ({shown})" if plain else noun


def _lines(text: str, path: tuple[str, ...]) -> dict[str, int]:
    """The line of each key of the table at `path`, as far as it can be told from the text.

    tomllib tells no positions. A key whose spelling occurs twice at the beginning of a line (the other one may
    be in a string of many lines) has none: no line is better than a wrong one.
    """
    found: dict[str, int] = {}
    twice: set[str] = set()
    here: tuple[str, ...] | None = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header is not None:
            here = tuple(part.strip(" \t\"'") for part in header[1].split("."))
            continue
        match = _KEY.match(line) if here == path else None
        if match is not None:
            key = match[1] or match[2] or match[3]
            if key in found:
                twice.add(key)
            found[key] = number
    return {key: number for key, number in found.items() if key not in twice}
