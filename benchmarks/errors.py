"""The one error of the harness."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The measurement cannot be made or must not be trusted. The message says why in a line or a few."""
