"""The benchmarks are no part of the installed package, so their folder is put in reach here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
