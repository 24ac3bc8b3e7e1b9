"""The fuzzer, for some seconds and from a fixed seed; and all that it ever found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from property.fuzz import FOUND, judge, keep, run


def test_fuzz() -> None:
    done, finds = run(seed=1, seconds=10.0, rounds=100_000)
    for data, fault in finds:
        pytest.fail(f"saved as {keep(data)}: {fault}")
    assert done > 200


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.http")), ids=lambda path: path.stem)
def test_what_was_found_stays_found(path: Path) -> None:
    for seed in range(50):
        assert judge(path.read_bytes(), random.Random(seed)) == ""
