"""CPU time and memory are read from /proc as they stand there."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import proc

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

STAT = "12 (a) name (x)) S 7 12 12 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 3 0 100 1000 10"


def test_stat_with_brackets_in_the_name() -> None:
    assert proc.parent_of(STAT) == 7
    assert proc.ticks_ns(STAT) == 300 * proc.TICK_NS


def test_schedstat_and_pss() -> None:
    assert proc.schedstat_ns("123456789 42 7\n") == 123456789
    assert proc.pss_kib("00400000-7ff Rollup\nRss:    900 kB\nPss:    512 kB\nPss_Dirty:  1 kB\n") == 512
    with pytest.raises(ValueError, match="Pss"):
        proc.pss_kib("Rss: 900 kB\n")


def test_a_tree_holds_descendants_only(tmp_path: Path) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (x) S {parent} 0 0")
    (tmp_path / "99").mkdir()  # ended: no stat any more
    (tmp_path / "meminfo").write_text("")
    assert sorted(proc.tree(10, tmp_path)) == [10, 11, 12]


def test_threads_are_summed(tmp_path: Path) -> None:
    for thread, spent in ((5, 1000), (6, 234)):
        folder = tmp_path / "5" / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(f"{spent} 0 1\n")
    assert proc.threads_ns(5, tmp_path) == 1234


def test_our_own_time_is_what_the_clock_says() -> None:
    before, own = proc.process_ns(os.getpid()), time.process_time_ns()
    while time.process_time_ns() - own < 20_000_000:
        pass
    assert proc.process_ns(os.getpid()) - before >= 20_000_000 - proc.TICK_NS
