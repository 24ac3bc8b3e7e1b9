"""Things that are no apps, and a few that are, found in unusual ways."""

from __future__ import annotations

from types import SimpleNamespace

from plain_wsgi import application as plain

number = 42
holder = SimpleNamespace(inner=SimpleNamespace(app=plain))


def factory() -> object:
    return plain
