"""Three times the capacity, over real sockets: who is accepted, who is refused, and that it is over at once."""

from __future__ import annotations

import json
import select
from collections.abc import Callable

import pytest
from benchmarks.overload import DEADLINE, LANES, LIMITS, MODES, Account, load

from e2e.raw import RawClient
from e2e.server import APPS, ROOT, ServerProcess, eventually

CAPACITY = 200.0  # requests a second, half of what the lanes could do: the machine has other work
NOISE = 1.0  # seconds that a busy machine may add to anything

FULL = {
    "threads": ("plain_wsgi:application", "--mode", "threads", "--threads", "1", "--request-buffering", "off"),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", "1", "--request-buffering", "off"),
    "inline-asgi": ("plain_asgi:application", "--limit-concurrency", "1"),
}


@pytest.mark.parametrize("mode", MODES)
def test_three_times_the_capacity(start: Callable[..., ServerProcess], mode: str) -> None:
    server = start(*MODES[mode], *LIMITS, app_dir=ROOT)
    port = server.address[1]
    calm = load(port, CAPACITY / 4, 0.4)
    assert well(calm)
    crowd = load(port, LANES / 0.02 * 3, 0.8)
    tell(crowd)
    assert not crowd.others  # neither an answer nor a 503 with Retry-After
    assert len(crowd.accepted) + len(crowd.refused) == crowd.sent
    assert crowd.refused
    assert crowd.goodput > CAPACITY / 2
    assert max(crowd.accepted) < max(calm.accepted) + DEADLINE + crowd.latest + NOISE
    assert sorted(crowd.refused)[len(crowd.refused) // 2] < DEADLINE + crowd.latest + NOISE / 4
    assert crowd.over < NOISE
    after = load(port, CAPACITY / 4, 0.3)
    assert well(after)


def well(found: Account) -> bool:
    """All were answered; a machine that stalls for the queue's deadline may cost a few."""
    return not found.others and len(found.accepted) > 0.8 * found.sent


def tell(found: Account) -> None:
    """pytest shows it beside a failure."""
    print(len(found.accepted), len(found.refused), found.goodput, found.over, found.late)  # noqa: T201


class Queue:
    """Requests at a server with one lane, which is taken."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.waiting: list[RawClient] = []

    def send(self) -> bool:
        """One more request; False: it was refused."""
        raw = RawClient(self._server.address)
        raw.get("/waiting")
        if select.select([raw.socket], [], [], 0.1)[0]:
            assert raw.read_answer().status == 503
            raw.close()
            return False
        self.waiting.append(raw)
        return True


@pytest.mark.parametrize("mode", FULL)
def test_the_app_is_never_called_for_those_who_leave_the_queue(start: Callable[..., ServerProcess], mode: str) -> None:
    server = start(*FULL[mode], "--limit-queue", "5", app_dir=APPS)
    queue = Queue(server)
    with RawClient(server.address) as busy:
        busy.send(b"POST /busy HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert busy.read_head().status == 100  # the app waits for the body
        assert eventually(lambda: not queue.send(), 10.0)
        assert len(queue.waiting) == 5
        while queue.waiting:
            queue.waiting.pop().reset()
        assert eventually(queue.send, 10.0)  # there is room: they were forgotten
        busy.send(b"ok")
        assert busy.read_answer().body == b"POST /busy 2\n"
        assert queue.waiting[0].read_answer().body == b"GET /waiting 0\n"
    with RawClient(server.address) as raw:
        raw.get("/counts")
        assert json.loads(raw.read_answer().body)["calls"] == 2
