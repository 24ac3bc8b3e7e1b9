"""The table of states: what holds for each row and each path through it."""

from __future__ import annotations

import pytest

from bridgeserve.wire import cycle
from bridgeserve.wire.cycle import STATES, TABLE
from bridgeserve.wire.errors import CycleError

EVENTS = [value for name, value in vars(cycle).items() if name.isupper() and isinstance(value, str)]


def reachable() -> set[tuple[str, str]]:
    """All states that the table leads to from the first one; LINGER is entered by `linger` too."""
    found = {("IDLE", "IDLE")}
    while True:
        more = {then for pair in found for then in TABLE[pair][2].values()} | found
        if more == found:
            return found
        found = more


def test_every_row_is_reached_and_leads_to_a_row() -> None:
    assert reachable() | {("CLOSED", "CLOSED")} == set(TABLE) == set(STATES)


def test_every_event_is_used() -> None:
    used = {event for row in TABLE.values() for event in row[2]} | {cycle.CLOSE}
    assert used == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("pair", TABLE, ids="·".join)
def test_each_step_is_the_table_s(pair: tuple[str, str], event: str) -> None:
    state = STATES[pair]
    then = ("CLOSED", "CLOSED") if event == cycle.CLOSE else TABLE[pair][2].get(event)
    if then is None:
        with pytest.raises(CycleError, match="is illegal in " + state.name):
            state.on[event]
    else:
        assert state.on[event] is STATES[then]


def test_who_waits_for_the_peer_has_a_timer() -> None:
    for (peer, _ours), (timer, _can_reply, _steps) in TABLE.items():
        assert (timer is None) == (peer in ("DONE", "SWITCHED", "CLOSED"))


def test_an_answer_can_be_given_until_one_was() -> None:
    for (_peer, ours), (_timer, can_reply, steps) in TABLE.items():
        assert can_reply == (ours == "IDLE")
        if cycle.RESPONSE_END in steps:
            assert ours == "BODY"


def test_an_error_of_the_peer_s_is_legal_while_the_peer_speaks() -> None:
    for (peer, _ours), row in TABLE.items():
        assert (cycle.PEER_ERROR in row[2]) == (peer in ("IDLE", "HEAD", "BODY"))


def test_words() -> None:
    assert repr(cycle.BODY_DONE) == "<State BODY·DONE>"
    diagram = cycle.diagram()
    assert diagram.startswith("stateDiagram-v2\n    IDLE_IDLE --> HEAD_IDLE: first byte\n")
    assert len(diagram.splitlines()) == 1 + sum(len(row[2]) for row in TABLE.values())
