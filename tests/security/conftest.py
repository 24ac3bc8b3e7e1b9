"""The servers of the conformance suites and of the tests against real processes, for this folder too."""

from __future__ import annotations

import sys
from pathlib import Path

# The helpers are imported as conformance.case, e2e.server and so on.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.conftest import servers
from e2e.conftest import no_socket_left, start

__all__ = ["no_socket_left", "servers", "start"]
