"""An app that raises, whatever and wherever: its own request fails, once in the log, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.raw import Cut, RawClient
from e2e.server import ServerProcess, run_command
from faults.census import FAULT_APPS, WITHIN, Census, ask, unharmed

ERRORS = (
    "RuntimeError",
    "OSError",
    "MemoryError",
    "RecursionError",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopAsyncIteration",
    "CancelledError",
    "Strange",
    "BaseExceptionGroup",
    "Unspeakable",
    "UnicodeEncodeError",
)
BEFORE = ("call", "started", "first", "next")
WRONG = ("split", "name", "number", "none", "status", "code", "length", "lengths", "text", "no-start", "nothing")


RECORD = r"error +the (?:ASGI application raised an exception|WSGI application failed)"


def once_more(server: ServerProcess, name: str, known: int) -> bool:
    """One record more, with the error's name, and no second one when the next request has been served."""
    assert server.err.wait(RECORD, WITHIN, known + 1)
    ask(server)
    assert server.err.wait(rf"^ +(?:\| )?(?:[\w.]+\.)?{name}\b", WITHIN)
    return told(server) == known + 1


def told(server: ServerProcess) -> int:
    """Records of errors of the app."""
    return len(server.err.find(RECORD))


@pytest.mark.parametrize("where", BEFORE)
def test_before_the_head_it_is_a_500(server: ServerProcess, before: Census, where: str) -> None:
    for name in ERRORS:
        known = told(server)
        with RawClient(server.address) as raw:
            raw.get(f"/raise/{where}/{name}")
            answer = raw.read_answer()
            assert (answer.status, b"fault" in answer.body) == (500, False), name
        assert once_more(server, name, known), name
    unharmed(server, before)


def test_after_the_head_it_is_a_cut(server: ServerProcess, before: Census) -> None:
    for name in ERRORS:
        known = told(server)
        with RawClient(server.address) as raw:
            raw.get(f"/raise/later/{name}")
            with pytest.raises(Cut):
                raw.read_answer()
        assert once_more(server, name, known), name
    unharmed(server, before)


def test_after_the_answer_it_is_in_the_log(server: ServerProcess, before: Census) -> None:
    """In `close()` of a WSGI iterable, behind the last message of an ASGI app; the connection stays."""
    for name in ERRORS:
        known = told(server)
        with RawClient(server.address) as raw:
            raw.get(f"/raise/close/{name}")
            assert raw.read_answer().body == b"the beginning and the end\n", name
            raw.get("/hello")
            assert raw.read_answer().status == 200
        assert once_more(server, name, known), name
    unharmed(server, before)


def test_close_is_called_once(server: ServerProcess) -> None:
    if "(mode inline, asgi" in server.err.text:
        return  # it has nothing to close
    for where, name in (("next", "SystemExit"), ("first", "Strange"), ("later", "MemoryError")):
        known = len(server.err.find(f"app: closed {where} {name}"))
        with RawClient(server.address) as raw:
            raw.get(f"/raise/{where}/{name}")
            raw.read_head()
        assert server.err.wait(f"app: closed {where} {name}", WITHIN, known + 1)
        ask(server)
        assert len(server.err.find(f"app: closed {where} {name}")) == known + 1


def test_responses_that_cannot_be_sent(server: ServerProcess, before: Census) -> None:
    for how in WRONG:
        with RawClient(server.address) as raw:
            raw.get(f"/wrong/{how}")
            answer = raw.read_answer()
            assert (answer.status, "set-cookie" in answer.headers) == (500, False), how
    with RawClient(server.address) as raw:
        raw.get("/wrong/short")
        assert raw.read_head().headers["content-length"] == "5"
        assert raw.read_rest() == b"sho"
    with RawClient(server.address) as raw:
        raw.get("/wrong/long")
        assert raw.read_answer().body == b"longe"
        raw.get("/hello")
        assert raw.read_answer().body == b"/hello 0\n"
    unharmed(server, before)


def lifespan(when: str, name: str) -> dict[str, str]:
    return {"TEST_LIFESPAN": f"{when}/{name}"}


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "CancelledError", "Strange"])
def test_a_lifespan_that_wants_to_end_the_process_at_its_start(name: str) -> None:
    """A start-up failure with its reason: exit code 3."""
    options = ("--app-dir", str(FAULT_APPS), "--bind", "127.0.0.1:0", "--lifespan", "auto")
    ended = run_command("fault_asgi:application", *options, env=lifespan("startup", name))
    assert ended.code == 3
    assert ended.err.count("bridgeserve: ") == 1
    assert f"the application raised {name}" in ended.err
    assert "in raise_now" in ended.err
    assert "lifespan.py" not in ended.err


@pytest.mark.parametrize("when", ["serving", "shutdown"])
@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "CancelledError", "MemoryError"])
def test_a_lifespan_that_raises_later(start: Callable[..., ServerProcess], when: str, name: str) -> None:
    """Requests are served all the same; it is in the log at the end, which is a clean one."""
    server = start("fault_asgi:application", app_dir=FAULT_APPS, env=lifespan(when, name))
    assert ask(server) == b"/hello 0\n"
    ended = server.stop()
    assert ended.code == 0
    assert ended.err.count("the application raised during its lifespan") == 1
    assert name in ended.err
