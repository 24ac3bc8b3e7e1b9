"""wrk: the load that costs least. For throughput only: it waits for an answer before it sends, so it hides a stall."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from benchmarks.errors import BenchmarkError
from benchmarks.messages import Template

HOW_TO_GET_IT = "wrk is not installed: apt-get install wrk. The slower Python client takes its place."
_MARK = "benchmark-summary "
_ERRORS = ("connect", "read", "write", "status", "timeout")

# `wrk.init` would build the request again for each call; ours is two joins and a format.
_SCRIPT = """
local prefix, suffix, count = %s, %s, 0
request = function()
  count = count + 1
  return prefix .. string.format("%%08x%%08x", count * 2654435761 %% 4294967296, count) .. suffix
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '%s{"requests":%%d,"duration_us":%%d,"connect":%%d,"read":%%d,"write":%%d,"status":%%d,"timeout":%%d}\\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
"""


@dataclass(frozen=True)
class Summary:
    """What wrk counted."""

    requests: int
    seconds: float


def installed() -> bool:
    """True where wrk can be run."""
    return shutil.which("wrk") is not None


def quoted(data: bytes) -> str:
    """Octets as a string of Lua: everything but letters and digits by its number."""
    return '"' + "".join(chr(c) if chr(c).isalnum() and c < 128 else f"\\{c:03}" for c in data) + '"'


def script(template: Template) -> str:
    """The Lua that sends the template, a new id in each request, and reports as a line of JSON."""
    return _SCRIPT % (quoted(template.prefix), quoted(template.suffix), _MARK)


def parse(text: str) -> Summary:
    """The summary in wrk's output. Raises BenchmarkError for a failed or incomplete run."""
    match = re.search(rf"^{_MARK}(\{{.*\}})$", text, re.M)
    if match is None:
        raise BenchmarkError(f"wrk gave no summary: {text[-300:].strip()}")
    found = json.loads(match[1])
    failed = [f"{found[name]} {name}" for name in _ERRORS if found[name]]
    if failed:
        raise BenchmarkError(f"errors under load: {', '.join(failed)}, {found['requests']} answers")
    if not found["requests"]:
        raise BenchmarkError("no answer under load")
    return Summary(found["requests"], found["duration_us"] / 1e6)


def run(port: int, template: Template, connections: int, seconds: float) -> Summary:
    """Load for so many seconds (whole ones: wrk knows no others), from the core that we are on."""
    whole = max(math.ceil(seconds), 1)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script(template))
        file.flush()
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{whole}s"]
        command += ["--timeout", "10s", "--script", file.name, f"http://127.0.0.1:{port}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=whole + 30, check=False)
        except subprocess.TimeoutExpired:
            raise BenchmarkError("wrk did not end") from None
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {(done.stderr or done.stdout)[-300:].strip()}")
    return parse(done.stdout)
