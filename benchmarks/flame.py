"""A flame graph of bridgeserve under the load of `hello`, by py-spy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.loads import wrk
from benchmarks.loads.client import Clients
from benchmarks.messages import Template
from benchmarks.processes import cores, pinned
from benchmarks.servers import SERVERS
from benchmarks.workloads import WORKLOADS

MODES = {
    "asgi": "bridgeserve-asgi",
    "wsgi-inline": "bridgeserve-wsgi-inline",
    "threads": "bridgeserve-threads",
    "processes": "bridgeserve-processes",
}
RATE = 500  # samples a second


def program() -> str:
    """Where py-spy is: beside our interpreter or on the path. Raises BenchmarkError."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise BenchmarkError("py-spy is not installed: it comes with the extra `bench`")
    return found


def _load(port: int, template: Template, connections: int, seconds: float) -> None:
    if wrk.installed():
        wrk.run(port, template, connections, seconds)
        return
    with Clients(port, template, connections) as clients:
        clients.run(seconds)


def record(mode: str, workload: str, seconds: int, native: bool, out: Path) -> None:
    """Write the flame graph of a mode as SVG. Raises BenchmarkError."""
    server, chosen = SERVERS[MODES[mode]], WORKLOADS[workload]
    if server.interface not in chosen.apps or chosen.kind != "closed":
        raise BenchmarkError(f"{workload} is no load for {mode}")
    command = [program(), "record", "--format", "flamegraph", "--output", str(out), "--rate", str(RATE)]
    command += ["--duration", str(seconds), "--subprocesses", *(["--native"] if native else [])]
    server_core, load_core = cores()
    threads = 1 if mode == "threads" else chosen.threads  # py-spy takes some that sleep for ones that run
    app, template = chosen.apps[server.interface], chosen.requests[server.interface]
    with pinned(load_core), server.running(app, threads, False, server_core) as found:
        # The load outlasts the recording, so that no sample is of an idle server.
        load = threading.Thread(target=_load, args=(found.port, template, chosen.connections, seconds + 2.0))
        load.start()
        try:
            command += ["--pid", str(found.pid)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        finally:
            load.join()
    if done.returncode:
        hint = "It needs the right to trace other processes: root, or kernel.yama.ptrace_scope=0."
        raise BenchmarkError(f"py-spy failed: {done.stderr.strip()[-300:]}\n{hint}")
    # Where the programs lie is nobody's business.
    beside = str(Path(sys.executable).parent) + "/"
    out.write_text(out.read_text(encoding="utf-8").replace(beside, ""), encoding="utf-8")
