"""A child process of the pool: `python -m bridgeserve.serve.child STREAM SIDE STACK LANE`, started by the engine only.

It imports the application by name, says READY, and serves one request after the other on its main thread until the
stream ends. It dies with its engine, however that ends: at the end of the stream when it is free, and on Linux by a
signal of the kernel when it is busy.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from bridgeserve.dispatch import forked
from bridgeserve.dispatch.base import EngineGone
from bridgeserve.dispatch.identity import identified
from bridgeserve.dispatch.pipe import STACK_SIGNAL, Channel, PipePort
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.observe import crash
from bridgeserve.serve.application import StartupError, app_trace, prepare
from bridgeserve.wire import ipc

_log = logging.getLogger("bridgeserve.error")
PR_SET_PDEATHSIG = 1
TEXT_MAX = 65536  # characters of a message or a trace that go into the log


class EngineHandler(logging.Handler):
    """Records of our loggers become frames: the engine's log has one form and one place."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._plain = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        trace = self._plain.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        payload = ipc.pack_record(
            logger=record.name,
            level=record.levelno,
            message=record.getMessage()[:TEXT_MAX],
            trace=trace[:TEXT_MAX],
        )
        self._channel.send(ipc.LOG, 0, payload)


def die_with(parent: int) -> None:
    """Let the kernel end us when the engine ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended meanwhile
        os._exit(1)


def ignore_signals() -> None:
    """Who stops a server by a signal to the whole group means the engine, which lets us finish.

    Handlers, not SIG_IGN: what the application starts must not inherit it.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
    for number in numbers:
        signal.signal(number, lambda number, frame: None)
    forked.restore(*numbers)


def load(setup: dict[str, Any]) -> WsgiRunner:
    """The application, ready to run; raises StartupError."""
    sys.path[:0] = [each for each in setup["path"] if each not in sys.path]
    prepared = prepare(
        setup["app"],
        factory=setup["factory"],
        app_dir=setup["app_dir"],
        interface=setup["interface"],
        mode="processes",
        load_here=True,
    )
    app = identified(prepared.app, "wsgi") if setup.get("identified") else prepared.app
    return WsgiRunner(app, root_path=setup["root_path"], multithread=False, multiprocess=True)


def serve(channel: Channel, runner: WsgiRunner) -> None:
    """Serve until the end of the lane."""
    while True:
        number, payload = channel.next_request()
        port = PipePort(channel, number, ipc.RequestFrame.unpack(payload))
        try:
            runner.run(port)
        except EngineGone:
            raise
        except BaseException:  # KeyboardInterrupt raised by an application must not end the child
            _log.exception("the application ended its request in an unusual way")
            port.abort()
        port.close()


def fresh(setup: dict[str, Any]) -> WsgiRunner:
    """Import the application; what the import has made stays, so that no collection need look at it again."""
    runner = load(setup)
    gc.collect()
    gc.freeze()
    return runner


def work(
    descriptors: tuple[int, ...], make: Callable[[dict[str, Any]], WsgiRunner], parent: int, warning: str = ""
) -> None:
    """Be a child, with stream, side, stack and lane of `descriptors`, until the engine has no more work.

    :param make: gives the application for what SETUP says.
    :param parent: whose end is ours; 0: the engine's, as SETUP says.
    :param warning: goes to the log once we have it.
    """
    stream, side, stack, lane = descriptors
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=stream), socket.socket(fileno=side), socket.socket(fileno=lane))
    forked.watch(channel)
    try:
        _, _, payload = channel.receive()
        setup = json.loads(payload)
        die_with(parent or setup["parent"])
        ignore_signals()
        crash.enable(sys.stderr)
        faulthandler.register(STACK_SIGNAL, file=stack, all_threads=True)
        logger = logging.getLogger("bridgeserve")
        logger.addHandler(EngineHandler(channel))
        logger.setLevel(setup["log_level"])
        logger.propagate = False
        if warning:
            logger.warning("%s", warning)
        try:
            runner = make(setup)
        except StartupError as error:
            trace = "" if error.__cause__ is None else app_trace(error.__cause__)
            channel.send(ipc.FAILED, 0, ipc.pack_record(reason=str(error)[:TEXT_MAX], trace=trace[:TEXT_MAX]))
            sys.exit(3)
        channel.send(ipc.READY, 0)
        serve(channel, runner)
    except EngineGone:
        sys.exit(0)


def main() -> None:
    """See above."""
    descriptors = tuple(map(int, sys.argv[1:5]))
    sys.argv[1:] = []
    work(descriptors, fresh, 0)


if __name__ == "__main__":
    main()
