"""Field lines and what is remembered of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridgeserve.wire import fields
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.fields import GOOD_HOST, KEEP_ALIVE, NOTHING, OTHER, read_field


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing remembered before, nothing of it after."""
    for name in ("ORDINARY_LINES", "SPECIAL_LINES", "ORDINARY_NAMES"):
        monkeypatch.setattr(fields, name, {})
    yield


def remembered() -> list[bytes]:
    """The lines that are known by heart."""
    return [*fields.ORDINARY_LINES, *fields.SPECIAL_LINES]


@pytest.mark.parametrize(
    ("line", "field", "meaning"),
    [
        (b"Accept: */*", (b"accept", b"*/*"), NOTHING),
        (b"ACCEPT:\t a \t", (b"accept", b"a"), NOTHING),
        (b"X:", (b"x", b""), NOTHING),
        (b"X: a:b", (b"x", b"a:b"), NOTHING),
        (b"Host: a:80", (b"host", b"a:80"), GOOD_HOST),
        (b"Host:", (b"host", b""), GOOD_HOST),
        (b"Connection: Keep-Alive", (b"connection", b"Keep-Alive"), KEEP_ALIVE),
        (b"Connection: close", (b"connection", b"close"), OTHER),
        (b"Connection: keep-alive, close", (b"connection", b"keep-alive, close"), OTHER),
        (b"Content-Length: 5", (b"content-length", b"5"), OTHER),
        (b"Transfer-Encoding: chunked", (b"transfer-encoding", b"chunked"), OTHER),
        (b"Expect: 100-continue", (b"expect", b"100-continue"), OTHER),
        (b"Upgrade: h2c", (b"upgrade", b"h2c"), OTHER),
    ],
)
def test_a_line_and_what_it_means(line: bytes, field: tuple[bytes, bytes], meaning: int) -> None:
    assert read_field(line) == (field, meaning)
    assert read_field(line) == (field, meaning)
    assert fields.ORDINARY_LINES.get(line, field) == field
    assert fields.SPECIAL_LINES.get(line, (field, meaning)) == (field, meaning)
    assert not (meaning and line in fields.ORDINARY_LINES)


@pytest.mark.parametrize(
    "line", [b"", b":", b": v", b" A: b", b"\tA: b", b"A : b", b"A\t: b", b"A B: c", b"A", b"\xff: a", b"Host: a b"]
)
def test_no_field(line: bytes) -> None:
    for _ in range(2):
        with pytest.raises(WireError) as caught:
            read_field(line)
        assert caught.value.status == 400
    assert not remembered()


def test_nothing_private_is_remembered() -> None:
    for line in (b"Cookie: secret", b"Authorization: secret", b"X-Api-Key: secret", b"Content-Length: 5"):
        read_field(line)
    assert not remembered()
    assert set(fields.ORDINARY_NAMES) == {b"Cookie", b"Authorization", b"X-Api-Key"}


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_NAMES_MAX", 3)
    assert read_field(b"n" * 65 + b": v") == ((b"n" * 65, b"v"), NOTHING)
    assert not fields.ORDINARY_NAMES
    for i in range(10):
        assert read_field(b"N%d: v" % i) == ((b"n%d" % i, b"v"), NOTHING)
    assert len(fields.ORDINARY_NAMES) == 3


def test_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_LINES_MAX", 3)
    read_field(b"Accept: " + b"a" * 249)
    assert not remembered()
    for i in range(10):
        assert read_field(b"Accept: %d" % i) == ((b"accept", b"%d" % i), NOTHING)
        assert 1 <= len(remembered()) <= 3
    assert remembered() == [b"Accept: 9"]
