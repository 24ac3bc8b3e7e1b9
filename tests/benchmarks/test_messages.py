"""Requests differ, answers are read whole, and what is not equal is found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.loads.target import References
from benchmarks.messages import MORE_FIELDS, ask, connect, expected, parse_head, template
from benchmarks.workloads import WORKLOADS
from toy import Respond, ToyServer, answer

Toy = Callable[[Respond], ToyServer]
HELLO = template("/items/42")


def test_no_request_is_like_another() -> None:
    found = list(islice(HELLO.numbered(), 1000))
    assert len(set(found)) == 1000
    assert {len(request) for request in found} == {len(found[0])}
    assert found[0].count(b"\r\n") == 8 + 2


def test_the_workload_of_30_fields_has_30() -> None:
    request = WORKLOADS["headers-30"].requests["asgi"].one()
    assert request.count(b"\r\n") == 30 + 2
    assert len(set(MORE_FIELDS)) == 22


def test_a_body_comes_with_its_length() -> None:
    request = template("/orders", "POST", body=b"12345").one()
    assert b"\r\nContent-Length: 5\r\n" in request
    assert request.endswith(b"\r\n\r\n12345")


@pytest.mark.parametrize(
    ("head", "framing", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "content-length", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked", False),
        (b"HTTP/1.1 200\r\nConnection: close\r\n\r\n", "close", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n", "content-length", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\nConnection: Keep-Alive\r\n\r\n", "content-length", False),
    ],
)
def test_heads(head: bytes, framing: str, closes: bool) -> None:
    found = parse_head(head + b"abc")
    assert found is not None
    assert (found.status, found.framing, found.closes, found.size) == (200, framing, closes, len(head))
    assert parse_head(head[:-1]) is None


def test_what_is_no_head() -> None:
    with pytest.raises(BenchmarkError, match="not an answer"):
        parse_head(b"SSH-2.0\r\n\r\n")
    with pytest.raises(BenchmarkError, match="no end of head"):
        parse_head(b"x" * 70000)


@pytest.mark.parametrize(
    "reply",
    [
        answer(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n%b\r\n%x;x=y\r\n%b\r\n0\r\n\r\n"
        % (content.BODY[:4], len(content.BODY) - 4, content.BODY[4:]),
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + content.BODY,
    ],
)
def test_each_framing_gives_the_same_body(toy: Toy, reply: bytes) -> None:
    with connect(toy(lambda request, number: reply).port) as connection:
        found = ask(connection, HELLO.one())
    wanted = expected(content.BODY)
    assert (found.status, found.size, found.digest, found.tail) == (200, wanted.size, wanted.digest, wanted.tail)


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (answer(status=b"503 Busy"), "status 503"),
        (answer(content.BODY.upper()), "digest"),
        (answer(content.BODY[:-1]), "size"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + content.BODY + b"connection: close", "framing close"),
    ],
)
def test_a_wrong_answer_is_not_measured(toy: Toy, reply: bytes, what: str) -> None:
    with connect(toy(lambda request, number: reply).port) as connection:
        found = ask(connection, HELLO.one())
    with pytest.raises(BenchmarkError, match=what):
        References().check("hello", found, expected(content.BODY))


def test_the_first_answer_sets_the_standard_where_none_is_known(toy: Toy) -> None:
    port = toy(lambda request, number: answer(b"%d" % (number // 2))).port
    references = References()
    with connect(port) as connection:
        references.check("flask", ask(connection, HELLO.one()))
        references.check("flask", ask(connection, HELLO.one()))
        with pytest.raises(BenchmarkError, match="digest"):
            references.check("flask", ask(connection, HELLO.one()))


@pytest.mark.parametrize("reply", [None, answer()[:-1] + b"connection: close"])
def test_an_end_in_the_middle_is_an_error(toy: Toy, reply: bytes | None) -> None:
    broken = reply and reply.replace(b"Content-Length: ", b"Content-Length: 9")
    with (
        connect(toy(lambda request, number: broken).port) as connection,
        pytest.raises(BenchmarkError, match=r"closed|lost"),
    ):
        ask(connection, HELLO.one())


def test_octets_behind_an_answer_are_an_error(toy: Toy) -> None:
    with (
        connect(toy(lambda request, number: answer() + b"more").port) as connection,
        pytest.raises(BenchmarkError, match="behind"),
    ):
        ask(connection, HELLO.one())
