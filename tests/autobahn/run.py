"""`make autobahn`: Autobahn's fuzzing client against bridgeserve; the summary goes into docs/conformance.md.

The suite runs on CPython 2.7 only. Where none is found this says so and ends with 0 (with 1 when CI is set). The
environment for it is made in .autobahn/ once. Only loopback is used, and only what was started here is ended.

    python tests/autobahn/run.py [core] [limits] [compression]

core is everything but 9, 12 and 13 (10 s), limits is 9 (half a minute), compression is a sample of 60 cases of
12 and 13 (two minutes). Without a word all three are run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.page import WEBSOCKET, put_websocket
from e2e.server import ROOT, ServerProcess

HERE = Path(__file__).resolve().parent
PLACE = ROOT / ".autobahn"
SUITE = "autobahntestsuite==25.10.1"
SAMPLE = [f"{group}.{part}.{case}" for group in (12, 13) for part in (1, 2, 3, 4, 5) for case in (1, 4, 7, 10, 14, 18)]
PARTS: dict[str, tuple[str, list[str], list[str]]] = {
    "core": ("framing, pings, fragments, UTF-8, closing (1 to 7, 10)", ["*"], ["9.*", "12.*", "13.*"]),
    "limits": ("large and many messages (9)", ["9.*"], []),
    "compression": ("a sample of permessage-deflate (12, 13)", SAMPLE, []),
}
GOOD = ("OK", "INFORMATIONAL")
Row = tuple[str, Counter[str], list[str]]


def find_python() -> str | None:
    """A CPython 2.7."""
    found = shutil.which("python2.7") or shutil.which("python2")
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [found, *sorted(map(str, versions.glob("2.7.*/bin/python2.7")))]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", "import ssl"], capture_output=True).returncode == 0:
            return candidate
    return None


def prepare() -> Path | None:
    """The suite's command; None where it cannot be had."""
    command = PLACE / "bin" / "wstest"
    if command.exists():
        return command
    python = find_python()
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)  # the last virtualenv that knows 2.7 must not meet our own packages
        run = [f"{folder}/bin/python", "-m"]
        subprocess.run([*run, "pip", "install", "--quiet", "virtualenv==20.15.1"], check=True)
        subprocess.run([*run, "virtualenv", "--quiet", "--python", python, str(PLACE)], check=True)
    pip = [str(PLACE / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-deps", SUITE], check=True)
    return command


def fuzz(command: Path, part: str) -> Row:
    """Run one part; what it is, the verdicts, and the cases that are not good."""
    title, cases, without = PARTS[part]
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(
            "echo:application", "--no-access-log", "--ws-max-size", str(64 << 20), app_dir=HERE
        ).started()
        try:
            host, port = server.address
            config = {
                "outdir": f"{folder}/reports",
                "servers": [{"agent": "bridgeserve", "url": f"ws://{host}:{port}"}],
                "cases": cases,
                "exclude-cases": without,
                "exclude-agent-cases": {},
            }
            spec = Path(folder) / "spec.json"
            spec.write_text(json.dumps(config), encoding="ascii")
            client = [str(command), "--mode", "fuzzingclient", "--spec", str(spec)]
            subprocess.run(client, check=True, timeout=1800, cwd=folder, stdout=subprocess.DEVNULL)
            report = json.loads(Path(folder, "reports", "index.json").read_text(encoding="utf-8"))["bridgeserve"]
        finally:
            server.kill()
    verdicts = Counter(result["behavior"] for result in report.values())
    odd = [f"{case} {result['behavior'].lower()}" for case, result in report.items() if result["behavior"] not in GOOD]
    closes = Counter(result["behaviorClose"] for result in report.values())
    odd += [f"close: {count} {verdict.lower()}" for verdict, count in closes.items() if verdict not in GOOD]
    return title, verdicts, odd


def main(parts: list[str]) -> int:
    """Run the parts; 0 when no case failed."""
    command = prepare()
    if command is None:
        print(
            "Autobahn's test suite needs CPython 2.7, and none is found (python2.7 in PATH, or pyenv): nothing was run"
        )
        return int(bool(os.environ.get("CI")))
    rows = {}
    for part in parts or list(PARTS):
        title, verdicts, odd = rows[part] = fuzz(command, part)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        print(f"{title}: {counts}{''.join(f'{chr(10)}    {line}' for line in odd)}", flush=True)
    if set(rows) == set(PARTS):
        WEBSOCKET.write_text(summary(list(rows.values())), encoding="utf-8")
        put_websocket()
    return int(any(verdicts["FAILED"] or verdicts["UNCLEAN"] for _, verdicts, _ in rows.values()))


def summary(rows: list[Row]) -> str:
    """The section of the page."""
    lines = [
        "## WebSocket",
        "",
        f"Autobahn's fuzzing client ({SUITE.replace('==', ' ')}) against an app that echoes; `make autobahn` repeats",
        "it where CPython 2.7 is at hand, and writes this section. OK is what the suite wants, non-strict what RFC",
        "6455 permits as well; informational cases have no right answer. What `make test` holds are the frame by frame",
        "tests in `tests/wire/test_websocket.py`.",
        "",
        "| part | cases | OK | informational | non-strict | failed |",
        "|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for title, verdicts, odd in rows:
        failed = verdicts["FAILED"] + verdicts["UNCLEAN"]
        counts = (sum(verdicts.values()), verdicts["OK"], verdicts["INFORMATIONAL"], verdicts["NON-STRICT"], failed)
        lines.append(f"| {title} | {' | '.join(map(str, counts))} |")
        notes += odd
    if notes:
        lines += ["", f"Not OK: {', '.join(notes)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
