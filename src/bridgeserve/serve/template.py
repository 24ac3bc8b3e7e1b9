"""The template process of --preload: `python -m bridgeserve.serve.template CONTROL`, started by the engine only.

It imports the application once, and forks a child from itself for each message that brings the descriptors of one:
stream, side, stack, lane, stdout and stderr. Children share its memory until they write to it. It says `{"pid": …}` for
each, and `{"ended": pid, "code": …}` when one has ended.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
from typing import Any

from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.serve.application import StartupError, app_trace
from bridgeserve.serve.child import TEXT_MAX, die_with, ignore_signals, load, work

MESSAGE_MAX = 1 << 20


def reap() -> list[dict[str, int]]:
    """The children that have ended since the last call."""
    found: list[dict[str, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        found.append({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def become_child(runner: WsgiRunner, descriptors: list[int], warning: str) -> None:
    """(child) Work as if started afresh; does not return."""
    *given, out, error = descriptors
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(error, 2)
        os.close(out)
        os.close(error)
        work(tuple(given), lambda setup: runner, os.getppid(), warning)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        # Not sys.exit: what the template has registered for its own end is the template's.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def threads_alive() -> str:
    """A warning that names the threads that a fork leaves behind, "" where there are none."""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not names:
        return ""
    return (
        "the import of the app has started threads, which do not live on in the forked processes, and whose locks"
        f" may stay locked there: {', '.join(names)}; start them at the first request, or leave --preload out"
    )


def serve(control: socket.socket, runner: WsgiRunner) -> None:
    """Fork when asked, until the engine is gone."""
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    warning = threads_alive()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if wake in ready:
                os.read(wake, 4096)
            for told in reap():
                control.send(json.dumps(told).encode())
            if control not in ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_MAX, 6)
            if not data:
                return
            answer: dict[str, Any]
            try:
                pid = os.fork()
                answer = {"pid": pid}
            except OSError as error:  # no room for one more: those that there are go on
                pid = -1
                answer = {"reason": f"a child cannot be forked: {error.strerror}", "trace": ""}
            if pid == 0:
                selector.close()
                control.close()
                for end in (wake, woken):
                    os.close(end)
                become_child(runner, descriptors, warning)
            warning = warning if pid < 0 else ""
            for descriptor in descriptors:
                os.close(descriptor)
            control.send(json.dumps(answer).encode())


def main() -> None:
    """See above."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    setup: dict[str, Any] = json.loads(control.recv(MESSAGE_MAX))
    die_with(setup["parent"])
    ignore_signals()
    sys.argv[1:] = []
    try:
        runner = load(setup)
    except StartupError as error:
        trace = "" if error.__cause__ is None else app_trace(error.__cause__)
        control.send(json.dumps({"reason": str(error), "trace": trace[:TEXT_MAX]}).encode())
        sys.exit(3)
    gc.collect()
    gc.freeze()  # so that no collection in a child writes to pages that it shares
    control.send(b"{}")
    serve(control, runner)


if __name__ == "__main__":
    main()
