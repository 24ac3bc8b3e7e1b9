"""The line between the supervisor and a worker: what does not fit, and what must not be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from bridgeserve.serve.link import TEXT_MAX, Link, pair, receive, send
from bridgeserve.serve.process import WorkerProcess

Ends = tuple[Any, Link]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = pair()
    with ours, theirs:
        yield ours, Link(theirs)


@pytest.mark.parametrize("text", ["x", "\n", "\u00e9", "\U0001f600"])
def test_a_long_reason_is_shortened_and_never_lost(ends: Ends, text: str) -> None:
    ours, link = ends
    link.say_why("reason: " + text * 200_000, text * 200_000 + "the last line\n")
    message = receive(ours)
    assert message is not None
    assert message["word"] == "failed"
    assert message["reason"].startswith("reason: " + text)
    assert message["trace"].endswith(text + "the last line\n")  # the end of a traceback tells most
    assert len(message["reason"]) <= TEXT_MAX


def test_whether_something_was_said_is_known(ends: Ends) -> None:
    ours, link = ends
    count = 0
    while link.say("beat"):
        count += 1
    assert not link.say("due", cause="max_requests")
    for _ in range(count):
        receive(ours)
    assert link.say("due", cause="max_requests")


def test_a_setup_that_does_not_fit_is_an_error_and_no_process(ends: Ends) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="settings"):
        WorkerProcess({"settings": "x" * (1 << 20)}, [], os.environ, print)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not send(ends[0], {"word": "x" * (1 << 20)})
