"""The table of modes and kinds."""

from __future__ import annotations

import pytest

from bridgeserve.dispatch.modes import DEFAULTS, KINDS, MODES, TABLE, ModeRefused, choose_mode
from bridgeserve.settings import OPTIONS


def test_the_table_is_whole() -> None:
    assert set(TABLE) == {(mode, kind) for mode in MODES for kind in KINDS}
    assert OPTIONS["mode"].choices == ("auto", *MODES)
    assert OPTIONS["interface"].choices == ("auto", *KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_chooses_a_mode_that_works(kind: str) -> None:
    assert TABLE[DEFAULTS[kind], kind] == ""
    assert choose_mode("auto", kind) == DEFAULTS[kind]


@pytest.mark.parametrize(("mode", "kind"), TABLE)
def test_a_mode_runs_or_says_why_not_and_what_else(mode: str, kind: str) -> None:
    if TABLE[mode, kind] == "":
        assert choose_mode(mode, kind) == mode
        return
    with pytest.raises(ModeRefused, match=f"mode {mode} .*; use --mode"):
        choose_mode(mode, kind)
