"""Long-lived servers for the conformance suites: one for each combination, for a whole session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The helpers are imported as conformance.case, e2e.server and so on.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.judge import Journal
from conformance.servers import APPS, Combination
from e2e.server import ServerProcess

Running = tuple[ServerProcess, Journal]
Servers = Callable[[str, Combination], Running]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The server that runs an app in a combination; started when it is asked for first."""
    running: dict[tuple[str, Combination], Running] = {}
    folder = tmp_path_factory.mktemp("conformance")

    def get(app: str, combination: Combination) -> Running:
        key = (app, combination)
        if key not in running:
            journal = Journal(folder / f"{app.replace(':', '-')}-{combination.name}.jsonl")
            env = {"CONFORMANCE_JOURNAL": str(journal.path)}
            server = ServerProcess(app, *combination.options, app_dir=APPS, env=env)
            running[key] = (server, journal)
            server.started()
        return running[key]

    yield get
    for server, _ in running.values():
        server.kill()
