"""Profiles of hypothesis: the usual one is the same in every run, "fuzz" looks for something new."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", deadline=None, max_examples=250, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", parent=settings.get_profile("house"), max_examples=20000, derandomize=False)
settings.load_profile("house")
