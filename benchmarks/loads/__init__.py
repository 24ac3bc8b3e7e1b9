"""The loads, by the name that a workload gives as its `kind`: each takes a target and gives back figures."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figures
from benchmarks.loads import closed, connections, start, steady, transfer, websocket
from benchmarks.loads.target import Target

KINDS: dict[str, Callable[[Target], Figures]] = {
    "closed": closed.closed,
    "churn": closed.churn,
    "mixed": steady.mixed,
    "download": transfer.download,
    "upload": transfer.upload,
    "file": transfer.file,
    "idle": connections.idle,
    "start": start.start,
    "ws-echo": websocket.echo,
    "ws-idle": websocket.idle,
}
