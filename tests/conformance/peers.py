"""The same table of HTTP/1.1 against other servers: `make conformance-peers` writes docs/conformance.md.

Each server runs the mirror app of its kind. A case is passed when what came is one of the outcomes that the
text permits. Only loopback is used, and only what was started here is ended.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.case import Case
from conformance.client import Observed, play
from conformance.http1.tables import TOPICS
from conformance.judge import Journal, Record, differences, passes
from conformance.page import Result, write_page
from conformance.servers import ALL, APPS

PATIENCE = 1.0  # seconds that a server may say nothing
START = 20.0
AT_ONCE = 6  # cases at a time, where the app learns the port of its client
ADDRESS = "127.0.0.1"
PYTHON = (sys.executable, "-m")
RUN_WERKZEUG = (
    "import sys, logging; from werkzeug.serving import run_simple; from mirror_wsgi import application;"
    "logging.getLogger('werkzeug').setLevel(100); run_simple('127.0.0.1', int(sys.argv[1]), application, threaded=True)"
)


@dataclass(frozen=True)
class Server:
    """One server.

    :param package: whose version is told.
    :param command: with {port} in it.
    :param alone: one case at a time, for the app does not learn the port of its client.
    """

    name: str
    package: str
    kind: str
    command: tuple[str, ...]
    alone: bool = False

    @property
    def ours(self) -> bool:
        """It is bridgeserve."""
        return self.package == "bridgeserve"


def _bridgeserve() -> Iterator[Server]:
    for combination in ALL:
        app = f"mirror_{combination.kind}:application"
        command = (*PYTHON, "bridgeserve", app, *combination.options, "--bind", ADDRESS + ":{port}")
        name = f"bridgeserve {combination.mode} {combination.kind}, --http {combination.reader}"
        yield Server(name, "bridgeserve", combination.kind, command)


ASGI, WSGI = "mirror_asgi:application", "mirror_wsgi:application"
UVICORN = (*PYTHON, "uvicorn", ASGI, "--port", "{port}", "--lifespan", "off", "--log-level", "critical", "--http")
GRANIAN = (*PYTHON, "granian", "--host", ADDRESS, "--port", "{port}", "--no-log", "--interface")
GUNICORN = (*PYTHON, "gunicorn", "--bind", ADDRESS + ":{port}", "--log-level", "critical", "--threads", "8", "-k")
UWSGI = ("--module", WSGI, "--master", "--threads", "8", "--disable-logging", "--http-keepalive")

SERVERS: tuple[Server, ...] = (
    *_bridgeserve(),
    Server("uvicorn, h11", "uvicorn", "asgi", (*UVICORN, "h11")),
    Server("uvicorn, httptools", "uvicorn", "asgi", (*UVICORN, "httptools")),
    Server("hypercorn", "hypercorn", "asgi", (*PYTHON, "hypercorn", "--bind", ADDRESS + ":{port}", ASGI)),
    Server("granian, asgi", "granian", "asgi", (*GRANIAN, "asgi", ASGI)),
    Server("granian, wsgi", "granian", "wsgi", (*GRANIAN, "wsgi", "--blocking-threads", "8", WSGI), alone=True),
    Server("gunicorn, gthread", "gunicorn", "wsgi", (*GUNICORN, "gthread", WSGI)),
    Server("gunicorn, asgi", "gunicorn", "asgi", (*GUNICORN, "asgi", ASGI)),
    Server(
        "waitress", "waitress", "wsgi", (*PYTHON, "waitress", "--listen", ADDRESS + ":{port}", "--threads", "8", WSGI)
    ),
    Server("cheroot", "cheroot", "wsgi", (*PYTHON, "cheroot", WSGI, "--bind", ADDRESS + ":{port}")),
    Server("daphne", "daphne", "asgi", (*PYTHON, "daphne", "-b", ADDRESS, "-p", "{port}", ASGI)),
    Server("werkzeug", "werkzeug", "wsgi", (sys.executable, "-c", RUN_WERKZEUG, "{port}")),
    Server("uWSGI, --http", "pyuwsgi", "wsgi", ("uwsgi", "--http", ADDRESS + ":{port}", *UWSGI), alone=True),
)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind((ADDRESS, 0))
        return int(one.getsockname()[1])


@contextmanager
def running(server: Server, journal: Path) -> Iterator[tuple[str, int]]:
    """Start a server and wait until it accepts; end it and its children."""
    port = free_port()
    command = [part.replace("{port}", str(port)) for part in server.command]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    env = {**os.environ, "PATH": path, "CONFORMANCE_JOURNAL": str(journal), "PYTHONPATH": str(APPS)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=APPS, env=env, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        _wait(process, port)
        yield ADDRESS, port
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)  # its own session: the workers end with it
                process.wait(5.0)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}")
        try:
            socket.create_connection((ADDRESS, port), 1.0).close()
            return
        except ConnectionError:
            time.sleep(0.05)
    raise RuntimeError("it does not listen")


def run(server: Server) -> dict[str, list[Result]]:
    """All cases of all topics against one server."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        with running(server, journal.path) as address:
            if server.alone:
                return {
                    topic: [_judge(case, *_one(case, address, journal)) for case in cases]
                    for topic, cases in TOPICS.items()
                }
            return _many(address, journal)


def _one(case: Case, address: tuple[str, int], journal: Journal) -> tuple[Observed, list[Record]]:
    journal.news(None)
    observed, _ = play(case, address, PATIENCE)
    return observed, journal.news(None)


def _many(address: tuple[str, int], journal: Journal) -> dict[str, list[Result]]:
    cases = [case for topic in TOPICS.values() for case in topic]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        played = list(pool.map(lambda case: play(case, address, PATIENCE), cases))
    by_port: dict[int, list[Record]] = {}
    for record in journal.all():
        by_port.setdefault(record["port"], []).append(record)
    ports = Counter(port for _, port in played)
    results = {}
    rest = iter(zip(cases, played, strict=True))
    for topic, own in TOPICS.items():
        results[topic] = []
        for case, (observed, port) in (next(rest) for _ in own):
            if ports[port] > 1:  # two connections had the same port: nobody knows whose records these are
                observed, records = _one(case, address, journal)
            else:
                records = by_port.get(port, [])
            results[topic].append(_judge(case, observed, records))
    return results


def _judge(case: Case, observed: Observed, records: list[Record]) -> Result:
    passed = passes(case, observed, records)
    statuses = tuple(answer.status for answer in observed.answers)
    exact = not differences(case.expect, observed, records)
    return Result(case, passed, exact, statuses, observed.end, len(records))


def main() -> int:
    """Run the servers that are installed and write the page; with names as arguments, print their failures instead."""
    names = sys.argv[1:]
    done: dict[Server, dict[str, list[Result]]] = {}
    for server in SERVERS:
        if names and not any(name in server.name for name in names):
            continue
        try:
            version(server.package)
            begin = time.monotonic()
            done[server] = run(server)
        except (PackageNotFoundError, RuntimeError, OSError) as error:
            print(f"{server.name}: not run: {error}", flush=True)
            continue
        results = [result for topic in done[server].values() for result in topic]
        good = sum(result.passed for result in results)
        print(f"{server.name}: {good} of {len(results)}, {time.monotonic() - begin:.0f} s", flush=True)
        if names:
            for topic, own in done[server].items():
                for result in own:
                    if not result.passed:
                        print(f"    {topic}: {result.case.name}: {result.told} {result.end}, {result.seen} seen")
    if not names:
        write_page({(server.name, version(server.package), server.ours): done[server] for server in done})
    return 0


if __name__ == "__main__":
    sys.exit(main())
