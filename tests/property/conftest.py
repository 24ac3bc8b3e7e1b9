"""Profiles of hypothesis: the usual one, and "fuzz" with many more examples."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# The helpers are imported as wire.drive and property.fuzz.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

settings.register_profile("house", deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", parent=settings.get_profile("house"), max_examples=20000)
settings.load_profile("house")
