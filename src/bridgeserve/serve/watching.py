"""Which files are the app's, and the wait for a change of one (`--reload`)."""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from bridgeserve.serve.application import StartupError

_log = logging.getLogger("bridgeserve")
INCLUDED = ("*.py",)
EXCLUDED = (".*", "*~", "__pycache__", "node_modules")
QUIET = 50  # milliseconds without a further change after which those before are told
GATHER = 400  # milliseconds after which they are told at the latest


class Wanted:
    """Says whether a change of a file counts. An object of this kind is what watchfiles calls a filter.

    :param folders: that are watched; absolute.
    """

    def __init__(self, folders: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> None:
        self._folders = sorted((folder.rstrip(os.sep) + os.sep for folder in folders), key=len, reverse=True)
        self._include = tuple(include)
        self._exclude = tuple(exclude)

    def __call__(self, change: Any, path: str) -> bool:
        """True for a file that is included and not excluded. What is excluded by name counts for all below it."""
        folder = next((each for each in self._folders if path.startswith(each)), None)
        if folder is None:
            return False
        inner = path.removeprefix(folder).replace(os.sep, "/")
        if _matches(inner, self._exclude):
            return False
        named = _is(inner, self._include)
        return named or (_is(inner, INCLUDED) and not _matches(inner, EXCLUDED))


def _is(inner: str, patterns: Sequence[str]) -> bool:
    """Does the path, or its last part where the pattern has no slash, match?"""
    name = inner.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(inner if "/" in each else name, each) for each in patterns)


def _matches(inner: str, patterns: Sequence[str]) -> bool:
    """Does the path match, or that of a directory above it?"""
    parts = inner.split("/")
    return any(_is("/".join(parts[:length]), patterns) for length in range(1, len(parts) + 1))


def watched(folders: Sequence[str], app_dir: str) -> list[str]:
    """The directories to watch, absolute. Raises StartupError for one that is not there."""
    found = [os.path.abspath(folder) for folder in folders or (app_dir,)]
    for folder in found:
        if not os.path.isdir(folder):
            raise StartupError(f"--reload-dir {folder} is not a directory")
    return found


def load_watcher() -> Any:
    """watchfiles. Raises StartupError where it is not installed."""
    try:
        import watchfiles
    except ImportError as error:
        raise StartupError("--reload needs watchfiles: pip install 'bridgeserve[reload]'") from error
    return watchfiles


async def changes(folders: Sequence[str], wanted: Wanted, stop: asyncio.Event) -> AsyncGenerator[list[str], None]:
    """The names of files that have changed, each time some have, until `stop` is set.

    A cancelled wait would end only with its thread, which looks at `stop` alone.
    """
    watchfiles = load_watcher()
    async for found in watchfiles.awatch(
        *folders, watch_filter=wanted, debounce=GATHER, step=QUIET, stop_event=stop, ignore_permission_denied=True
    ):
        yield sorted({path for _, path in found})


class FileWatch:
    """Calls `changed` after each change, on the loop, and logs which files it was."""

    def __init__(self, folders: Sequence[str], wanted: Wanted, changed: Callable[[], None]) -> None:
        self._folders = folders
        self._wanted = wanted
        self._changed = changed
        self._stop = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        _log.info("--reload: watching %s", ", ".join(self._folders))
        try:
            async for names in changes(self._folders, self._wanted, self._stop):
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                _log.info("%s has changed%s: starting the app anew", _short(names[0], self._folders), more)
                self._changed()
        except Exception:
            # The system may have no watch to give; serving goes on without.
            _log.exception("--reload: files are watched no longer")

    async def stop(self) -> None:
        """Look no longer."""
        self._stop.set()
        await asyncio.wait((self._task,), timeout=2.0)


def _short(path: str, folders: Sequence[str]) -> str:
    """The path below the watched directory."""
    folder = max((each for each in folders if path.startswith(each)), key=len, default="")
    return path.removeprefix(folder).lstrip(os.sep)
