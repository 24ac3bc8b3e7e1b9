"""The helpers beside this file are imported as dispatch.fake_port and so on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
