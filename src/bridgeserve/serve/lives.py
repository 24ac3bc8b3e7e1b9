"""The life of one worker, as a table."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from bridgeserve.serve.orders import Plan

STARTING, LEAVING, SERVING, DRAINING, ENDING, GONE = (
    "starting", "leaving", "serving", "draining", "ending", "gone"
)  # fmt: skip
# A worker: (state, what happens) -> next state. What is not here cannot happen, or changes nothing.
TABLE: dict[tuple[str, str], str] = {
    (STARTING, "ready"): SERVING,
    (STARTING, "not wanted any more"): LEAVING,
    (STARTING, "start took too long"): ENDING,
    (STARTING, "exit"): GONE,
    (LEAVING, "ready"): DRAINING,
    (LEAVING, "does not leave"): ENDING,
    (LEAVING, "forced"): ENDING,
    (LEAVING, "exit"): GONE,
    (SERVING, "successor ready"): DRAINING,
    (SERVING, "silent, successor ready"): ENDING,
    (SERVING, "stop"): DRAINING,
    (SERVING, "forced"): ENDING,
    (SERVING, "exit"): GONE,
    (DRAINING, "drain took too long"): ENDING,
    (DRAINING, "forced"): ENDING,
    (DRAINING, "exit"): GONE,
    (ENDING, "exit"): GONE,
}


@dataclass(slots=True)
class Worker:
    """What is known of one. Times are when it entered its state, and when its loop has last turned. plan: what it was
    started with, which a reload does not change.
    """

    number: int
    generation: int
    since: float
    beat: float
    plan: Plan
    state: str = STARTING
    due: str = ""
    drained: bool = False
    reason: str = ""
    trace: str = ""


def ending_of(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def diagram() -> str:
    """TABLE as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", f"    [*] --> {STARTING}"]
    for (state, what), then in TABLE.items():
        lines.append(f"    {state} --> {'[*]' if then == GONE else then}: {what}")
    return "\n".join(lines)
