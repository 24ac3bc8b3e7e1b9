"""The access log: formats, lines that cannot be forged, and a reader that is slow or gone."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from bridgeserve.observe import writer
from bridgeserve.observe.access import AccessLog
from bridgeserve.observe.formats import compile_format
from bridgeserve.observe.records import RequestRecord
from bridgeserve.wire.events import Request


def record(
    target: bytes = b"/a/b?c=d",
    method: bytes = b"GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    client: tuple[str, int] | None = ("10.0.0.1", 4711),
) -> RequestRecord:
    """A request that took 12.3456 ms."""
    made = RequestRecord(
        Request(method, target, "1.1", headers or []), client, 200, [(b"X-Out", b"o1"), (b"x-out", b"o2")]
    )
    made.body_bytes, made.wall, made.duration = 1234, 1.7e9 + 0.25, 0.0123456
    made.body_in, made.queue, made.app = 99, 0.002, 0.01
    return made


def test_a_record_does_not_hold_the_body() -> None:
    request = Request(b"POST", b"/", "1.1", [(b"a", b"b")])
    assert RequestRecord(request, None, 200, []).request is request
    request.body = b"x" * 1000
    kept = RequestRecord(request, None, 200, []).request
    assert (kept.method, kept.target, kept.version, kept.headers, kept.body) == (
        b"POST",
        b"/",
        "1.1",
        [(b"a", b"b")],
        b"",
    )
    assert request.body


@pytest.mark.parametrize(
    ("atom", "text"),
    [
        ("%(h)s", "10.0.0.1"), ("%(l)s", "-"), ("%(u)s", "-"), ("%(r)s", "GET /a/b?c=d HTTP/1.1"), ("%(s)s",
        "200"),
        ("%(m)s", "GET"), ("%(U)s", "/a/b"), ("%(q)s", "c=d"), ("%(H)s", "HTTP/1.1"), ("%(b)s", "1234"),
        ("%(B)s", "1234"),
        ("%(f)s", "-"), ("%(a)s", "-"), ("%(T)s", "0"), ("%(M)s", "12"), ("%(D)s", "12345"), ("%(L)s",
        "0.012346"),
        ("%({x-in}i)s", "-"), ("%({X-Out}o)s", "o1, o2"),
        ("%({NO_SUCH_THING}e)s", "-"),
        ("%(B)d", "1234"), ("100%%", "100%"), ("a %(s)s b", "a 200 b"),
    ],
)  # fmt: skip
def test_atoms(atom: str, text: str) -> None:
    assert compile_format(atom)(record()) == text


def test_the_atom_of_the_process() -> None:
    assert compile_format("%(p)s")(record()) == f"<{os.getpid()}>"


def test_atoms_of_request_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = base64.b64encode(b"us er:secret")
    headers = [
        (b"referer", b"r"),
        (b"user-agent", b"ua"),
        (b"x-in", b"i"),
        (b"authorization", b"Basic " + credentials),
    ]
    monkeypatch.setenv("SOME_VARIABLE", 'a"b')
    line = compile_format("%(f)s %(a)s %({X-In}i)s %(u)s %({HTTP_X_IN}e)s %({SOME_VARIABLE}e)s")(
        record(headers=headers)
    )
    assert line == r"r ua i us\x20er i a\x22b"


@pytest.mark.parametrize("value", [b"Bearer x", b"Basic ?", b"Basic", b"Basic " + base64.b64encode(b":secret")])
def test_no_user_in_other_credentials(value: bytes) -> None:
    assert compile_format("%(u)s")(record(headers=[(b"authorization", value)])) == "-"


def test_time_has_english_months_and_the_zone() -> None:
    assert re.fullmatch(r"\[1[45]/Nov/2023:\d\d:\d\d:20 [+-]\d{4}\]", compile_format("%(t)s")(record()))


def test_nothing_sent_is_a_dash_in_common_log_format() -> None:
    empty = record()
    empty.body_bytes = 0
    assert compile_format("%(b)s %(B)s")(empty) == "- 0"


def test_atoms_beyond_those_of_gunicorn() -> None:
    line = compile_format("%(queue_ms)s %(app_ms)s %(bytes_in)s %(bytes_out)s %(request_id)s")
    assert line(record()) == "2.000 10.000 99 1234 -"
    identified = record()
    identified.request_id = "abc"
    assert line(identified) == "2.000 10.000 99 1234 abc"
    assert json.loads(compile_format("json")(identified))["request_id"] == "abc"
    assert "request_id" not in json.loads(compile_format("json")(record()))


def test_named_formats() -> None:
    assert compile_format("default")(record()) == '10.0.0.1:4711 "GET /a/b?c=d HTTP/1.1" 200 1234 12.3ms'
    assert compile_format("default")(record(client=("::1", 1))).startswith('[::1]:1 "GET')
    assert compile_format("default")(record(client=None)).startswith('- "GET')
    cut = record()
    cut.cut = True
    assert compile_format("default")(cut).endswith("ms cut")
    common = compile_format("common")(record())
    assert re.fullmatch(r'10\.0\.0\.1 - - \[.*\] "GET /a/b\?c=d HTTP/1\.1" 200 1234', common)
    assert compile_format("combined")(record()) == f'{common} "-" "-"'


def test_json_is_one_object_of_one_line() -> None:
    line = compile_format("json")(record(headers=[(b"user-agent", b'a"\n\xe2\x80\xa8\xff\x7f')]))
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert found["time"] == "2023-11-14T22:13:20.250Z"
    assert (found["client"], found["port"], found["path"], found["query"]) == (
        "10.0.0.1",
        4711,
        "/a/b",
        "c=d",
    )
    assert (found["status"], found["bytes"], found["ms"], found["cut"]) == (200, 1234, 12.346, False)
    assert (found["bytes_in"], found["queue_ms"], found["app_ms"]) == (99, 2.0, 10.0)
    assert found["user_agent"] == 'a"\n\u2028\\xff\\x7f'
    assert json.loads(compile_format("json")(record(client=None)))["client"] is None


EVERY_OCTET = bytes(range(256))


@pytest.mark.parametrize("name", ["default", "common", "combined", "%(m)s %(U)s %(q)s %({x}i)s %(r)s %({x}o)s"])
def test_no_octet_of_the_client_can_forge_a_line(name: str) -> None:
    evil = record(
        b"/" + EVERY_OCTET,
        EVERY_OCTET,
        [(name, EVERY_OCTET) for name in (b"referer", b"user-agent", b"x")],
        (EVERY_OCTET.decode("latin-1"), 1),
    )
    evil.headers = [(b"x", EVERY_OCTET)]
    line = compile_format(name)(evil)
    assert line.isascii()
    assert line.isprintable()
    # Quotes are those of the format, backslashes those of our escapes.
    assert line.count('"') == compile_format(name)(record()).count('"')
    assert re.search(r"\\(?!x[0-9a-f]{2})", line) is None
    for octet in (b"\r", b"\n", b"\x1b", b'"', b"\\", b"\xff"):
        assert f"\\x{octet[0]:02x}" in line


@pytest.mark.parametrize("format", ["", " ", "a\nb", "%(h)", "%(h)f", "%(zz)s", "%(Z)s", "%({a}x)s", "50%", "%s"])
def test_unknown_formats_are_refused(format: str) -> None:
    with pytest.raises(ValueError, match="atom"):
        AccessLog(format, io.StringIO())


def test_close_writes_everything_in_order() -> None:
    stream = io.StringIO()
    log = AccessLog("%(U)s", stream)
    for number in range(1000):
        log(record(b"/%d" % number))
    log.close()
    log.close()
    log(record(b"/late"))
    assert stream.getvalue().split() == [f"/{number}" for number in range(1000)]
    assert log.dropped == 0


class Signalling(io.StringIO):
    """A stream that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def flush(self) -> None:
        self.written.set()


def test_lines_come_without_close() -> None:
    stream = Signalling()
    log = AccessLog("%(U)s", stream)
    for _ in range(3):
        stream.written.clear()
        log(record(b"/now"))
        assert stream.written.wait(10)
    log.close()
    assert stream.getvalue() == "/now\n" * 3


class Stuck(io.StringIO):
    """A stream whose first write does not return until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.released.wait(10)
        return super().write(text)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    stream = Stuck()
    yield stream
    stream.released.set()


def test_a_stuck_reader_costs_lines_and_is_told_once(
    stuck: Stuck, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "CAPACITY", 10)
    log = AccessLog("%(U)s", stuck)
    log(record(b"/first"))
    assert stuck.reached.wait(10)
    for number in range(15):
        log(record(b"/%d" % number))
    assert log.dropped == 5
    stuck.released.set()
    log.close()
    assert stuck.getvalue().split() == ["/first", *(f"/{number}" for number in range(10))]
    assert caplog.messages == ["access log: 5 lines were dropped: too many at once"]


def test_close_gives_up_on_a_stuck_reader(stuck: Stuck) -> None:
    log = AccessLog("%(U)s", stuck)
    log(record())
    assert stuck.reached.wait(10)
    log.close(0.01)
    assert stuck.getvalue() == ""


def test_a_record_that_cannot_be_formatted_costs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    log = AccessLog("%(U)s", stream)
    broken = record()
    broken.request = None  # type: ignore[assignment]
    log(broken)
    log(record(b"/next"))
    log.close()
    assert stream.getvalue() == "/next\n"
    assert len(caplog.messages) == 1


def test_a_closed_stream_makes_the_sink_quiet() -> None:
    stream = io.StringIO()
    stream.close()
    log = AccessLog("default", stream)
    log(record())
    log.close()


def test_literals_that_the_stream_cannot_spell_are_escaped() -> None:
    raw = io.BytesIO()
    log = AccessLog("\u2192 %(s)s", io.TextIOWrapper(raw, encoding="ascii"))
    log(record())
    log.close()
    assert raw.getvalue() == b"\\u2192 200\n"


BROKEN_PIPE = """
import os, sys
from bridgeserve.observe.access import AccessLog
from bridgeserve.observe.records import RequestRecord
from bridgeserve.wire.events import Request
log = AccessLog("default")
sys.stdin.readline()
log(RequestRecord(Request(b"GET", b"/", "1.1", []), None, 200, []))
log.close()
log(RequestRecord(Request(b"GET", b"/", "1.1", []), None, 200, []))
"""


def test_a_reader_that_is_gone_leaves_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BROKEN_PIPE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert said == b"access log: 1 lines were dropped: stdout is closed (Broken pipe)\n"
