"""How much is measured: the sizes of a full and of a quick run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes. Every load ends by them; nothing runs on because a server is slow."""

    rounds: int = 3
    seconds: float = 3.0  # of a load without pause
    warmup: float = 1.0
    latency_seconds: float = 4.0  # of the open model; 0: none
    mixed_seconds: float = 12.0
    megabytes: int = 100  # of one transfer, MiB
    idle: int = 5000
    churn: int = 5000  # connections
    load: str = "client"  # for loads without pause: "wrk" or "client"


FULL = Plan()
QUICK = Plan(
    rounds=2, seconds=1.0, warmup=0.4, latency_seconds=0.0, mixed_seconds=3.0, megabytes=30, idle=2000, churn=500
)
