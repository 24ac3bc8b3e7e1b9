"""The fleet as a pure state machine: events and the time in, orders out."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridgeserve.serve import fleet as module
from bridgeserve.serve import orders
from bridgeserve.serve.fleet import Fleet, pause
from bridgeserve.serve.lives import DRAINING, ENDING, GONE, LEAVING, SERVING, STARTING, TABLE, diagram, ending_of
from bridgeserve.serve.orders import Event, Order, Plan

KILLED = -int(signal.SIGKILL)


class Yard:
    """A fleet, the time, and what was ordered. Workers do as they are told, when the test lets them."""

    def __init__(self, size: int = 1, **more: float | None) -> None:
        self.now = 1000.0
        self.fleet = Fleet(Plan(size=size, **more))  # type: ignore[arg-type]
        self.made: list[Order] = []
        self.take(self.fleet.start(self.now))

    def take(self, made: list[Order]) -> list[Order]:
        self.made += made
        return made

    def __call__(self, event: Event, after: float = 0.0) -> list[Order]:
        self.now += after
        return self.take(self.fleet.handle(event, self.now))

    def later(self, seconds: float, beating: bool = True) -> list[Order]:
        """Let time pass, tick by tick, while the workers that serve beat."""
        end, made = self.now + seconds, []
        while self.now < end:
            self.now = min(end, self.fleet.deadline() if not beating else self.now + 1.0)
            if beating:
                for number in self.of(SERVING):
                    made += self(orders.Beat(number))
            made += self(orders.Tick())
        return made

    def of(self, state: str) -> list[int]:
        return [each.number for each in self.fleet.workers.values() if each.state == state]

    def ready(self) -> list[Order]:
        """All that start are ready."""
        return [order for number in self.of(STARTING) for order in self(orders.Ready(number))]

    def steady(self) -> None:
        """Until nothing changes by itself: who starts becomes ready, who drains ends."""
        for _ in range(200):
            mark = len(self.made)
            self.ready()
            for number in [*self.of(DRAINING), *self.of(LEAVING), *self.of(ENDING)]:
                self(orders.Exited(number, 0))
            if orders.Configure() in self.made[mark:]:
                self(orders.Configured(self.fleet.plan))
            if all(each.state == SERVING for each in self.fleet.workers.values()):
                return
        raise AssertionError("it never comes to rest")

    def hup(self, plan: Plan | None = None) -> list[Order]:
        assert orders.Configure() in self(orders.Signal("HUP"))
        return self(orders.Configured(plan or self.fleet.plan))

    def ordered(self, kind: type[Order]) -> list[Order]:
        return [order for order in self.made if isinstance(order, kind)]

    def logged(self, text: str) -> bool:
        return any(isinstance(order, orders.Log) and text in order.text for order in self.made)

    @property
    def end(self) -> orders.End | None:
        found = self.ordered(orders.End)
        assert len(found) <= 1
        return found[0] if found else None  # type: ignore[return-value]


def serving(size: int = 1, **more: float | None) -> Yard:
    yard = Yard(size, **more)
    yard.ready()
    assert len(yard.of(SERVING)) == size
    yard.made.clear()
    return yard


# --- the start -----------------------------------------------------------------------------------


def test_the_first_generation() -> None:
    yard = Yard(3)
    assert yard.made == [orders.Spawn(number, 1) for number in (1, 2, 3)]
    assert yard(orders.Ready(2)) == []
    assert yard(orders.Ready(1)) == []
    assert yard(orders.Ready(3)) == [orders.Announce(), orders.Report("ready")]


def test_a_large_fleet_does_not_start_all_at_once() -> None:
    yard = Yard(20)
    assert yard.of(STARTING) == list(range(1, 9))
    yard(orders.Ready(1))
    assert len(yard.of(STARTING)) == 8


def test_a_first_generation_that_cannot_start_is_3_and_says_why_once() -> None:
    yard = Yard(2)
    yard(orders.Failed(2, "no module", "Traceback"))
    yard(orders.Failed(1, "no module", "Traceback"))
    made = yard(orders.Exited(2, 3))
    assert orders.Tell(1, "leave") in made
    assert yard.end is None
    yard(orders.Exited(1, 3))
    assert yard.end == orders.End(3, "no module", "Traceback")


def test_a_first_worker_that_dies_without_a_word_is_3() -> None:
    yard = Yard()
    yard(orders.Exited(1, -int(signal.SIGSEGV)))
    assert yard.end == orders.End(3, "its process has ended: signal SIGSEGV")


def test_a_first_generation_that_takes_too_long_is_3() -> None:
    yard = Yard(start=10.0)
    yard.later(9.5)
    assert yard.of(STARTING) == [1]
    made = yard.later(1.0)
    assert orders.Stacks(1) in made
    assert orders.Kill(1) in yard.later(1.5)
    yard(orders.Exited(1, KILLED))
    assert yard.end is not None
    assert yard.end.code == 3
    assert "--timeout-start" in yard.end.reason


def test_term_during_the_start() -> None:
    yard = Yard(2)
    yard(orders.Ready(1))
    made = yard(orders.Signal("TERM"))
    assert orders.Drain(1, handover=False) in made
    assert orders.Tell(2, "leave") in made
    assert orders.Kill(2) in yard.later(1.5)
    yard(orders.Exited(2, KILLED))
    yard(orders.Exited(1, 0))
    assert yard.end == orders.End(0)


# --- crashes -------------------------------------------------------------------------------------


def test_a_crashed_worker_is_replaced_at_once() -> None:
    yard = serving(2)
    yard.later(5.0)
    made = yard(orders.Exited(1, KILLED))
    assert orders.Spawn(3, 1) in made
    assert yard.logged("signal SIGKILL")


def test_workers_killed_every_two_seconds_are_replaced_each_time_at_once() -> None:
    yard = serving(2)
    for _ in range(50):
        yard.later(2.0)
        made = yard(orders.Exited(yard.of(SERVING)[0], KILLED))
        assert any(isinstance(order, orders.Spawn) for order in made)
        yard.ready()
    assert yard.end is None


def test_a_crash_at_the_first_request_backs_off_and_is_never_a_reason_to_leave() -> None:
    yard = serving()
    began = yard.now
    for _ in range(20):
        yard(orders.Exited(yard.of(SERVING)[0], 1), after=0.1)
        yard.later(pause(30) + 1.0) if not yard.of(STARTING) else None
        yard.ready()
    assert yard.end is None
    assert yard.now - began > 15 * 30.0


def test_a_crash_loop_of_starts_is_4() -> None:
    yard = serving()
    yard.later(5.0)
    yard(orders.Exited(1, KILLED))
    waits = []
    while yard.end is None:
        yard(orders.Exited(yard.of(STARTING)[0], 1), after=0.1)
        began = yard.now
        while yard.end is None and not yard.of(STARTING):
            yard.later(0.5)
        waits.append(round(yard.now - began))
    assert waits == [1, 2, 4, 8, 16, 0]
    assert yard.end == orders.End(4)


def test_failing_starts_are_no_crash_loop_while_somebody_serves() -> None:
    yard = serving(2)
    yard.later(5.0)
    yard(orders.Exited(1, KILLED))
    for _ in range(20):
        yard(orders.Exited(yard.of(STARTING)[0], 1), after=0.1)
        assert yard.of(STARTING) == []
        yard.later(31.0)
        assert len(yard.of(STARTING)) == 1
    yard.ready()
    assert yard.of(SERVING) == [2, max(yard.of(SERVING))]
    assert yard.end is None


def test_a_worker_whose_pool_crashes_again_and_again_is_4() -> None:
    yard = serving()
    yard.later(100.0)
    yard(orders.Exited(1, 4))
    assert yard.of(STARTING) == []
    assert yard.end == orders.End(4)


# --- replacement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
def test_due_workers_go_one_at_a_time_and_the_new_one_is_ready_first(size: int) -> None:
    yard = serving(size)
    for number in yard.of(SERVING):
        yard(orders.Due(number, "max_requests"))
    least = size
    for _ in range(size):
        assert len(yard.of(STARTING)) == 1
        assert yard.of(DRAINING) == []
        [order] = [each for each in yard.ready() if isinstance(each, orders.Drain)]
        assert order.handover
        least = min(least, len(yard.of(SERVING)))
        yard(orders.Exited(order.worker, 0))
    assert least == size
    assert yard.of(STARTING) == []
    assert yard.of(SERVING) == list(range(size + 1, 2 * size + 1))


def test_a_silent_worker_is_replaced_first_and_then_killed() -> None:
    yard = serving(1, silence=60.0)
    yard.later(59.0, beating=False)
    assert yard.of(STARTING) == []
    made = yard.later(1.5, beating=False)
    assert orders.Stacks(1) in made
    assert yard.of(STARTING) == [2]
    assert not yard.ordered(orders.Kill)
    assert orders.Kill(1) in yard(orders.Ready(2))


def test_a_silent_worker_that_comes_back_is_drained_and_not_killed() -> None:
    yard = serving(1, silence=60.0)
    yard.later(61.0, beating=False)
    yard(orders.Beat(1))
    assert orders.Drain(1, handover=True) in yard(orders.Ready(2))
    assert not yard.ordered(orders.Kill)


def test_silence_is_allowed_by_choice() -> None:
    yard = serving(1, silence=None)
    yard.later(10_000.0, beating=False)
    assert yard.of(STARTING) == []


def test_nobody_is_called_silent_because_we_slept() -> None:
    yard = serving(2, silence=60.0)
    yard(orders.Tick(), after=3600.0)
    assert yard.of(STARTING) == []
    yard.later(30.0)
    assert yard.of(SERVING) == [1, 2]


def test_no_start_took_too_long_because_we_slept() -> None:
    """What it has said meanwhile is heard before it is judged."""
    yard = Yard(2, start=10.0)
    yard(orders.Ready(1), after=3600.0)
    yard(orders.Ready(2))
    assert yard.of(SERVING) == [1, 2]
    assert orders.Announce() in yard.made


def test_more_and_fewer() -> None:
    yard = serving(2)
    yard(orders.Signal("TTIN"))
    assert yard.of(STARTING) == [3]
    yard.ready()
    assert yard.of(SERVING) == [1, 2, 3]
    for _ in range(5):
        yard(orders.Signal("TTOU"))
    assert yard.of(SERVING) == [1]
    assert yard.of(DRAINING) == [2, 3]


# --- reload --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_reload_replaces_all_and_there_are_never_fewer(size: int) -> None:
    yard = serving(size)
    made = yard.hup()
    assert yard.of(STARTING) == [size + 1]
    assert yard.of(SERVING) == list(range(1, size + 1))
    made = yard.ready()
    assert orders.Adopt() in made
    assert made.index(orders.Adopt()) < made.index(orders.Drain(yard.of(DRAINING)[0], handover=True))
    for _ in range(size):
        assert len(yard.of(SERVING)) == size
        yard.ready()
    assert {each.generation for each in yard.fleet.workers.values() if each.state == SERVING} == {2}
    assert len(yard.of(DRAINING)) == size
    assert orders.Report("reloading") in yard.made
    assert yard.made.count(orders.Report("ready")) == 1


def test_a_reload_that_fails_changes_nothing() -> None:
    yard = serving(2)
    yard.hup()
    yard(orders.Failed(3, "SyntaxError", "Traceback"))
    made = yard(orders.Exited(3, 3))
    assert orders.Discard() in made
    assert orders.Report("ready") in made
    assert yard.of(SERVING) == [1, 2]
    assert yard.logged("RELOAD FAILED, generation 1 goes on: SyntaxError")
    yard.later(100.0)
    assert yard.of(STARTING) == []
    yard.hup()
    yard.steady()
    assert yard.of(SERVING) == [4, 5]
    assert yard.fleet.generation == 3


def test_a_reload_that_hangs_has_an_end() -> None:
    yard = serving(1, start=20.0)
    yard.hup()
    yard.later(25.0)
    assert orders.Kill(2) in yard.made
    yard(orders.Exited(2, KILLED))
    assert yard.of(SERVING) == [1]
    assert yard.logged("--timeout-start")
    assert yard.logged("RELOAD FAILED")


def test_a_wrong_configuration_changes_nothing() -> None:
    yard = serving()
    assert orders.Configure() in yard(orders.Signal("HUP"))
    made = yard(orders.Misconfigured("--threads many"))
    assert orders.Report("ready") in made
    assert not yard.ordered(orders.Discard)
    assert yard.of(SERVING) == [1]
    assert yard.logged("--threads many")


def test_a_reload_may_change_the_size() -> None:
    yard = serving(3)
    yard.hup(Plan(size=1))
    yard.steady()
    assert yard.of(SERVING) == [4]
    yard.hup(Plan(size=4))
    yard.steady()
    assert len(yard.of(SERVING)) == 4


def test_a_hup_during_a_reload_is_one_more_reload() -> None:
    yard = serving()
    yard.hup()
    for _ in range(1000):
        yard(orders.Signal("HUP"))
    assert yard.of(STARTING) == [2]
    assert orders.Configure() in yard.ready()
    yard(orders.Configured(Plan()))
    yard.steady()
    assert yard.of(SERVING) == [3]


def test_a_hup_during_the_start_waits_for_it() -> None:
    yard = Yard()
    assert orders.Configure() not in yard(orders.Signal("HUP"))
    assert orders.Configure() in yard.ready()


def test_reloads_wait_while_too_many_older_workers_drain() -> None:
    yard = serving()
    for _ in range(4):
        yard.hup()
        yard.ready()
    assert len(yard.of(DRAINING)) == 4
    assert orders.Configure() not in yard(orders.Signal("HUP"))
    assert orders.Configure() in yard(orders.Exited(yard.of(DRAINING)[0], 0))


def test_a_later_worker_of_a_new_generation_that_fails_is_tried_again() -> None:
    yard = serving(2)
    yard.hup()
    yard(orders.Ready(3))
    assert yard.of(SERVING) == [2, 3] or yard.of(SERVING) == [1, 3]
    [fourth] = yard.of(STARTING)
    yard(orders.Exited(fourth, 1))
    assert len(yard.of(SERVING)) == 2
    yard.later(2.0)
    yard.steady()
    assert {each.generation for each in yard.fleet.workers.values()} == {2}


def test_an_old_worker_that_starts_when_the_reload_succeeds_is_not_wanted_any_more() -> None:
    yard = serving(2)
    yard.later(5.0)
    yard.hup()
    yard(orders.Exited(1, KILLED))
    assert yard.of(STARTING) == [3, 4]
    assert orders.Tell(4, "leave") in yard(orders.Ready(3))
    yard.steady()
    assert {each.generation for each in yard.fleet.workers.values()} == {2}


def test_one_that_was_ready_before_it_heard_that_it_is_not_wanted_is_drained() -> None:
    """It accepts already: whom it has accepted is served."""
    yard = serving(2)
    yard.hup()
    yard.ready()
    assert yard.of(STARTING) == [4]
    yard.hup()
    assert orders.Tell(4, "leave") in yard(orders.Ready(5))
    assert orders.Drain(4, handover=True) in yard(orders.Ready(4))
    assert 4 in yard.of(DRAINING)
    yard = Yard(2)
    yard(orders.Signal("TERM"))
    assert orders.Drain(1, handover=False) in yard(orders.Ready(1))


def test_changed_files_are_a_reload() -> None:
    yard = serving()
    assert orders.Configure() in yard(orders.FilesChanged())


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_stop_drains_all_and_closes_our_sockets_first(name: str) -> None:
    yard = serving(2)
    made = yard(orders.Signal(name))
    assert made[:4] == [
        orders.Report("stopping"),
        orders.CloseSockets(),
        orders.Drain(1, False),
        orders.Drain(2, False),
    ]
    assert yard.logged(f"SIG{name}")
    yard(orders.Exited(1, 0))
    assert yard.end is None
    yard(orders.Exited(2, 0))
    assert yard.end == orders.End(0)
    assert yard(orders.Signal("HUP")) == []


def test_a_drain_has_an_end() -> None:
    yard = serving(1, grace=10.0)
    yard(orders.Signal("TERM"))
    assert yard.later(10.9) == []
    made = yard.later(0.2)
    assert orders.Stacks(1) in made
    assert orders.Kill(1) in yard.later(1.1)
    yard(orders.Exited(1, KILLED))
    assert yard.end == orders.End(0)


def test_an_older_worker_keeps_the_grace_time_that_it_was_started_with() -> None:
    yard = serving(1, grace=30.0)
    yard.hup(Plan(grace=2.0))
    yard.ready()
    assert yard.of(DRAINING) == [1]
    yard.later(30.0)
    assert not yard.ordered(orders.Stacks)
    yard.later(3.0)
    assert orders.Kill(1) in yard.made


def test_the_shutdown_of_the_application_has_its_own_time() -> None:
    yard = serving(1, grace=10.0)
    yard(orders.Signal("TERM"))
    yard.later(9.0)
    yard(orders.Drained(1))
    assert yard.later(12.5) == []
    assert orders.Stacks(1) in yard.later(1.0)


def test_a_second_term_changes_nothing() -> None:
    yard = serving()
    yard(orders.Signal("TERM"))
    assert yard(orders.Signal("TERM")) == []


@pytest.mark.parametrize("names", [("QUIT",), ("INT", "INT"), ("TERM", "INT"), ("INT", "QUIT")])
def test_a_second_int_or_a_quit_stops_at_once(names: tuple[str, ...]) -> None:
    yard = serving(2)
    for name in names:
        made = yard(orders.Signal(name))
    assert orders.Tell(1, "stop") in made
    assert orders.Tell(2, "stop") in made
    assert {orders.Kill(1), orders.Kill(2)} <= set(yard.later(1.1))
    yard(orders.Exited(1, KILLED))
    yard(orders.Exited(2, KILLED))
    assert yard.end == orders.End(0)


def test_signals_that_every_worker_gets() -> None:
    yard = serving(2)
    assert yard(orders.Signal("USR1")) == [orders.ReopenLogs(), orders.Tell(1, "reopen"), orders.Tell(2, "reopen")]
    assert yard(orders.Signal("USR2")) == [orders.Tell(1, "dump"), orders.Tell(2, "dump")]


# --- the table, and any order of events ----------------------------------------------------------


def test_every_state_has_an_end() -> None:
    for state in (STARTING, LEAVING, SERVING, DRAINING, ENDING):
        assert TABLE[state, "exit"] == GONE
    assert diagram().count("-->") == len(TABLE) + 1


def test_words() -> None:
    assert [pause(count) for count in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert (ending_of(3), ending_of(-9), ending_of(-200)) == ("exit code 3", "signal SIGKILL", "signal 200")


# What may happen to a worker, and to the whole.
KINDS: dict[str, Callable[[int], Event]] = {
    "ready": orders.Ready,
    "ends": lambda number: orders.Exited(number, 0),
    "killed": lambda number: orders.Exited(number, KILLED),
    "due": lambda number: orders.Due(number, "lifetime"),
    "beat": orders.Beat,
    "drained": orders.Drained,
}
NAMES = ("HUP", "HUP", "TTIN", "TTOU", "USR1", "USR2", "files", "tick")
STEPS = st.tuples(
    st.one_of(st.sampled_from(["ready", *KINDS]), st.sampled_from(NAMES)),
    st.integers(0, 7),  # which of the workers
    st.sampled_from([0.0, 0.1, 1.0, 4.0, 70.0]),
)


def event_of(what: str, index: int, yard: Yard) -> Event:
    """An event of one of the workers there are, or of one that is gone; or of the whole."""
    if what in KINDS:
        numbers = sorted(yard.fleet.workers) or [1]
        return KINDS[what](numbers[index % len(numbers)])
    return {"files": orders.FilesChanged(), "tick": orders.Tick()}.get(what) or orders.Signal(what)


@settings(max_examples=300)
@given(st.integers(1, 3), st.lists(STEPS, max_size=60))
def test_whatever_happens(size: int, story: list[tuple[str, int, float]]) -> None:
    yard = Yard(size)
    for what, index, after in story:
        before = len(yard.of(SERVING))
        made = yard(event_of(what, index, yard), after=after)
        if orders.Configure() in made:
            made += yard(orders.Configured(Plan(size=size)))
        drained = [each for each in made if isinstance(each, orders.Drain)]
        stopping = yard.fleet.phase in ("stopping", "ended")
        if drained and not stopping:  # nobody is told to leave before there is somebody else
            assert all(each.handover for each in drained)
            assert len(yard.of(SERVING)) >= min(before, yard.fleet.size)
        assert len(yard.of(SERVING)) <= max(before, yard.fleet.size + 1)
        assert len(yard.of(STARTING)) <= module.STARTS_MAX + 1
    spawned = [each.worker for each in yard.ordered(orders.Spawn)]  # type: ignore[union-attr]
    assert len(set(spawned)) == len(spawned)
    if yard.fleet.phase == "serving":  # left alone it comes to rest, whole
        for _ in range(3):
            yard.steady()
            yard.later(31.0)
        yard.steady()
        assert len(yard.of(SERVING)) == yard.fleet.size
    yard(orders.Signal("TERM"))
    yard(orders.Signal("QUIT"))
    for number in list(yard.fleet.workers):
        yard(orders.Exited(number, 0))
    assert yard.end is not None
