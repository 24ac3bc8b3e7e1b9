"""What an option is: the metadata that a field of `Settings` carries. Ground: plain frozen data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from typing import Any, Literal

from bridgeserve.binds import ALLOWED

Kind = Literal["text", "path", "int", "float", "flag", "switch", "choice", "bind", "header", "list", "reserve"]
RESERVE_ALLOWED = "PATTERN:N, the pattern a path with * and ? that starts with / or *, N 1 or more"
MANY = ("bind", "header", "list", "reserve")
GROUPS = (
    "Application",
    "Sockets",
    "TLS",
    "Proxies",
    "Overload",
    "Limits",
    "Timeouts",
    "WebSocket",
    "Logging",
    "Responses",
    "Process",
    "Development",
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """The metadata of one field of `Settings`.

    kind says how a value is read: "flag" is --name/--no-name, "switch" is --name on|off (both become bool),
    those in MANY may be given many times. `optional` values may be None. `minimum` and `maximum` are inclusive;
    `zero`: 0, which turns it off, is allowed too. `default` is the default in words where the value itself says too
    little. `shared` is a variable of many programs that is the weakest source. The value of a `secret` is shown
    nowhere.
    """

    kind: Kind
    group: str
    help: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    zero: bool = False
    optional: bool = False
    metavar: str = ""
    default: str = ""
    shared: str = ""
    secret: bool = False

    @property
    def many(self) -> bool:
        """May it be given many times?"""
        return self.kind in MANY

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind in ("flag", "switch"):
            return "on, off"
        if self.kind in ("int", "float"):
            noun = "a whole number" if self.kind == "int" else "a number"
            if self.zero:
                noun = f"0 or {noun}"
            if self.maximum is not None:
                return f"{noun} from {self.minimum:g} to {self.maximum:.0f}"
            return f"{noun}, {self.minimum:g} or more" if self.minimum is not None else noun
        words = {"bind": ALLOWED, "header": "NAME:VALUE", "path": "a path", "reserve": RESERVE_ALLOWED}
        return words.get(self.kind, "text")


def option(
    kind: Kind,
    group: str,
    help_: str,
    value: Any = None,
    *,
    make: Callable[[], Any] | None = None,
    **more: Any,
) -> Any:
    """A dataclass field with an `Option` as its metadata; a default of None makes the option optional."""
    optional = value is None and make is None
    metadata = {"option": Option(kind=kind, group=group, help=help_, optional=optional, **more)}
    if make is not None:
        return field(default_factory=make, metadata=metadata)
    return field(default=value, metadata=metadata)


def choice(group: str, help_: str, *words: str, aliases: tuple[str, ...] = ()) -> Any:
    """A field that takes one of `words`; the first is the default."""
    return option("choice", group, help_, words[0], choices=words, aliases=aliases)


def option_of(item: Field[Any]) -> Option:
    """The `Option` of a field of `Settings`."""
    option = item.metadata["option"]
    assert isinstance(option, Option)
    return option
