"""A fleet that waits for a change where another one would end (`--reload`), as a pure state machine."""

from __future__ import annotations

import pytest

from bridgeserve.serve import orders
from bridgeserve.serve.lives import SERVING, STARTING
from bridgeserve.serve.orders import Plan
from serve.test_fleet import Yard

PATIENT = Plan(patient=True)


def fail(yard: Yard, *numbers: int) -> None:
    for number in numbers:
        yard(orders.Failed(number, "broken", "trace"))
        yard(orders.Exited(number, 3))


@pytest.mark.parametrize("event", [orders.FilesChanged(), orders.Signal("HUP")])
def test_a_first_start_that_fails_is_tried_again_after_a_change(event: orders.Event) -> None:
    yard = Yard(2, patient=True)
    fail(yard, 1, 2)
    logs = [order for order in yard.made if isinstance(order, orders.Log)]
    assert [(order.text, order.trace) for order in logs] == [("broken; waiting for a change", "trace")]
    yard.later(600.0)
    assert yard.end is None
    assert yard.of(STARTING) == []
    yard(event)
    assert len(yard.of(STARTING)) == 2
    yard.ready()
    assert len(yard.of(SERVING)) == 2
    assert yard.ordered(orders.Announce)


def test_a_start_by_the_old_files_is_dropped() -> None:
    yard = Yard(2, patient=True)
    fail(yard, 1)
    yard(orders.FilesChanged())
    assert orders.Tell(2, "leave") in yard.made
    assert yard.of(STARTING) == [3, 4]
    yard(orders.Exited(2, 0))
    yard.ready()
    assert yard.of(SERVING) == [3, 4]


def test_a_change_while_the_first_worker_starts_is_not_lost() -> None:
    yard = Yard(patient=True)
    yard(orders.FilesChanged())
    fail(yard, 1)
    assert yard.of(STARTING) == [2]


def test_a_candidate_that_fails_changes_nothing() -> None:
    yard = Yard(patient=True)
    yard.ready()
    yard(orders.FilesChanged())
    yard(orders.Configured(PATIENT))
    fail(yard, 2)
    assert yard.of(SERVING) == [1]
    assert yard.logged("RELOAD FAILED")
    yard(orders.FilesChanged())
    yard(orders.Configured(PATIENT))
    yard(orders.Ready(3))
    yard.steady()
    assert yard.of(SERVING) == [3]


def test_a_worker_that_crashes_and_cannot_start_again_waits_too() -> None:
    yard = Yard(patient=True)
    yard.ready()
    yard(orders.Exited(1, 1), after=10.0)
    fail(yard, 2)
    yard.later(600.0)
    assert (yard.end, yard.of(STARTING)) == (None, [])
    yard(orders.FilesChanged())
    assert yard.of(STARTING) == [3]


def test_processes_that_crash_again_and_again_are_waited_out() -> None:
    yard = Yard(patient=True)
    yard.ready()
    yard(orders.Exited(1, 4), after=10.0)
    assert yard.end is None
    assert yard.of(STARTING) == []
    yard(orders.FilesChanged())
    assert yard.of(STARTING) == [2]


def test_what_waits_can_be_stopped() -> None:
    yard = Yard(patient=True)
    fail(yard, 1)
    yard(orders.Signal("TERM"))
    assert yard.end == orders.End(0)
