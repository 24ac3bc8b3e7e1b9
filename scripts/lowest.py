"""Print the lowest versions that pyproject.toml allows at run time, one a line as NAME==VERSION."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
_BOUND = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[\d.]+)(?:;.*)?")


def lowest(dependencies: list[str]) -> list[str]:
    """The lower bounds as pins. Raises ValueError for a dependency that is not NAME>=VERSION."""
    found = []
    for dependency in dependencies:
        match = _BOUND.fullmatch(dependency.replace(" ", ""))
        if match is None:
            raise ValueError(f"{dependency!r} has no lower bound, or more than that")
        found.append(f"{match['name']}=={match['version']}")
    return found


if __name__ == "__main__":
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + extras["websockets"] + extras["reload"]
    sys.stdout.write("\n".join(lowest(needed)) + "\n")
