"""The log on stderr."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from bridgeserve.observe.logs import LogHandler, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logger as it was, so that other tests can listen to it."""
    logger = logging.getLogger("bridgeserve")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def test_text_lines() -> None:
    stream = io.StringIO()
    configure("info", "text", stream)
    logging.getLogger("bridgeserve").info("serving on %s", "x")
    logging.getLogger("bridgeserve.wire").debug("not shown")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info     serving on x\n", stream.getvalue())


def test_control_characters_are_escaped_in_messages() -> None:
    stream = io.StringIO()
    configure("debug", "text", stream)
    logging.getLogger("bridgeserve.wire").debug("refused %s", "a\r\nb\x1b[2J\x85\u2028\x7f")
    assert stream.getvalue().endswith("refused a\\x0d\\x0ab\\x1b[2J\\x85\\u2028\\x7f\n")
    assert stream.getvalue().count("\n") == 1


def fail() -> None:
    raise RuntimeError("first\n2020-01-01T00:00:00.000Z info forged\x1b[2J")


@pytest.mark.parametrize("format", ["text", "json"])
def test_tracebacks_cannot_forge_lines(format: str) -> None:
    stream = io.StringIO()
    configure("error", format, stream)
    try:
        fail()
    except RuntimeError:
        logging.getLogger("bridgeserve.error").exception("app failed", stack_info=True)
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    if format == "json":
        assert len(lines) == 1
        assert "forged" in json.loads(lines[0])["trace"]
    else:
        assert len(lines) > 3
        assert all(line.startswith("    ") for line in lines[1:])


def test_json_lines() -> None:
    stream = io.StringIO()
    configure("warning", "json", stream)
    logging.getLogger("bridgeserve.error").warning("odd %s", "\n\x7f\u2028")
    assert stream.getvalue().isascii()
    found = json.loads(stream.getvalue())
    assert (found["level"], found["logger"], found["message"]) == (
        "warning",
        "bridgeserve.error",
        "odd \n\x7f\u2028",
    )
    assert "trace" not in found


def test_a_second_call_replaces_the_first_and_leaves_others_alone() -> None:
    first, second, foreign = io.StringIO(), io.StringIO(), io.StringIO()
    logger = logging.getLogger("bridgeserve")
    logger.addHandler(logging.StreamHandler(foreign))
    configure("info", "text", first)
    configure("error", "json", second)
    logger.warning("hidden")
    logger.error("shown")
    assert first.getvalue() == ""
    assert foreign.getvalue() == "shown\n"
    assert json.loads(second.getvalue())["message"] == "shown"
    assert sum(isinstance(each, LogHandler) for each in logger.handlers) == 1


@pytest.mark.parametrize(("level", "format"), [("loud", "text"), ("info", "xml")])
def test_unknown_words_are_refused(level: str, format: str) -> None:
    with pytest.raises(ValueError, match="unknown"):
        configure(level, format)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_stderr_that_is_gone_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text", Gone())
    logging.getLogger("bridgeserve").info("nobody reads this")
    assert capsys.readouterr().err == ""
