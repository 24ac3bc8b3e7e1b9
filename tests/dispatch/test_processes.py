"""Processes mode with real children and a real loop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.dispatch import child as child_module
from bridgeserve.dispatch import nursery
from bridgeserve.dispatch.child import describe
from bridgeserve.dispatch.nursery import pause, resident
from bridgeserve.dispatch.processes import ProcessPool
from bridgeserve.dispatch.spawn import ChildFailed
from bridgeserve.groups import Admission, Children
from dispatch.fakes import FakeExchange, make_request

HERE = str(Path(__file__).resolve().parent)
Run = Callable[[Callable[[], Awaitable[None]]], None]


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` is true. Other processes need the processor meanwhile."""
    while not condition():  # noqa: ASYNC110  it is another process that changes it
        await asyncio.sleep(0.005)


def make_pool(
    size: int = 1, *, app: str = "process_app:app", crashed: Callable[[], None] = lambda: None, **options: Any
) -> ProcessPool:
    """:param options: fields of Children and of Admission, `memory` and `buffering`."""
    setup = {
        "app": app,
        "factory": False,
        "app_dir": HERE,
        "interface": "auto",
        "root_path": "",
        "path": sys.path,
        "log_level": logging.INFO,
        "parent": os.getpid(),
    }
    body = (options.pop("memory", 1000), options.pop("buffering", True))
    limits = {name: options.pop(name) for name in list(options) if name in Admission.__dataclass_fields__}
    return ProcessPool(setup, Children(size=size, **options), Admission(**limits), body, crashed)


def get(pool: ProcessPool, target: str = "/") -> FakeExchange:
    exchange = FakeExchange(raw(make_request(target.encode())))
    pool.dispatch(exchange)
    return exchange


def raw(request: Any) -> Any:
    """... with the octets of its head."""
    lines = [b"%b %b HTTP/1.1" % (request.method, request.target), *(b"%b: %b" % pair for pair in request.headers)]
    request.raw = b"\r\n".join(lines)
    return request


async def ended(exchange: FakeExchange) -> FakeExchange:
    await until(lambda: exchange.lost)
    return exchange


async def answered(pool: ProcessPool, target: str = "/") -> bytes:
    """The body of an answer that has to be good."""
    exchange = await ended(get(pool, target))
    assert (exchange.status, exchange.complete) == (200, True)
    return exchange.body


def replaced(pool: ProcessPool) -> dict[str, int]:
    """Why children were replaced, without those that never were; the sum is checked."""
    found = pool.statistics()
    causes = {name[9:]: count for name, count in found.items() if name.startswith("replaced_") and count}
    assert found["replaced"] == sum(causes.values())
    return causes


def state(pool: ProcessPool) -> tuple[int, int, int, int]:
    """Children, requests that run, wait, and were refused."""
    found = pool.statistics()
    return found["children"], found["running"], found["waiting"], found["refused"]


# --- requests ----------------------------------------------------------------------------------------


def test_requests_run_in_children(run: Run) -> None:
    async def main() -> None:
        async with make_pool(2) as pool:
            assert pool.ready
            assert state(pool) == (2, 0, 0, 0)
            made = [get(pool) for _ in range(20)]
            pids = {(await ended(exchange)).body for exchange in made}
            assert pids <= {str(child.pid).encode() for child in pool._nursery.ready}
            assert len(pids) == 2
            assert made[0].head is not None and made[0].head.headers[0] == (b"X-Multi", b"True")
            await until(lambda: state(pool) == (2, 0, 0, 0))
            assert replaced(pool) == {}

    run(main)


def test_as_many_children_as_were_asked_for(run: Run) -> None:
    async def main() -> None:
        started = set()

        async with make_pool(3) as pool:
            started |= {child.pid for child in pool._nursery.ready}
            assert len(started) == 3
            for _ in range(3):
                await answered(pool)
            assert len(pool._tasks) == 3  # nothing else is starting

    run(main)


@pytest.mark.parametrize("size", [0, 5, 70_000, 300_000])
@pytest.mark.parametrize("memory", [1000, 1_000_000])
@pytest.mark.parametrize("buffering", [True, False])
def test_bodies(run: Run, size: int, memory: int, buffering: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def main() -> None:
        async with make_pool(memory=memory, buffering=buffering) as pool:
            whole = FakeExchange(raw(make_request(b"/echo", b"POST", body)))
            pool.dispatch(whole)
            pieces = make_request(b"/echo", b"POST", headers=((b"transfer-encoding", b"chunked"),))
            arriving = FakeExchange(raw(pieces), arriving=True)
            pool.dispatch(arriving)
            for start in range(0, len(body), 50_000):
                arriving.feed(body[start : start + 50_000])
                await asyncio.sleep(0)
            arriving.feed_end()
            assert (await ended(arriving)).status == (await ended(whole)).status == 200
            assert whole.body == body
            assert arriving.body == body
            assert arriving.spool is None or arriving.spool.closed

    run(main)


def test_those_that_wait_run_in_order_and_the_rest_is_refused(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with make_pool(1, queue=2) as pool:
            made = [get(pool, f"/wait?{tmp_path}/{number}") for number in range(4)]
            assert made[3].status == 503
            await until((tmp_path / "0.here").exists)
            assert state(pool) == (1, 1, 2, 1)
            (tmp_path / "1").touch()
            (tmp_path / "0").touch()
            await ended(made[1])
            assert made[0].complete and not made[2].lost
            (tmp_path / "2").touch()
            await ended(made[2])
            assert [exchange.status for exchange in made] == [200, 200, 200, 503]

    run(main)


def test_an_application_that_raises_and_one_that_prints(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with make_pool() as pool:
            assert (await ended(get(pool, "/raise"))).status == 500
            pid = (await answered(pool, "/print")).decode()
            await until(lambda: f"[{pid}] from the application" in caplog.messages)
            assert replaced(pool) == {}

    run(main)
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage() == "the WSGI application failed: GET /raise"
    assert record.stack_info is not None and "KeyError: 'boom'" in record.stack_info


# --- children that go --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"), [("/crash", "signal SIGKILL"), ("/fault", "signal SIGSEGV"), ("/exit", "exit 3")]
)
def test_a_crash_is_502_and_there_is_a_successor(
    run: Run, path: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with make_pool() as pool:
            before = await answered(pool)
            bad, waiting = get(pool, path), get(pool)
            assert ((await ended(bad)).status, bad.complete) == (502, True)
            assert (await ended(waiting)).status == 200
            assert waiting.body != before
            assert replaced(pool) == {"crash": 1}
            await until(lambda: state(pool) == (1, 0, 0, 0))
        assert f"child {before.decode()} has ended ({words}) and is replaced" in caplog.messages

    run(main)


def test_a_crash_after_the_head_is_a_cut(run: Run) -> None:
    async def main() -> None:
        async with make_pool() as pool:
            bad = await ended(get(pool, "/half"))
            assert (bad.status, bad.body, bad.aborted) == (200, b"half", True)
            await answered(pool)

    run(main)


def test_a_process_that_a_child_left_behind_does_not_delay_its_end(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with make_pool() as pool:
            try:
                assert (await ended(get(pool, f"/holder?{tmp_path}/pid"))).status == 502
                await answered(pool)
            finally:
                os.kill(int((tmp_path / "pid").read_text("ascii")), signal.SIGKILL)

    run(main)


def test_a_crash_lets_others_have_its_place_in_the_limit(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with make_pool(2, concurrency=1) as pool:
            bad = get(pool, "/crash")
            waiting = [get(pool) for _ in range(3)]
            assert (await ended(bad)).status == 502
            for exchange in waiting:
                assert (await ended(exchange)).status == 200

    run(main)


@pytest.mark.parametrize("size", [1, 2])
def test_max_requests_replaces_without_a_failure(run: Run, size: int) -> None:
    async def main() -> None:
        async with make_pool(size, max_requests=3) as pool:
            pids = set()
            while replaced(pool).get("max_requests", 0) < 2:  # a child goes on until its successor is there
                made = [get(pool) for _ in range(4)]
                for exchange in made:
                    assert (await ended(exchange)).status == 200
                    pids.add(exchange.body)
            await until(lambda: state(pool) == (size, 0, 0, 0))
            assert set(replaced(pool)) == {"max_requests"}
            assert len(pids) >= 2

    run(main)


def test_a_child_that_was_due_and_crashes(run: Run) -> None:
    async def main() -> None:
        async with make_pool(1, max_requests=1) as pool:
            await answered(pool)
            assert (await ended(get(pool, "/crash"))).status == 502  # its successor is not there yet
            for _ in range(3):
                await answered(pool)
            await until(lambda: not pool._nursery.due and not pool._nursery._leaving and state(pool) == (1, 0, 0, 0))

    run(main)


def test_a_child_that_does_not_end_by_itself_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LEAVE_SECONDS", 0.2)

    async def main() -> None:
        async with make_pool(1, max_requests=1) as pool:
            await answered(pool, "/lingering")
            await until(lambda: replaced(pool) == {"max_requests": 1})

    run(main)


def test_age_and_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "LOOK", 0.05)

    async def main() -> None:
        for option, cause in (({"max_lifetime": 0.2}, "lifetime"), ({"max_rss": 1}, "rss")):
            async with make_pool(**option) as pool:
                await until(lambda pool=pool, cause=cause: replaced(pool).get(cause))
                await answered(pool)
                assert set(replaced(pool)) == {cause}

    run(main)


def test_too_long_is_504_with_the_stack(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with make_pool(run_timeout=0.5) as pool:
            stuck = await ended(get(pool, "/stuck"))
            assert (stuck.status, stuck.complete) == (504, True)
            await answered(pool)
            assert replaced(pool) == {"timeout": 1}

    run(main)
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage().startswith("GET /stuck ran longer than --timeout-request (0.5 s): answered with 504; ")
    assert record.stack_info is not None
    assert "process_app.py" in record.stack_info


def test_garbage_on_the_stream_is_502(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with make_pool() as pool:
            assert (await ended(get(pool, "/garbage"))).status == 502
            await answered(pool)
            assert replaced(pool) == {"garbage": 1}

    run(main)
    assert len([text for text in caplog.messages if "broke the frames and is replaced" in text]) == 1


# --- starting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2])
def test_an_import_that_fails(run: Run, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESS_APP_FAILS", "1")

    async def main() -> None:
        with pytest.raises(ChildFailed) as caught:
            async with make_pool(size):
                raise AssertionError("it came up")
        assert "cannot be imported" in caught.value.trace
        assert "process_app.py" in caught.value.trace

    run(main)


def test_an_application_that_is_not_there(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ChildFailed, match="process_app"):
            await make_pool(app="process_app:nothing").__aenter__()

    run(main)


def test_a_crash_loop_is_told_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "FAILURES_MAX", 3)
    monkeypatch.setattr(nursery, "PAUSE_MAX", 0.01)
    monkeypatch.setenv("PROCESS_APP_FAILS_IF", str(tmp_path / "fails"))
    told: list[int] = []

    async def main() -> None:
        async with make_pool(2, crashed=lambda: told.append(1)) as pool:
            (tmp_path / "fails").touch()
            bad = [get(pool, "/crash") for _ in range(2)]
            for exchange in bad:
                assert (await ended(exchange)).status == 502
            await until(lambda: told)
            assert not pool.ready
            waiting = get(pool)
        assert waiting.status == 503

    run(main)
    assert told == [1]


def test_a_start_that_fails_is_repeated(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fails = tmp_path / "fails"
    os.environ["PROCESS_APP_FAILS_IF"] = str(fails)

    async def main() -> None:
        async with make_pool() as pool:
            fails.touch()
            bad, waiting = get(pool, "/crash"), get(pool)
            assert (await ended(bad)).status == 502
            await until(lambda: any("attempt 1" in text for text in caplog.messages))
            fails.unlink()
            assert (await ended(waiting)).status == 200

    try:
        run(main)
    finally:
        del os.environ["PROCESS_APP_FAILS_IF"]
    assert any("cannot be imported" in text for text in caplog.messages)


def test_a_start_that_takes_too_long_is_given_up_and_repeated(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs = tmp_path / "hangs"
    monkeypatch.setenv("PROCESS_APP_HANGS_IF", str(hangs))

    async def main() -> None:
        async with make_pool() as pool:
            hangs.touch()
            patient = pool._nursery._settings
            pool._nursery._settings = replace(patient, start=0.2)
            bad, waiting = get(pool, "/crash"), get(pool)
            assert (await ended(bad)).status == 502
            await until(lambda: any("attempt 1" in text for text in caplog.messages))
            pool._nursery._settings = patient
            hangs.unlink()
            assert (await ended(waiting)).status == 200

    run(main)
    assert any("not ready within --timeout-start (0.2 s)" in text for text in caplog.messages)


# --- the end -----------------------------------------------------------------------------------------


def test_the_end_of_the_pool(run: Run) -> None:
    async def main() -> None:
        async with make_pool(2) as pool:
            stuck, pids = get(pool, "/stuck"), [child.pid for child in pool._nursery.ready]
            await pool.drain(0.05)
        assert stuck.status == 503
        assert [resident(pid) for pid in pids] == [0, 0]

    run(main)


def test_a_drain_waits_for_what_runs(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with make_pool(2) as pool:
            exchange = get(pool, f"/wait?{tmp_path}/go")
            await until((tmp_path / "go.here").exists)
            drained = asyncio.ensure_future(pool.drain(15.0))
            (tmp_path / "go").touch()
            await drained
            assert exchange.complete
            await pool.drain(0.0)

    run(main)


# --- words and numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.2), (4, 0.4), (10, 25.6), (11, 30.0), (5000, 30.0)]
)
def test_pauses(failures: int, seconds: float) -> None:
    assert pause(failures) == pytest.approx(seconds)


@pytest.mark.parametrize(("code", "words"), [(0, "exit 0"), (3, "exit 3"), (-9, "signal SIGKILL"), (-99, "signal 99")])
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert describe(code) == words


def test_memory_of_a_process() -> None:
    assert resident(os.getpid()) > 1_000_000
    assert resident(1 << 30) == 0
