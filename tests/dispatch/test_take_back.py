"""Taking requests back from a lane while the child takes one out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from bridgeserve.dispatch.child import Child
from bridgeserve.dispatch.lane import Lane
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.wire import ipc
from bridgeserve.wire.framing import ResponseHead
from dispatch.fakes import FakeExchange, make_request
from net.clock import run_virtual


class Pool:
    """Hears what the child's owner would."""

    def __init__(self) -> None:
        self.freed_children: list[Child] = []

    def freed(self, child: Child) -> None:
        self.freed_children.append(child)

    def returned(self, calls: Any) -> None:
        raise AssertionError("nobody asked for it here")

    ended = freed


class RacingLane(Lane):
    """The child takes the message of this number while ours are taken back."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def take_back(self) -> list[bytes]:
        messages = super().take_back()
        return [message for message in messages if ipc.HEADER.unpack_from(message)[1] != self._number]


def exchange(path: bytes) -> FakeExchange:
    request = make_request(path)
    request.raw = b"GET %s HTTP/1.1\r\nHost: a" % path
    return FakeExchange(request)


@pytest.fixture
def lanes() -> Iterator[list[Lane]]:
    made: list[Lane] = []
    yield made
    for lane in made:
        lane.close()


def busy_child(lane: Lane | None, lanes: list[Lane]) -> tuple[Child, list[FakeExchange]]:
    """A child that has been given three requests."""
    child = Child({}, None, Tasks(), Pool())  # type: ignore[arg-type]  it is not started
    child._stack.close()
    if lane is not None:
        child._lane.close()
        child._lane = lane
    lanes.append(child._lane)
    child.alive = True
    given = [exchange(b"/%d" % number) for number in range(1, 4)]
    for each in given:
        assert child.run(each, 0.0)
    return child, given


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_one_that_the_child_takes_meanwhile_is_in_its_hands(number: int, lanes: list[Lane]) -> None:
    async def main() -> None:
        child, given = busy_child(RacingLane(number), lanes)
        found = child.take_back()
        assert [call.number for call in found] == [each for each in (1, 2, 3) if each != number]
        assert [(call.number, call.state) for call in child.calls] == [(number, "asked")]
        child._take(ipc.ANSWER, number, ipc.pack_head(ResponseHead(200, b"", []), True, b"answer"))
        assert (given[number - 1].status, given[number - 1].body) == (200, b"answer")
        assert not child.calls
        await asyncio.sleep(0)

    run_virtual(main)


def test_a_child_that_has_begun_none_keeps_the_first(lanes: list[Lane]) -> None:
    async def main() -> None:
        child, _ = busy_child(None, lanes)
        assert [call.number for call in child.take_back()] == [2, 3]
        assert [(call.number, call.state) for call in child.calls] == [(1, "asked")]
        [message] = child._lane.take_back()
        assert ipc.HEADER.unpack_from(message)[1] == 1

    run_virtual(main)
