"""What is in flight, for USR2: the requests with their ages, and where every thread and task is now."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from bridgeserve.dispatch.watch import task_stack, thread_stack
from bridgeserve.serve.server import Server

TASKS_MAX = 200  # tasks whose stacks are told


def in_flight(server: Server) -> list[str]:
    """One line for each request that has no complete answer: age, method, path, what of the answer has gone."""
    now = time.monotonic()
    lines = []
    for exchange in sorted(server.in_flight(), key=lambda each: each.started):
        request = exchange.request
        answer = f"{exchange.status}, {exchange.body_octets} octets" if exchange.responded else "no answer yet"
        method, path = request.method.decode("ascii"), request.path.decode("latin-1")
        lines.append(f"{now - exchange.started:9.3f} s  {method} {path}  ({answer})")
    return lines


def stacks() -> list[str]:
    """The stack of each thread, and of each task of this loop."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = []
    for ident, frame in sys._current_frames().items():
        found.append(f"Thread {names.get(ident, ident)}\n{thread_stack(frame)}")
    tasks = [task for task in asyncio.all_tasks() if not task.done()]
    found += [f"Task {task.get_name()}\n{task_stack(task)}" for task in tasks[:TASKS_MAX]]
    if len(tasks) > TASKS_MAX:
        found.append(f"… and {len(tasks) - TASKS_MAX} more tasks")
    return found


def dump(server: Server) -> tuple[str, str]:
    """A line, and the text that goes with it."""
    lines = in_flight(server)
    numbers = ", ".join(f"{name} {value}" for name, value in server.stats().items())
    return f"in flight: {len(lines)} requests ({numbers})", "\n".join([*lines, "", *stacks()])
