"""The harness measures what it says: texts of /proc, ratios, and real runs against the floor."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from benchmarks.__main__ import choose, main
from benchmarks.apps import BODY
from benchmarks.client import Clients, Load, ask, connect, requests
from benchmarks.floor import ANSWER
from benchmarks.measure import ratios
from benchmarks.servers import SERVERS, BenchmarkError, Server, pinned, running

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


def test_ratios_are_taken_round_by_round() -> None:
    results = {"floor": [Load(10, 100, 1), Load(10, 200, 1)], "other": [Load(10, 250, 1), Load(10, 400, 1)]}
    assert ratios(results, "other") == [2.5, 2.0]
    assert ratios({"other": results["other"]}, "other") == []


def test_no_request_is_like_another() -> None:
    numbered = requests()
    found = [next(numbered) for _ in range(1000)]
    assert len(set(found)) == 1000
    assert {len(request) for request in found} == {len(found[0])}
    assert found[0].count(b"\r\n") == 8 + 2


def test_a_run_against_the_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = os.sched_getaffinity(0)
    out = tmp_path / "speed.json"
    sizes = ["--requests", "400", "--rounds", "2", "--connections", "4", "--warmup", "50"]
    assert main(["--servers", "floor", *sizes, "--json", str(out)]) == 0
    assert os.sched_getaffinity(0) == before
    assert "| floor |" in capsys.readouterr().out
    floor = json.loads(out.read_text())["servers"]["floor"]
    assert floor["ratio"] == [1.0, 1.0]
    assert len(floor["cpu_us"]) == 2
    assert all(1 < cost < 10_000 for cost in floor["cpu_us"])


def test_idle_connections_of_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["idle", "--servers", "floor", "--connections", "50"]) == 0
    assert "| floor |" in capsys.readouterr().out


def test_the_floor_answers_requests_in_pieces_and_in_one() -> None:
    request = next(requests())
    with running(SERVERS["floor"], min(os.sched_getaffinity(0))) as (pid, port), connect(port) as connection:
        assert pid in proc.tree(os.getpid())
        connection.sendall(request[:30])
        assert ask(connection, request[30:]) == ANSWER
        connection.sendall(request * 2)
        connection.settimeout(5)
        answers = b""
        while len(answers) < 2 * len(ANSWER):
            answers += connection.recv(65536)
        assert answers == ANSWER * 2


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace(b"200", b"503"),
        ANSWER.replace(BODY, BODY.upper()),
        ANSWER.replace(b"server: floor", b"connection: close"),
        b"",
    ],
)
def test_a_wrong_answer_is_not_measured(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with connect(listener.getsockname()[1]) as connection, pytest.raises(BenchmarkError):
            ask(connection, next(requests()))
        thread.join(5)


def test_an_answer_that_goes_wrong_under_load_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as peer:
                for answer in (ANSWER, ANSWER, ANSWER.replace(b"200", b"500")):
                    peer.recv(65536)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        clients = Clients(listener.getsockname()[1], 1)
        with pytest.raises(BenchmarkError, match="wrong answer"):
            clients.send(5, 5.0)
        clients.close()
        thread.join(5)


def test_a_server_that_does_not_start_is_told() -> None:
    broken = Server("broken", ("uvloop",), lambda port: ["benchmarks.no_such_module", str(port)])
    with (
        pytest.raises(BenchmarkError, match="no_such_module"),
        running(broken, min(os.sched_getaffinity(0))),
    ):
        pass


def test_unknown_and_missing_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchmarkError, match="nobody"):
        choose("nobody")
    absent = Server("absent", ("no-such-distribution",), lambda port: [])
    monkeypatch.setitem(SERVERS, "absent", absent)
    chosen, missing = choose("floor,absent")
    assert [server.name for server in chosen] == ["floor"]
    assert missing == {"absent": ["no-such-distribution"]}
    assert main(["--servers", "absent"]) == 1


def test_pinning_ends_with_the_block() -> None:
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
