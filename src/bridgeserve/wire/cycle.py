"""The states of one HTTP/1 connection, as a table.

Rules:
1. A state is a pair (peer, ours). What is not in the table is illegal: `CycleError`.
2. `timer` names the wait that must end in this state; None where the application has the word.
3. `can_reply` says whether an error answer of ours may still be written.
4. CLOSE is legal in every state and leads to CLOSED.

The session asks the table and nothing else; a new situation is a new row.
"""

from __future__ import annotations

from bridgeserve.wire.errors import CycleError

FIRST_BYTE = "first byte"
REQUEST = "request head, body follows"
REQUEST_COMPLETE = "request with its whole body"
REQUEST_END = "end of request body"
PEER_ERROR = "peer error"
RESPONSE = "response head, body follows"
RESPONSE_COMPLETE = "response with its whole body"
RESPONSE_END = "end of response body"
RECYCLE = "next request"
SWITCH = "another protocol"
CLOSE = "close"

# (peer, ours): (timer, can_reply, {event: next pair})
Table = dict[tuple[str, str], tuple[str | None, bool, dict[str, tuple[str, str]]]]
TABLE: Table = {
    ("IDLE", "IDLE"): (
        "keep_alive",
        True,
        {
            FIRST_BYTE: ("HEAD", "IDLE"),
            REQUEST: ("BODY", "IDLE"),
            REQUEST_COMPLETE: ("DONE", "IDLE"),
            PEER_ERROR: ("ERROR", "IDLE"),
        },
    ),
    ("HEAD", "IDLE"): (
        "head",
        True,
        {REQUEST: ("BODY", "IDLE"), REQUEST_COMPLETE: ("DONE", "IDLE"), PEER_ERROR: ("ERROR", "IDLE")},
    ),
    ("BODY", "IDLE"): (
        "body",
        True,
        {
            REQUEST_END: ("DONE", "IDLE"),
            RESPONSE: ("BODY", "BODY"),
            RESPONSE_COMPLETE: ("BODY", "DONE"),
            PEER_ERROR: ("ERROR", "IDLE"),
        },
    ),
    ("DONE", "IDLE"): (
        None,
        True,
        {
            RESPONSE: ("DONE", "BODY"),
            RESPONSE_COMPLETE: ("DONE", "DONE"),
            SWITCH: ("SWITCHED", "SWITCHED"),
        },
    ),
    ("BODY", "BODY"): (
        "body",
        False,
        {REQUEST_END: ("DONE", "BODY"), RESPONSE_END: ("BODY", "DONE"), PEER_ERROR: ("CLOSED", "CLOSED")},
    ),
    ("DONE", "BODY"): (None, False, {RESPONSE_END: ("DONE", "DONE")}),
    ("BODY", "DONE"): ("discard", False, {REQUEST_END: ("DONE", "DONE"), PEER_ERROR: ("LINGER", "CLOSED")}),
    ("DONE", "DONE"): (None, False, {RECYCLE: ("IDLE", "IDLE")}),
    ("ERROR", "IDLE"): ("linger", True, {RESPONSE_COMPLETE: ("LINGER", "CLOSED")}),
    ("LINGER", "CLOSED"): ("linger", False, {}),
    ("SWITCHED", "SWITCHED"): (None, False, {}),  # the session of the other protocol owns the octets
    ("CLOSED", "CLOSED"): (None, False, {}),
}


class Steps(dict[str, "State"]):
    """The states after each event that is legal in a state."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def __missing__(self, event: str) -> State:
        raise CycleError(f"{event!r} is illegal in {self._state.name}")


class State:
    """One row of the table, linked to its neighbours: `on[event]` is the state after it, or raises CycleError."""

    __slots__ = ("can_reply", "name", "on", "ours", "peer", "timer")

    def __init__(self, peer: str, ours: str, timer: str | None, can_reply: bool) -> None:
        self.peer = peer
        self.ours = ours
        self.timer = timer
        self.can_reply = can_reply
        self.name = f"{peer}·{ours}"
        self.on = Steps(self)

    def __repr__(self) -> str:
        return f"<State {self.name}>"


def link(table: Table) -> dict[tuple[str, str], State]:
    """Build the states from a table such as TABLE; it has a row for CLOSED·CLOSED."""
    states = {pair: State(*pair, row[0], row[1]) for pair, row in table.items()}
    for pair, row in table.items():
        states[pair].on.update({event: states[then] for event, then in row[2].items()})
        states[pair].on[CLOSE] = states["CLOSED", "CLOSED"]
    return states


STATES = link(TABLE)
IDLE = STATES["IDLE", "IDLE"]
HEAD = STATES["HEAD", "IDLE"]
DONE_IDLE = STATES["DONE", "IDLE"]
DONE_DONE = STATES["DONE", "DONE"]
BODY_DONE = STATES["BODY", "DONE"]
LINGER = STATES["LINGER", "CLOSED"]
CLOSED = STATES["CLOSED", "CLOSED"]


def diagram(table: Table = TABLE) -> str:
    """A table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2"]
    for (peer, ours), (_timer, _reply, steps) in table.items():
        lines += [f"    {peer}_{ours} --> {p}_{o}: {event}" for event, (p, o) in steps.items()]
    return "\n".join(lines)
