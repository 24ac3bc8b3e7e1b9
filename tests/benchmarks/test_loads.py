"""The loads: what they count, what they find wrong, and that an open model sees a stall."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable

import pytest
from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.figures import percentiles
from benchmarks.loads import transfer, wrk
from benchmarks.loads.client import Clients
from benchmarks.loads.steady import Steady, schedule
from benchmarks.messages import Template, connect, template
from benchmarks.overload import Round, load, table
from toy import Respond, ToyServer, answer

Toy = Callable[[Respond], ToyServer]
HELLO = template("/items/42")
SAMPLE = """Running 1s test @ http://127.0.0.1:8000
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.98ms  120.10us   4.10ms   91.11%
    Req/Sec    32.52k     1.02k   34.10k    80.00%
  32401 requests in 1.00s, 5.90MB read
Requests/sec:  32401.00
benchmark-summary {"requests":32401,"duration_us":1000512,"connect":0,"read":0,"write":0,"status":0,"timeout":0}
"""


def test_the_summary_of_wrk() -> None:
    assert wrk.parse(SAMPLE) == wrk.Summary(32401, 1.000512)


@pytest.mark.parametrize("name", ["connect", "read", "write", "status", "timeout"])
def test_errors_that_wrk_counts_are_errors(name: str) -> None:
    with pytest.raises(BenchmarkError, match=f"7 {name}, 32401 answers"):
        wrk.parse(SAMPLE.replace(f'"{name}":0', f'"{name}":7'))


def test_a_run_of_wrk_without_answers_or_summary() -> None:
    with pytest.raises(BenchmarkError, match="no answer"):
        wrk.parse(SAMPLE.replace("32401", "0"))
    with pytest.raises(BenchmarkError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:8000 Connection refused\n")


def test_octets_in_the_script_of_wrk() -> None:
    assert wrk.quoted(b'a"\\\r\n\xff]]') == '"a\\034\\092\\013\\010\\255\\093\\093"'
    text = wrk.script(Template(b"A: ", b"\r\n\r\n"))
    assert '"A\\058\\032", "\\013\\010\\013\\010", 0' in text
    assert "%08x%08x" in text


def test_the_client_counts_and_keeps_its_connections(toy: Toy) -> None:
    server = toy(lambda request, number: answer())
    with Clients(server.port, HELLO, 3) as clients:
        assert clients.run(30.0, 50) == 50
        assert clients.run(30.0, 2) == 2
    assert server.connections == 4


def test_the_client_ends_with_its_time(toy: Toy) -> None:
    with Clients(toy(lambda request, number: answer()).port, HELLO, 2) as clients:
        assert clients.run(0.05) >= 2


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b""])
def test_the_client_comes_back_to_a_server_that_closes(toy: Toy, more: bytes) -> None:
    server = toy(lambda request, number: answer(more=more))
    with Clients(server.port, HELLO, 2, closes=True) as clients:
        assert clients.run(30.0, 20) == 20
        assert clients.run(30.0, 3) == 3
    assert server.connections == 1 + 20 + 2 + 1


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (answer(status=b"500 No"), "wrong answer"),
        (answer(content.BODY.upper()), "wrong answer"),
        (None, "closed|lost"),
    ],
)
def test_an_answer_that_goes_wrong_under_load_is_found(toy: Toy, third: bytes | None, message: str) -> None:
    server = toy(lambda request, number: third if number == 2 else answer())
    with Clients(server.port, HELLO, 1) as clients, pytest.raises(BenchmarkError, match=message):
        clients.run(30.0, 9)


def test_schedules_are_fixed_beforehand() -> None:
    assert schedule(100, 0.05, None) == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert schedule(1000, 2.0) == schedule(1000, 2.0)
    found = schedule(1000, 2.0)
    assert len(found) == 2000
    assert found == sorted(found)
    assert 0.0 <= found[0] <= found[-1] <= 2.0
    # Like independent clients: the gaps are as different as those of a Poisson process.
    gaps = sorted(after - before for before, after in itertools.pairwise(found))
    assert 0.0005 < gaps[len(gaps) // 2] < 0.0009


def test_an_open_model_sees_a_stall(toy: Toy) -> None:
    """A server that stalls once for 0.4 s: 200 requests a second came meanwhile, and felt it."""
    stall = threading.Lock()

    def respond(request: bytes, number: int) -> bytes:
        with stall:
            if number == 60:
                threading.Event().wait(0.4)
        return answer()

    outcome = Steady(toy(respond).port, lambda number: HELLO.one()).run(schedule(200, 1.0, None))
    assert outcome.errors == []
    latencies = outcome.of(lambda number: True)
    assert len(latencies) == len(outcome.late) == 200
    assert percentiles(latencies)["p99_ms"] > 350
    # One that waits for answers would have seen a single slow one on each connection.
    assert sum(latency > 0.2 for latency in latencies) > 30


def test_requests_wait_when_no_connection_is_free_and_their_wait_counts(toy: Toy) -> None:
    free = threading.Event()

    def respond(request: bytes, number: int) -> bytes:
        if number == 0:
            free.wait(0.2)
        return answer()

    server = toy(respond)
    outcome = Steady(server.port, lambda number: HELLO.one(), limit=1).run([0.0, 0.01, 0.02])
    assert outcome.errors == []
    assert server.connections == outcome.opened == 1
    assert min(outcome.of(lambda number: True)) > 0.17


@pytest.mark.parametrize(
    ("reply", "message"),
    [(answer(status=b"503 Busy"), "status 503"), (None, "closed|lost|reset"), (b"garbage\r\n\r\n", "not an answer")],
)
def test_the_open_model_counts_errors(toy: Toy, reply: bytes | None, message: str) -> None:
    outcome = Steady(toy(lambda request, number: reply).port, lambda number: HELLO.one()).run([0.0, 0.001])
    assert outcome.latencies == [None, None]
    assert len(outcome.errors) == 2
    assert re.search(message, outcome.errors[0])


def test_the_open_model_goes_on_after_a_server_that_closes(toy: Toy) -> None:
    server = toy(lambda request, number: answer(more=b"Connection: close\r\n"))
    outcome = Steady(server.port, lambda number: HELLO.one()).run(schedule(300, 0.1, None))
    assert outcome.errors == []
    assert outcome.opened == 30


def test_a_request_that_meets_the_end_of_an_idle_connection_goes_out_again(toy: Toy) -> None:
    server = toy(lambda request, number: None if number == 1 else answer())
    outcome = Steady(server.port, lambda number: HELLO.one()).run([0.0, 0.05])
    assert outcome.errors == []
    assert outcome.opened == 2


def test_transfers_in_both_directions(toy: Toy) -> None:
    def respond(request: bytes, number: int) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        return answer(content.counted(len(body)) if head.startswith(b"PUT") else content.PIECE * 4)

    server = toy(respond)
    found = transfer.send_upload(server.port, 1, chunked=False)
    assert found.start == b'{"size": 1048576}'
    with connect(server.port) as connection:
        transfer.fetch(connection, template("/stream").one(), 4 * len(content.PIECE))
    with connect(server.port) as connection, pytest.raises(BenchmarkError, match="262144 octets and not 1"):
        transfer.fetch(connection, template("/stream").one(), 1)


def test_the_crowd_counts_refusals_apart(toy: Toy) -> None:
    replies = [answer(), answer(status=b"503 Busy", more=b"Retry-After: 1\r\n"), answer(status=b"503 Busy")]
    server = toy(lambda request, number: replies[number])
    found = [load(server.port, 20.0, 0.05) for _ in replies]
    assert [(len(each.accepted), len(each.refused)) for each in found] == [(1, 0), (0, 1), (0, 1)]
    assert [sum(each.others.values()) for each in found] == [0, 0, 1]
    assert all(each.over < 5 for each in found)
    figures = table({"toy": [Round(400.0, *found)]})
    assert "| toy | 400/s |" in figures
