"""Which files are watched, and that a change of one is told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from bridgeserve.serve.application import StartupError
from bridgeserve.serve.watching import Wanted, changes, load_watcher, watched


@pytest.mark.parametrize(
    ("path", "include", "exclude", "wanted"),
    [
        ("a.py", (), (), True),
        ("sub/deeper/a.py", (), (), True),
        ("a.html", (), (), False),
        ("sub/a.html", ("*.html",), (), True),
        ("a.html", ("templates/*.html",), (), False),
        ("templates/a.html", ("templates/*.html",), (), True),
        ("a.py", ("*.html",), (), True),
        ("__pycache__/a.py", (), (), False),
        (".venv/lib/a.py", (), (), False),
        (".#a.py", (), (), False),
        ("a.py~", (), (), False),
        ("node_modules/x/a.py", (), (), False),
        (".env", (".env",), (), True),
        ("data/a.py", (), ("data",), False),
        ("data/deep/a.py", (), ("data",), False),
        ("dat/a.py", (), ("data",), True),
        ("a.html", ("*.html",), ("*.html",), False),
        ("sub/data/a.py", (), ("sub/data",), False),
    ],
)
def test_wanted(path: str, include: tuple[str, ...], exclude: tuple[str, ...], wanted: bool) -> None:
    # What lies above the directory does not count, hidden or not.
    assert Wanted(["/home/.u/app"], include, exclude)(None, f"/home/.u/app/{path}") is wanted


def test_the_nearest_of_two_directories_counts() -> None:
    wanted = Wanted(["/a", "/a/.lib/"], (), ())
    assert wanted(None, "/a/.lib/x.py") is True
    assert wanted(None, "/b/x.py") is False


def test_directories_are_absolute_and_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert watched((), ".") == [str(tmp_path)]
    assert watched(("sub", "."), "x") == [str(tmp_path / "sub"), str(tmp_path)]
    with pytest.raises(StartupError, match="nope is not a directory"):
        watched(("nope",), ".")


def test_without_watchfiles_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(StartupError, match=r"pip install 'bridgeserve\[reload\]'"):
        load_watcher()


async def first_change(folder: Path, paths: list[Path]) -> list[str]:
    """What is told when the files are written, again and again until it is."""
    stop = asyncio.Event()
    told = changes([str(folder)], Wanted([str(folder)], (), ()), stop)
    waiting = asyncio.ensure_future(anext(told))
    try:
        while not waiting.done():
            for path in paths:
                path.write_text("x = 1\n")
            await asyncio.wait((waiting,), timeout=0.2)
        return await waiting
    finally:
        stop.set()
        assert [each async for each in told] == []


def test_a_change_is_told_by_name(tmp_path: Path) -> None:
    found = asyncio.run(asyncio.wait_for(first_change(tmp_path, [tmp_path / "a.py", tmp_path / "a.txt"]), 20.0))
    assert found == [str(tmp_path / "a.py")]
