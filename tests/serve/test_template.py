"""The template process: what it does when the system has no room for a child."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from bridgeserve.dispatch.spawn import CONTROL
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.serve.template import serve


@pytest.fixture
def child_signals() -> Iterator[None]:
    """As they were."""
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


def test_a_fork_that_fails_is_an_answer_and_not_the_end(monkeypatch: pytest.MonkeyPatch, child_signals: None) -> None:
    """Its end would take all children along, which are well."""

    def no_room() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", no_room)
    runner = WsgiRunner(lambda environ, start_response: [], root_path="", multithread=False, multiprocess=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, CONTROL)
    before = len(os.listdir("/proc/self/fd"))
    with ours, theirs:
        for _ in range(2):
            socket.send_fds(ours, [b"{}"], [0] * 6)
        ours.shutdown(socket.SHUT_WR)
        serve(theirs, runner)
        for _ in range(2):
            answer = json.loads(ours.recv(4096))
            assert "cannot be forked: Resource temporarily unavailable" in answer["reason"]
            assert answer["trace"] == ""
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # its pipe for signals, which is there until its end
