"""The harness as a whole: apps, servers, runs against the floor, the command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import main, picked
from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.flame import record
from benchmarks.floor import ANSWER
from benchmarks.loads import KINDS
from benchmarks.loads.target import References
from benchmarks.measure import choose, measure, measure_once
from benchmarks.messages import connect, expected, template
from benchmarks.micro.cases import CASES, COUNTED
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.processes import cores, free_port, pinned, running
from benchmarks.report import primary
from benchmarks.servers import RAW, SERVERS, Job, Server
from benchmarks.workloads import WORKLOADS
from click.testing import CliRunner

from benchmarks import proc

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pins processes and reads /proc")

TINY = Plan(
    rounds=1,
    seconds=0.1,
    warmup=0.05,
    latency_seconds=0.1,
    mixed_seconds=0.3,
    megabytes=1,
    idle=20,
    churn=20,
)
HELLO = template("/items/42")


def ours(interface: str) -> Server:
    """bridgeserve, which is installed where these tests run."""
    return SERVERS[{"asgi": "bridgeserve-asgi", "socket": "bridgeserve-ws"}.get(interface, "bridgeserve-threads")]


def test_every_server_has_arguments_for_every_workload() -> None:
    for name, server in SERVERS.items():
        for workload in choose([name], list(WORKLOADS)):
            for logged in (False, True):
                app = WORKLOADS[workload].apps.get(server.interface, "")
                words = server.arguments(Job(app, 8765, 5, logged))
                assert any("8765" in word for word in words)
                assert all(isinstance(word, str) for word in words)


def test_every_workload_has_a_load_and_a_request() -> None:
    for workload in WORKLOADS.values():
        assert workload.kind in KINDS
        for interface in workload.apps:
            assert workload.requests[interface].one().endswith((b"\r\n\r\n", content.ORDER_BODY))


def test_a_server_runs_what_fits_it() -> None:
    names = ["floor", "waitress", "uvicorn-h11"]
    found = choose(names, ["hello", "hello-logged", "flask", "fastapi"])
    assert found == {
        "hello": names,
        "hello-logged": ["uvicorn-h11"],
        "flask": ["waitress"],
        "fastapi": ["uvicorn-h11"],
    }


# Both interfaces where the apps do different things, else one.
WSGI_TOO = ("json-post", "stream-down", "upload-length", "upload-chunked", "file", "io-wait")
SOCKETS = ("ws-echo", "ws-echo-64k", "ws-idle")
RUNS = [(name, "asgi") for name, row in WORKLOADS.items() if len(row.apps) > 1 and name != "django"]


@pytest.mark.parametrize(
    ("name", "interface"), [*RUNS, *((name, "wsgi") for name in WSGI_TOO), *((name, "socket") for name in SOCKETS)]
)
def test_each_workload_runs_on_bridgeserve(name: str, interface: str) -> None:
    server = ours(interface).name
    cell = measure({name: [server]}, TINY, 1, lambda text: None, lambda results: None)[name][server]
    assert cell.error == ""
    assert primary(name) in cell.rounds[0]
    # Of so few connections the memory may be anything.
    assert all(value >= 0 for figure, value in cell.rounds[0].items() if figure != "kib")


def test_the_order_is_about_as_long_as_its_answer() -> None:
    answer = content.total(content.ORDER_BODY)
    assert 2000 < len(content.ORDER_BODY) < 2400
    assert abs(len(answer) - len(content.ORDER_BODY)) < 100


def test_a_run_with_the_command(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    files = {"json": tmp_path / "new" / "run.json", "markdown": tmp_path / "run.md"}
    words = ["run", "--servers", "floor,bridgeserve-processes", "--workloads", "hello", "--rounds", "2"]
    words += ["--seconds", "0.1", "--quick", "--load", "client", "--seed", "5"]
    done = CliRunner().invoke(
        main, [*words, *(word for kind, path in files.items() for word in (f"--{kind}", str(path)))]
    )
    assert done.exit_code == 0, done.output
    assert os.sched_getaffinity(0) == before
    data = json.loads(files["json"].read_text())
    floor = data["results"]["hello"]["floor"]
    assert len(floor["rounds"]) == 2
    assert all(1 < one["cpu_us"] < 10_000 for one in floor["rounds"])
    assert data["seed"] == 5
    assert data["machine"]["cores"] == len(before)
    assert "| floor |" in files["markdown"].read_text()
    again = CliRunner().invoke(main, ["report", str(files["json"])])
    assert again.output == files["markdown"].read_text()


def test_what_nobody_can_measure_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Server("floor", RAW, ("no-such-distribution",), lambda job: [])
    monkeypatch.setitem(SERVERS, "floor", absent)
    done = CliRunner().invoke(main, ["run", "--servers", "floor", "--workloads", "hello", "--quick"])
    assert done.exit_code == 1
    assert "- floor: not installed: no-such-distribution" in done.output


def test_the_list() -> None:
    done = CliRunner().invoke(main, ["list"])
    assert done.exit_code == 0
    for name in (*SERVERS, *WORKLOADS):
        assert name in done.output


def test_names_by_pattern() -> None:
    names = ["floor", "granian-asgi", "granian-wsgi", "waitress"]
    assert picked("all", names, "server") == names
    assert picked("waitress,granian-*", names, "server") == names[1:]
    assert picked("-granian-*", names, "server") == ["floor", "waitress"]
    done = CliRunner().invoke(main, ["run", "--servers", "nobody"])
    assert done.exit_code == 2
    assert "no server 'nobody'" in done.output


def test_a_server_that_fails_is_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Server("broken", RAW, ("uvloop",), lambda job: ["benchmarks.no_such_module", str(job.port)])
    monkeypatch.setitem(SERVERS, "broken", broken)
    heard: list[str] = []
    plan = Plan(**{**vars(TINY), "rounds": 2})
    results = measure({"hello": ["broken", "floor"]}, plan, 3, heard.append, lambda results: None)
    assert "no_such_module" in results["hello"]["broken"].error
    assert len(results["hello"]["floor"].rounds) == 2
    assert len(heard) == 4


def test_a_server_with_another_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = WORKLOADS["hello"].__class__(**{**vars(WORKLOADS["hello"]), "answer": expected(b"another")})
    with pytest.raises(BenchmarkError, match="size 48 and not 7"):
        measure_once(SERVERS["floor"], wanted, TINY, References())


def test_the_floor_answers_requests_in_pieces_and_in_one() -> None:
    request = HELLO.one()
    with SERVERS["floor"].running("", 1, False, min(os.sched_getaffinity(0))) as found, connect(found.port) as peer:
        assert found.pid in proc.tree(os.getpid())
        for pieces, count in (((request[:30], request[30:]), 1), ((request * 2,), 2)):
            for piece in pieces:
                peer.sendall(piece)
            answers = b""
            while len(answers) < count * len(ANSWER):
                answers += peer.recv(65536)
            assert answers == ANSWER * count


def test_a_server_that_does_not_start_says_why() -> None:
    port = free_port()
    with (
        pytest.raises(BenchmarkError, match=r"did not start, exit 1\n(?s:.*)no_such_module"),
        running(["benchmarks.no_such_module"], port, min(os.sched_getaffinity(0))),
    ):
        pass


def test_pinning_ends_with_the_block() -> None:
    before = os.sched_getaffinity(0)
    with pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
    assert set(cores()) <= before


@pytest.mark.parametrize("name", CASES)
def test_each_part_runs_alone(name: str) -> None:
    CASES[name](70)
    assert set(COUNTED) <= set(CASES)


def test_a_flame_graph_needs_a_load_that_fits(tmp_path: Path) -> None:
    for mode, workload in (("asgi", "flask"), ("threads", "stream-down")):
        with pytest.raises(BenchmarkError, match=f"{workload} is no load for {mode}"):
            record(mode, workload, 1, False, tmp_path / "flame.svg")


def test_the_quick_profile_is_smaller() -> None:
    for name in ("rounds", "seconds", "warmup", "latency_seconds", "mixed_seconds", "megabytes", "idle", "churn"):
        assert getattr(QUICK, name) < getattr(FULL, name), name
