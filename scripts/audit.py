"""Ask for known vulnerabilities of what bridgeserve needs at run time: python scripts/audit.py

0: none is known, or nobody could be asked, which is told. 1: there are some. It is pip-audit that asks.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

SERVICES = ("pypi", "osv")  # the second is asked for what the first did not know
SECONDS = 120.0  # for one service
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass
class Findings:
    """What a service said: advisories by package, and the packages that it said nothing about."""

    vulnerable: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def needed(name: str = "bridgeserve") -> dict[str, str]:
    """The versions that are installed of what a distribution needs at run time, and of what that needs in turn."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        for line in distribution(waiting.pop()).requires or ():
            requirement, _, marker = line.partition(";")
            match = _NAME.match(requirement)
            # Extras are not needed; of the other markers only those that hold here have their package installed.
            if match is None or "extra" in marker or not _installed(match[0]):
                continue
            given = canonical(match[0])
            if given not in found:
                found[given] = distribution(given).version
                waiting.append(given)
    return found


def canonical(name: str) -> str:
    """A name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except ModuleNotFoundError:
        return False
    return True


def read(report: str, asked: list[str]) -> Findings:
    """What pip-audit wrote as JSON. A report that is none is that of a service which could not be asked."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Findings(unknown=list(asked))
    found = Findings()
    told = {canonical(dependency["name"]): dependency.get("vulns") for dependency in dependencies}
    for name in asked:
        vulnerabilities = told.get(name)
        if vulnerabilities is None:
            found.unknown.append(name)
        elif vulnerabilities:
            found.vulnerable[name] = [vulnerability["id"] for vulnerability in vulnerabilities]
    return found


def ask(versions: dict[str, str], service: str) -> Findings:
    """Run pip-audit for these versions, and for nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="ascii")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--vulnerability-service", service]
        command += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return Findings(unknown=list(versions))
    return read(done.stdout.decode("utf-8", "replace"), list(versions))


def main() -> int:
    """Ask one service after the other, and tell."""
    try:
        distribution("pip-audit")
    except ModuleNotFoundError:
        sys.stderr.write("pip-audit is not installed: make audit\n")
        return 2
    versions = needed()
    left = dict(versions)
    vulnerable: dict[str, list[str]] = {}
    for service in SERVICES:
        if left:
            findings = ask(left, service)
            vulnerable |= findings.vulnerable
            left = {name: left[name] for name in findings.unknown}
    for name, identifiers in vulnerable.items():
        sys.stdout.write(f"VULNERABLE {name} {versions[name]}: {', '.join(identifiers)}\n")
    if left:
        sys.stdout.write(f"nobody could be asked about {', '.join(f'{name} {left[name]}' for name in left)}\n")
    if good := [name for name in versions if name not in left and name not in vulnerable]:
        sys.stdout.write(f"nothing is known against {', '.join(f'{name} {versions[name]}' for name in good)}\n")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
