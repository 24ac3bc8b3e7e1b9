"""What a source of options is, and the spellings of an option. Roof, below `sources.py`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridgeserve.settings import OPTIONS
from bridgeserve.values import read_value

PREFIX = "BRIDGESERVE_"


class ConfigError(Exception):
    """A wrong option: an unknown name, a value that is not allowed, or two that exclude each other.

    Exit code 2.
    """


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One source. values are by field name; keys are the words that the user typed for them, lines where in a
    file they stand (not for every key).
    """

    source: str
    values: Mapping[str, Any]
    keys: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """The source, the line and the key, as errors and origins show them."""
        line = f", line {self.lines[name]}" if name in self.lines else ""
        return f"{self.source}{line}: {self.keys[name]}"

    def read(self, name: str) -> Any:
        """The checked value of a field. Raises ConfigError."""
        try:
            return read_value(name, self.values[name])
        except ValueError as error:
            raise ConfigError(f"{self.label(name)}: {error}") from None


def flag_of(name: str) -> str:
    """The long option of a field: limit_queue -> --limit-queue."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable of a field: limit_queue -> BRIDGESERVE_LIMIT_QUEUE."""
    return PREFIX + name.upper()


def suggestion(word: str, spell: Iterable[tuple[str, str]]) -> str:
    """ "; did you mean X?" for the nearest of (known spelling, what to propose), or ""."""
    known = dict(spell)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {known[near[0]]}?" if near else ""


def spellings() -> Iterable[tuple[str, str]]:
    """Each way to write an option as an identifier, with the field that it means."""
    for name, option in OPTIONS.items():
        for alias in option.aliases:
            if alias.startswith("--"):
                yield alias[2:].replace("-", "_"), name
        yield name, name
