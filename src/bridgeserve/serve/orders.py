"""What can happen to a fleet (events), and what is to be done then (orders). Plain data, without I/O.

A worker is named by a number that is never used twice; its process id may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["leave", "stop", "reopen", "dump"]

# --- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """A worker has started the application and accepts."""

    worker: int


@dataclass(frozen=True)
class Failed:
    """A worker says why it cannot start; its end follows. `trace` is that of the application's own error."""

    worker: int
    reason: str
    trace: str = ""


@dataclass(frozen=True)
class Beat:
    """A worker's loop has turned."""

    worker: int


@dataclass(frozen=True)
class Due:
    """A worker asks for a successor: it has served its requests, its time or its memory."""

    worker: int
    cause: str


@dataclass(frozen=True)
class Drained:
    """A worker has no request any more; the shutdown of the application follows."""

    worker: int


@dataclass(frozen=True)
class Exited:
    """The process of a worker has ended; `code` is below 0 for the signal that ended it."""

    worker: int
    code: int


@dataclass(frozen=True)
class Signal:
    """Somebody has sent us a signal, by its name without SIG."""

    name: str


@dataclass(frozen=True)
class FilesChanged:
    """The source of the application has changed."""


@dataclass(frozen=True)
class Configured:
    """The configuration was read again, and its sockets are open."""

    plan: Plan


@dataclass(frozen=True)
class Misconfigured:
    """The configuration was read again and is wrong, or one of its sockets cannot be opened."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """The time of `Fleet.deadline` has come."""


Event = (
    Ready | Failed | Beat | Due | Drained | Exited | Signal | FilesChanged | Configured | Misconfigured | Tick
)  # fmt: skip

# --- orders ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a fleet shall be. Times in seconds; silence None: a silent worker is left alone. patient: when no worker
    can be started, wait for a change of the app's files, or for HUP, instead of ending.
    """

    size: int = 1
    start: float = 120.0
    silence: float | None = 60.0
    grace: float = 30.0
    patient: bool = False


@dataclass(frozen=True)
class Spawn:
    """Start a worker of that generation."""

    worker: int
    generation: int


@dataclass(frozen=True)
class Drain:
    """Tell a worker to finish what it has and to end. `handover`: others go on to accept at its sockets."""

    worker: int
    handover: bool


@dataclass(frozen=True)
class Tell:
    """Tell a worker: "leave" (end, unless you accept already), "stop" (end, whatever you are doing), "reopen" (the log
    files), "dump" (what is in flight).
    """

    worker: int
    word: Word


@dataclass(frozen=True)
class Kill:
    """End the process of a worker by SIGKILL."""

    worker: int


@dataclass(frozen=True)
class Stacks:
    """Let a worker that does not answer write the stacks of its threads, by a signal that needs no loop."""

    worker: int


@dataclass(frozen=True)
class Configure:
    """Read the configuration again and open what sockets are new; the answer is an event."""


@dataclass(frozen=True)
class Adopt:
    """The configuration that was read last counts from now on: close the sockets that it does not have."""


@dataclass(frozen=True)
class Discard:
    """Forget the configuration that was read last, and close the sockets that only it has."""


@dataclass(frozen=True)
class CloseSockets:
    """Close our copies of the listening sockets; the workers serve the backlog and close theirs."""


@dataclass(frozen=True)
class Report:
    """Tell the service manager where we are."""

    state: Literal["ready", "reloading", "stopping"]


@dataclass(frozen=True)
class Log:
    """A line for the log; `trace` goes with it, indented. `worker`: whom the text is about, 0 for nobody."""

    level: int
    text: str
    worker: int = 0
    trace: str = ""


@dataclass(frozen=True)
class Announce:
    """All workers of the first generation are ready."""


@dataclass(frozen=True)
class ReopenLogs:
    """Open our own log files again."""


@dataclass(frozen=True)
class End:
    """Every worker has ended: leave with this exit code. `reason` and `trace` are for stderr."""

    code: int
    reason: str = ""
    trace: str = ""


Order = (
    Spawn | Drain | Tell | Kill | Stacks | Configure | Adopt | Discard | CloseSockets | Report | Log | Announce
    | ReopenLogs | End
)  # fmt: skip
