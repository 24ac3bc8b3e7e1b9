"""The workers as a pure state machine: events and the time go in, orders come out. No I/O, no clock.

The state of one worker is in the table of `serve.lives`. All else is decided by `_settle`, which looks at the whole
after each event and does not care how it came about:

- Fewer workers serve or start than there should be: the rest is started. After a start that failed one at a time, and
  after a pause that doubles.
- A worker that is due, silent or of an older generation gets a successor, one at a time. It leaves when more workers
  serve than there should be, so there is never a moment with fewer.
- A reload is a transaction: one worker of the new generation (the candidate) must become ready. Then the generation
  counts, and what is older is replaced as above. If the candidate fails, nothing has happened.

A worker says how it is at every turn of its loop (`Beat`). Silence is no reason to end it while it starts, and not for
being busy: it is replaced first, and killed only when its successor is ready.
"""

from __future__ import annotations

import logging
from math import inf

from bridgeserve.serve import orders
from bridgeserve.serve.lives import DRAINING, ENDING, LEAVING, SERVING, STARTING, TABLE, Worker, ending_of
from bridgeserve.serve.orders import Event, Order, Plan

ALLOWANCE = 1.0  # seconds that whoever was told to stop, or should have, gets before SIGKILL
SHUTDOWN = 3.0  # seconds beyond the grace time that the application's own shutdown gets after the drain
FAILURES_MAX = 6  # starts in a row that fail while no worker serves: it is a crash loop
PAUSE_MAX = 30.0
QUICK = 1.0  # seconds: a worker that has served for less was not well when it began
LOOK = 2.0  # seconds between two looks, at most
LATE = 3.0  # seconds that we may be late ourselves; beyond, nobody is called silent for it
SIZE_MAX = 1024  # workers, as for --workers
STARTS_MAX = 8  # workers that start at the same time


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … 30."""
    return 0.0 if failures < 1 else min(2.0 ** min(failures - 1, 10), PAUSE_MAX)


class Fleet:
    """See above. `handle` takes one event and gives the orders, in their order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.size = plan.size
        self.workers: dict[int, Worker] = {}
        self.generation = 1
        self.phase = "first"  # then "serving", "stopping", "ended"
        self._attempt = ""  # a reload: "", "configuring", "trying"
        self._candidate: Worker | None = None
        self._next_plan = plan
        self._again = False  # HUP came during a reload
        self._waiting = False  # nothing is started before the files change
        self._failures = 0  # starts in a row that have failed
        self._crashes = 0  # workers in a row that have ended soon after they were ready
        self._not_before = -inf
        self._numbers = 0
        self._generations = 1
        self._forced = False
        self._code = 0
        self._words = ("", "")
        self._now = -inf
        self._orders: list[Order] = []

    def start(self, now: float) -> list[Order]:
        """The first orders."""
        self._now = now  # so that the first event is not late
        return self.handle(orders.Tick(), now)

    def handle(self, event: Event, now: float) -> list[Order]:
        """What is to be done after `event`, which happened at `now` (monotonic seconds)."""
        if self.phase == "ended":
            return []
        if now - self._now > LOOK + LATE:
            for worker in self.workers.values():
                worker.beat = now  # we have slept; whether they did, will be seen
                worker.since += now - self._now if worker.state == STARTING else 0.0
        self._now = now
        match event:
            case orders.Signal(name):
                self._signal(name)
            case orders.FilesChanged():
                self._reload()
            case orders.Configured(plan):
                self._try(plan)
            case orders.Misconfigured(reason):
                self._give_up(reason, "")
            case orders.Tick():
                pass
            case _:
                if event.worker in self.workers:
                    self._worker(self.workers[event.worker], event)
        self._settle()
        made, self._orders = self._orders, []
        return made

    def deadline(self) -> float:
        """When `Tick` is wanted next."""
        times = [self._due_at(worker) for worker in self.workers.values()]
        return min([*times, self._not_before if self._not_before > self._now else inf, self._now + LOOK])

    # --- one worker ----------------------------------------------------------------------------

    def _worker(self, worker: Worker, event: Event) -> None:
        match event:
            case orders.Beat():
                self._hear(worker)
            case orders.Ready():
                self._ready(worker)
            case orders.Failed(_, reason, trace):
                worker.reason, worker.trace = reason, trace
            case orders.Due(_, cause):
                worker.due = worker.due or cause
            case orders.Drained() if worker.state == DRAINING and not worker.drained:
                worker.drained = True
                worker.since = self._now
            case orders.Exited(_, code):
                self._exited(worker, code)
            case _:
                pass

    def _move(self, worker: Worker, what: str) -> bool:
        """Follow TABLE; False where it has no such row."""
        state = TABLE.get((worker.state, what))
        if state is None:
            return False
        worker.state = state
        worker.since = self._now
        return True

    def _hear(self, worker: Worker) -> None:
        worker.beat = self._now
        if worker.due == "silent":
            worker.due = "was silent"
            self._log(logging.WARNING, "goes on; it is replaced all the same", worker)

    def _ready(self, worker: Worker) -> None:
        leaving = worker.state == LEAVING  # it was ready before it heard that nobody wants it
        if not self._move(worker, "ready"):
            return
        if leaving:
            self._order(orders.Drain(worker.number, self.phase != "stopping"))
            return
        worker.beat = self._now
        self._failures = 0
        if self.phase != "first":
            self._log(logging.INFO, "serves", worker)
        if worker is self._candidate:
            self._commit(worker)
        elif self.phase == "first" and len(self._in(SERVING)) >= self.size:
            self.phase = "serving"
            self._order(orders.Announce(), orders.Report("ready"))

    def _exited(self, worker: Worker, code: int) -> None:
        state, lived = worker.state, self._now - worker.since
        self._move(worker, "exit")
        del self.workers[worker.number]
        reason = worker.reason or f"its process has ended: {ending_of(code)}"
        if worker is self._candidate:
            self._give_up(reason, worker.trace)
        elif state == STARTING:
            self._start_failed(reason, worker.trace)
        elif state == SERVING:
            self._crashed(worker, code, lived)
        elif state == DRAINING and code:
            self._log(logging.WARNING, f"has ended before its time: {ending_of(code)}", worker)

    def _start_failed(self, reason: str, trace: str) -> None:
        if self.plan.patient:
            self._wait(reason, trace)
            return
        if self.phase == "first":
            self._stop(3, reason, trace)
            return
        self._failures += 1
        self._not_before = self._now + pause(self._failures)
        self._log(logging.ERROR, f"a worker cannot be started (attempt {self._failures}): {reason}", trace=trace)
        if self._failures >= FAILURES_MAX and not self._in(SERVING):
            self._log(logging.CRITICAL, "no worker can be started any more")
            self._stop(4)

    def _crashed(self, worker: Worker, code: int, lived: float) -> None:
        self._log(logging.ERROR, f"has ended ({ending_of(code)}) and is replaced", worker)
        self._crashes = self._crashes + 1 if lived < QUICK else 0
        self._not_before = max(self._not_before, self._now + pause(self._crashes - 1))
        if code == 4 and not self._in(SERVING):  # its pool of processes is in a crash loop, and has tried often enough
            self._wait("its processes crash again and again") if self.plan.patient else self._stop(4)

    def _wait(self, reason: str, trace: str = "") -> None:
        """Leave it as it is until somebody has changed something."""
        if self._waiting or self.phase == "stopping":
            return
        if self._again:  # somebody has, while the worker was starting
            self._again = False
            return
        self._waiting = True
        self._log(logging.ERROR, f"{reason}; waiting for a change", trace=trace)

    # --- the whole -----------------------------------------------------------------------------

    def _settle(self) -> None:
        for worker in list(self.workers.values()):
            self._look(worker)
        if self.phase == "stopping":
            if not self.workers:
                self.phase = "ended"
                self._order(orders.End(self._code, *self._words))
            return
        self._retire()
        self._fill()
        if self._again:
            self._reload()

    def _look(self, worker: Worker) -> None:
        """Whether one has taken too long."""
        if self._now < self._due_at(worker):
            return
        if worker.state == STARTING:
            worker.reason = f"it was not ready within --timeout-start ({worker.plan.start:g} s)"
            self._order(orders.Stacks(worker.number))
            self._move(worker, "start took too long")
            if worker is not self._candidate:  # with that it is a failure when it has ended
                self._start_failed(worker.reason, "")
        elif worker.state == DRAINING:
            self._log(logging.ERROR, "has not ended in time and is killed", worker)
            self._order(orders.Stacks(worker.number))
            self._move(worker, "drain took too long")
        elif worker.state in (LEAVING, ENDING):
            self._move(worker, "does not leave")
            worker.since = self._now
            self._order(orders.Kill(worker.number))
        elif worker.state == SERVING and not worker.due and self.phase != "stopping":
            worker.due = "silent"
            self._log(logging.ERROR, f"has a loop that stands still since {worker.plan.silence:g} s", worker)
            self._order(orders.Stacks(worker.number))

    def _due_at(self, worker: Worker) -> float:
        """When the state of a worker lasts too long."""
        plan = worker.plan
        if worker.state == STARTING:
            return worker.since + plan.start
        if worker.state == SERVING:
            return inf if plan.silence is None or worker.due else worker.beat + plan.silence
        if worker.state == DRAINING:
            return worker.since + plan.grace + (SHUTDOWN if worker.drained else ALLOWANCE)
        return worker.since + ALLOWANCE

    def _retire(self) -> None:
        """Whoever has a successor leaves."""
        serving = self._in(SERVING)
        if len(serving) <= self.size:
            return
        # Older generations first, then those that are due, then the youngest.
        order = sorted(serving, key=lambda each: (each.generation, not each.due, -each.number))
        for worker in order[: len(serving) - self.size]:
            if worker.due == "silent":
                self._move(worker, "silent, successor ready")
                self._order(orders.Kill(worker.number))
            else:
                self._drain(worker, "successor ready", handover=True)

    def _fill(self) -> None:
        """Start what is missing, and a successor for one that leaves."""
        starting = [each for each in self._in(STARTING) if each is not self._candidate]
        serving = self._in(SERVING)
        missing = self.size - len(serving) - len(starting)
        if missing > 0:
            if self._now < self._not_before or self._waiting:
                return
            count = min(missing, (1 if self._failures else STARTS_MAX) - len(starting))
        else:
            good = [each for each in serving if each.generation == self.generation and not each.due]
            wanted = len(good) < self.size and not starting and not self._crowded()
            count = int(wanted and self._now >= self._not_before)
        for _ in range(count):
            self._spawn(self.generation)

    def _spawn(self, generation: int) -> Worker:
        self._numbers += 1
        plan = self.plan if generation == self.generation else self._next_plan
        self.workers[self._numbers] = worker = Worker(self._numbers, generation, self._now, self._now, plan)
        self._order(orders.Spawn(worker.number, generation))
        return worker

    def _drain(self, worker: Worker, what: str, handover: bool) -> None:
        if self._move(worker, what):
            self._order(orders.Drain(worker.number, handover))

    # --- reload --------------------------------------------------------------------------------

    def _reload(self) -> None:
        if self.phase == "stopping":
            return
        if self._waiting:
            self._waiting = False
            if not self._in(SERVING):
                self._drop_starts()  # by the old files
                return
        self._again = self.phase == "first" or bool(self._attempt) or self._crowded()
        if not self._again:
            self._attempt = "configuring"
            self._order(orders.Report("reloading"), orders.Configure())

    def _try(self, plan: Plan) -> None:
        """The candidate of a new generation."""
        if self.phase == "stopping":
            self._order(orders.Discard())
            return
        self._attempt = "trying"
        self._next_plan = plan
        self._generations += 1
        self._candidate = self._spawn(self._generations)

    def _commit(self, worker: Worker) -> None:
        self.generation = worker.generation
        self.plan = self._next_plan
        self.size = self.plan.size
        self._attempt, self._candidate = "", None
        self._crashes, self._not_before = 0, -inf
        self._drop_starts()  # of the old configuration
        self._order(orders.Adopt(), orders.Report("ready"))
        self._log(logging.INFO, f"reloaded: generation {self.generation} takes over")

    def _drop_starts(self) -> None:
        for worker in self._in(STARTING):
            self._order(orders.Tell(worker.number, "leave"))
            self._move(worker, "not wanted any more")

    def _give_up(self, reason: str, trace: str) -> None:
        if self._attempt == "trying":
            self._order(orders.Discard())
        self._attempt, self._candidate = "", None
        if self.phase != "stopping":
            self._log(logging.ERROR, f"RELOAD FAILED, generation {self.generation} goes on: {reason}", trace=trace)
            self._order(orders.Report("ready"))

    # --- signals and the end -------------------------------------------------------------------

    def _signal(self, name: str) -> None:
        if name == "HUP":
            self._reload()
        elif name in ("TTIN", "TTOU"):
            self._resize(1 if name == "TTIN" else -1)
        elif name == "USR1":
            self._order(orders.ReopenLogs())
            self._tell_all("reopen")
        elif name == "USR2":
            self._tell_all("dump")
        elif name == "QUIT" or (name == "INT" and self.phase == "stopping"):
            self._force(name)
        elif self.phase != "stopping":
            self._stop(0)
            self._log(logging.INFO, f"SIG{name}: finishing what is in flight")

    def _resize(self, change: int) -> None:
        size = min(max(1, self.size + change), SIZE_MAX)
        if size != self.size and self.phase == "serving":
            self.size = size
            self._log(logging.INFO, f"workers: {size}")

    def _stop(self, code: int, reason: str = "", trace: str = "") -> None:
        """Serve the backlog and what is in flight, and end."""
        if self.phase != "stopping":
            self.phase = "stopping"
            self._code, self._words = code, (reason, trace)
            self._order(orders.Report("stopping"), orders.CloseSockets())
        self._drop_starts()
        for worker in self.workers.values():
            self._drain(worker, "stop", handover=False)

    def _force(self, name: str) -> None:
        if self._forced:
            return
        self._forced = True
        self._stop(0)
        self._tell_all("stop")
        for worker in self.workers.values():
            self._move(worker, "forced")
        self._log(logging.WARNING, f"SIG{name}: stopping at once")

    # --- small things --------------------------------------------------------------------------

    def _in(self, state: str) -> list[Worker]:
        return [each for each in self.workers.values() if each.state == state]

    def _crowded(self) -> bool:
        """So many drain that no other one should be replaced by choice."""
        return len(self._in(DRAINING)) >= max(4, 2 * self.size)

    def _tell_all(self, word: orders.Word) -> None:
        for worker in self.workers.values():
            self._order(orders.Tell(worker.number, word))

    def _order(self, *made: Order) -> None:
        self._orders.extend(made)

    def _log(self, level: int, text: str, worker: Worker | None = None, trace: str = "") -> None:
        self._order(orders.Log(level, text, worker.number if worker else 0, trace))
