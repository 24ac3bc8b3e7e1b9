"""The documents: the drawn cycle is the real one, links lead somewhere, and files that are named exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridgeserve.dispatch.modes import TABLE
from bridgeserve.serve import lives
from bridgeserve.settings import OPTIONS
from bridgeserve.sources import flag_of
from bridgeserve.wire import websocket
from bridgeserve.wire.cycle import diagram

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.M)
# Files of ours that a page names in code spelling. Modules are named from the root or from the package.
_FILE = re.compile(r"`((?:src|tests|docs|scripts|examples)/[\w./-]+\.(?:py|sh|md))`")
_MODULE = re.compile(r"`((?:wire|net|dispatch|serve|observe)/\w+\.py)`")
_TEST = re.compile(r"`(tests/[\w./-]+\.py)::(\w+)`")
_OPTION = re.compile(r"`(--[a-z][a-z0-9_-]+)")
_ALIASES = {alias for option in OPTIONS.values() for alias in option.aliases}
_FLAGS = {flag_of(name) for name in OPTIONS} | {"--no-" + flag_of(name)[2:] for name in OPTIONS} | _ALIASES
# Options of the command that are no settings, and those of other programs.
_OTHERS = {
    "--check",
    "--check-config",
    "--completion",
    "--print-config",
    "--version",
    "--help",
    "--build-arg",
    "--blocking-threads",
    "--init",
}


def anchors(text: str) -> set[str]:
    """The fragments that GitHub gives to the headings of a page."""
    titles = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """The targets of the links of a page, code left out."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def broken_links(page: Path) -> list[str]:
    """Links of a page that lead nowhere within the project. Links to the outside are not followed."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def test_the_cycle_is_drawn_as_it_is() -> None:
    page = (ROOT / "docs" / "on-the-wire.md").read_text(encoding="utf-8")
    drawn = re.search(r"<!-- cycle -->\n```mermaid\n(.*?)\n```\n<!-- /cycle -->", page, re.S)
    assert drawn is not None
    assert drawn[1] == diagram(), "put the text of bridgeserve.wire.cycle.diagram() between the markers"


def test_the_states_of_a_websocket_are_drawn_as_they_are() -> None:
    page = (ROOT / "docs" / "websockets.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram(websocket.TABLE)}\n```" in page


def test_the_life_of_a_worker_is_drawn_as_it_is() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    drawn = re.search(r"<!-- lives -->\n```mermaid\n(.*?)\n```\n<!-- /lives -->", page, re.S)
    assert drawn is not None
    assert drawn[1] == lives.diagram(), "put the text of bridgeserve.serve.lives.diagram() between the markers"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {ROOT / name for name in _FILE.findall(text)}
    named |= {ROOT / "src" / "bridgeserve" / name for name in _MODULE.findall(text)}
    assert sorted(str(path) for path in named if not path.exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tests_that_are_named_exist(page: Path) -> None:
    named = set(_TEST.findall(page.read_text(encoding="utf-8")))
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path, _ in named if (ROOT / path).is_file()}
    assert sorted(pair for pair in named if not re.search(rf"^ *def {pair[1]}\(", texts.get(pair[0], ""), re.M)) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_that_are_named_exist(page: Path) -> None:
    named = set(_OPTION.findall(page.read_text(encoding="utf-8")))
    assert sorted(named - _FLAGS - _OTHERS) == []


def test_every_page_is_in_the_index() -> None:
    linked = set(links((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert sorted(pages - linked) == []


def test_every_cell_of_the_mode_table_is_documented() -> None:
    text = (ROOT / "docs" / "choosing-a-mode.md").read_text(encoding="utf-8")
    for mode in dict.fromkeys(mode for mode, _ in TABLE):
        row = re.search(rf"^\| `{mode}` \| (.+) \| (.+) \|$", text, re.M)
        assert row is not None, f"no row for {mode}"
        for kind, cell in zip(("asgi", "wsgi"), row.groups(), strict=True):
            assert cell.startswith("refused") is bool(TABLE[mode, kind]), (mode, kind)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](other.md)", []),
        ("[a](other.md#a-title)", []),
        ("[a](#here-too)\n\n## Here, too\n", []),
        ("[a](https://example.org/x)", []),
        ("`[a](gone.md)`\n\n```\n[a](gone.md)\n```\n", []),
        ("[a](gone.md)", ["gone.md"]),
        ("[a](other.md#gone)", ["other.md#gone"]),
    ],
)
def test_the_search_for_links_itself(tmp_path: Path, text: str, broken: list[str]) -> None:
    (tmp_path / "other.md").write_text("# A title\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert broken_links(page) == broken
