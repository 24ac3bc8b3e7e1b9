"""A case as data: the octets that are sent, the text that decides, and what may come of it.

`expect` is what bridgeserve does. `allow` is what the text permits besides: a peer passes with any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# Steps of a conversation, beside octets to send.
ANSWER = "read one answer"
END = "send the end of our side"

Step = bytes | str


@dataclass(frozen=True)
class Answer:
    """One response, interim ones too.

    :param framing: "length", "chunked", "close" or "none"; None where it is not the point of the case.
    :param fields: values that fields must have, by lower-case name; None: the field is there.
    :param without: names of fields that must be absent.
    :param reason: the reason phrase where it is the point of the case.
    """

    status: int
    framing: str | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    body: bytes | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Seen:
    """One request as the app saw it, as latin-1 text; None where it is not the point of the case.

    :param path: decoded; `raw` as it came.
    :param fields: by lower-case name, repeated ones joined with a comma; None: the app must not see it.
    """

    method: str | None = None
    path: str | None = None
    raw: str | None = None
    query: str | None = None
    version: str | None = None
    body: str | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What comes of a case.

    :param answers: all responses in order.
    :param seen: the requests that reached the app whole, in order.
    :param stays: the connection can be used further; None: either.
    :param cut: the last answer has no whole body: the connection ends inside it.
    :param waits: nothing is said, for more octets have to come first.
    :param log: a pattern of a line that the server logs.
    """

    answers: tuple[Answer, ...]
    seen: tuple[Seen, ...] = ()
    stays: bool | None = None
    cut: bool = False
    waits: bool = False
    log: str = ""


@dataclass(frozen=True)
class Case:
    """One case.

    :param section: such as "9112 3.2.1": an RFC and its section, or the title of a section of another text.
    :param why: the text, shortened, that makes `expect` right.
    :param heads: the numbers of the final answers that answer HEAD.
    """

    name: str
    section: str
    why: str
    send: bytes | tuple[Step, ...]
    expect: Outcome
    allow: tuple[Outcome, ...] = ()
    heads: tuple[int, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The conversation."""
        return (self.send,) if isinstance(self.send, bytes) else self.send


def served(*seen: Seen, stays: bool | None = True, status: int = 200) -> Outcome:
    """Each request reaches the app and is answered."""
    return Outcome(tuple(Answer(status) for _ in seen), seen, stays)


def refused(*statuses: int, seen: tuple[Seen, ...] = (), fields: Mapping[str, str | None] | None = None) -> Outcome:
    """Good requests, and then a bad one: answered with the last status, seen by nobody, the end of the connection."""
    before = tuple(Answer(200) for _ in seen)
    return Outcome((*before, Answer(statuses[-1], fields=fields or {})), seen, stays=False)


def answered(*answers: Answer, seen: tuple[Seen, ...] = (), stays: bool | None = True, log: str = "") -> Outcome:
    """The answers, whatever the app noted."""
    return Outcome(answers, seen, stays, log=log)


def open_or_not(outcome: Outcome) -> Outcome:
    """The same where the text leaves it open whether the connection goes on."""
    return replace(outcome, stays=None)


WAITS = Outcome((), (), stays=None, waits=True)
DROPPED = Outcome((), (), stays=False)  # closed without a word: enough where the text names no status
REFUSED = tuple(open_or_not(refused(status)) for status in (400, 405, 414, 417, 431, 500, 501, 505))
BAD = (REFUSED[0], DROPPED)  # 400, or closed without a word
