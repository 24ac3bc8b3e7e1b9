"""`--log-config`: the standard library's dictConfig, from a TOML or a JSON file.

What it says of the logger `bridgeserve` takes the place of ours on stderr, and what it says of
`bridgeserve.access` that of the access log's stdout; all else is the app's.
"""

from __future__ import annotations

import json
import logging.config
import tomllib
from pathlib import Path
from typing import Any

from bridgeserve.observe.logs import unplug

LOGGER = "bridgeserve"


class LogConfigError(Exception):
    """A file for logging that cannot be read, or that dictConfig refuses."""


def read(path: str) -> dict[str, Any]:
    """The configuration in a file named *.toml or *.json. Raises LogConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        if path.endswith(".toml"):
            found = tomllib.loads(text)
        elif path.endswith(".json"):
            found = json.loads(text)
        else:
            raise LogConfigError(f"--log-config {path}: allowed: a file named *.toml or *.json")
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise LogConfigError(f"--log-config {path}: {error}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a NUL in the name
        raise LogConfigError(f"--log-config {path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise LogConfigError(f"--log-config {path}: allowed: one table, as logging.config.dictConfig takes it")
    # dictConfig's own default silences every logger that was made before, ours and those of imported libraries.
    return {"version": 1, "disable_existing_loggers": False, **found}


def apply(path: str) -> bool:
    """Configure logging from the file; True when it says where the logger `bridgeserve` writes.

    Raises LogConfigError.
    """
    config = read(path)
    unplug()  # dictConfig closes the handlers that it finds
    logging.getLogger(LOGGER).propagate = True
    try:
        logging.config.dictConfig(config)
    except Exception as error:  # it calls whatever the file names; what went wrong is in the cause
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise LogConfigError(f"--log-config {path}: {error}{cause}") from error
    loggers = config.get("loggers")
    return isinstance(loggers, dict) and LOGGER in loggers
