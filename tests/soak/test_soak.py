"""The soak of `make soak` in short: each mode, side by side."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from soak.ledger import Clients, Server, disagreements
from soak.run import MIB, Result, soak

SECONDS = 12.0  # and the time that all needs to end
GROWTH = 12 * MIB  # what is kept for the next time has not all been made in so short a warm-up
MODES = ("inline-asgi", "threads", "processes")


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    seed = random.randrange(1 << 32)
    with ThreadPoolExecutor(len(MODES)) as pool:
        done = pool.map(lambda mode: soak(mode, SECONDS, seed, GROWTH), MODES)
        found = {result.mode: result for result in done}
    print(f"seed {seed}", *(result.text() for result in found.values()), sep="\n")  # noqa: T201  pytest shows it with -rP
    return found


@pytest.mark.parametrize("mode", MODES)
def test_every_request_is_accounted_for_and_nothing_is_left(results: dict[str, Result], mode: str) -> None:
    result = results[mode]
    assert result.failures == [], result.text()
    assert len(result.clients.seen) > 100


def test_the_accounts_are_held_against_each_other() -> None:
    """What the soak would say of a server that loses a request, serves one twice, or tells another story."""
    clients, server = Clients(), Server()
    for request, outcome in ((1, 200), (2, 200), (3, "cut"), (4, 400), (5, "left")):
        clients.note(request, "kind", outcome, (outcome,))
    line = '{"query": "id=%d", "status": %d, "cut": %s}'
    server.access(line % (1, 200, "false"))
    server.access(line % (2, 200, "false"))
    server.access(line % (3, 200, "true"))
    server.log("debug    refused with 400: two Hosts")
    assert disagreements(clients, server) == []
    server.access(line % (2, 200, "false"))
    server.access(line % (9, 200, "false"))
    del server.records[1]
    server.records[3] = (200, False)
    assert len(disagreements(clients, server)) == 4
