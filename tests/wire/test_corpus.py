"""Raw octets from files: what is accepted, and what is refused with which status, however it arrives.

A file refuse/400-bare-lf.http must be answered with 400; every request in accept/ is read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from wire.drive import CORPUS, READERS, play, splits

ACCEPT = sorted((CORPUS / "accept").glob("*.http"))
REFUSE = sorted((CORPUS / "refuse").glob("*.http"))
TRUNCATED = [path for path in REFUSE if "truncated" in path.stem]  # more octets would end them otherwise
NEXT = b"GET /next HTTP/1.1\r\nHost: next.example\r\n\r\n"
SMALL = 400  # octets up to which a message is cut at every place


def named(path: Path) -> str:
    return path.stem


def test_the_corpus_is_there() -> None:
    assert len(ACCEPT) > 40
    assert len(REFUSE) > 130


@pytest.mark.parametrize("path", ACCEPT, ids=named)
def test_accepted_however_it_is_split(path: Path, reader: str) -> None:
    data = path.read_bytes()
    expected = play([data], "h11")
    assert expected
    assert "refused" not in {entry[0] for entry in expected}
    for pieces in splits(data):
        assert play(pieces, reader) == expected, pieces


@pytest.mark.parametrize("path", ACCEPT, ids=named)
def test_what_follows_is_the_next_request(path: Path, reader: str) -> None:
    data = path.read_bytes()
    alone = play([data], reader)
    expected = alone if alone[-1] == ("close",) else alone + play([NEXT], reader)
    for pieces in splits(data + NEXT):
        assert play(pieces, reader) == expected, pieces


@pytest.mark.parametrize("path", REFUSE, ids=named)
def test_refused_with_its_status_however_it_is_split(path: Path, reader: str) -> None:
    data = path.read_bytes()
    status = int(path.stem[:3])
    coarse = tuple(data[i : i + 50] for i in range(0, len(data), 50))
    for cut in splits(data) if len(data) <= SMALL else [(data,), coarse]:
        assert play(cut, reader)[-1] == ("refused", status), cut


@pytest.mark.parametrize("path", [path for path in REFUSE if path not in TRUNCATED], ids=named)
def test_nothing_behind_a_refusal_is_read(path: Path, reader: str) -> None:
    found = play([path.read_bytes(), NEXT, NEXT], reader)
    assert found[-1][0] == "refused"
    assert found == play([path.read_bytes()], reader)


def test_both_readers_say_the_same() -> None:
    for path in ACCEPT + REFUSE:
        first, second = (play([path.read_bytes()], reader) for reader in READERS)
        assert first == second, path.stem
