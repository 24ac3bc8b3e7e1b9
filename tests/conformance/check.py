"""Runs one case against one of our servers, and asserts."""

from __future__ import annotations

from conformance.case import Case
from conformance.client import PROBE, play
from conformance.judge import Journal, differences
from e2e.server import ServerProcess

PATIENCE = 5.0  # seconds for one read


def check(server: ServerProcess, journal: Journal, case: Case) -> None:
    """Have the conversation of a case; fail with all that came otherwise."""
    journal.news(None)
    log = case.expect.log
    logged = len(server.err.find(log)) if log else 0
    # Whatever stands right behind what is refused must never be read as a request.
    tail = PROBE if case.expect.stays is False else b""
    observed, port = play(case, server.address, PATIENCE, tail)
    found = differences(case.expect, observed, journal.news(port))
    assert not found, "\n".join((f"{case.section}: {case.why}", *found))
    if log:
        assert server.err.wait(log, PATIENCE, logged + 1), f"nothing like {log!r} in the log"
