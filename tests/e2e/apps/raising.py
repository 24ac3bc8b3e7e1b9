"""A module that cannot be imported."""

from __future__ import annotations


def configure() -> None:
    raise LookupError("the colour of the bicycle shed is not set")


configure()
