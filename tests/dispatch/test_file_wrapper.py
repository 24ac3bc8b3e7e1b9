"""wsgi.file_wrapper (PEP 3333 "Optional Platform-Specific File Handling")."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.dispatch.files import BLOCK_MIN, FileWrapper
from bridgeserve.dispatch.wsgi import WsgiRunner
from dispatch.fake_port import FakePort, make_request

DATA = bytes(range(256)) * 1024  # 256 KiB


class Closing:
    """A file that counts how often it is closed, or fails to."""

    def __init__(self, file: Any, error: Exception | None = None) -> None:
        self._file = file
        self._error = error
        self.closed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        self.closed += 1
        self._file.close()
        if self._error:
            raise self._error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return path


def send(
    file: Any,
    headers: list[tuple[str, str]] | None = None,
    *,
    port: FakePort | None = None,
    before: Callable[[Any], None] = lambda write: None,
) -> FakePort:
    """Send a file by the wrapper of the environ; `before` gets the write() callable."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        before(start_response("200 OK", headers or []))
        return environ["wsgi.file_wrapper"](file, 8192)

    port = port or FakePort()
    WsgiRunner(app, multithread=True, multiprocess=False).run(port)
    return port


def test_a_regular_file_goes_by_its_descriptor(path: Path) -> None:
    file = path.open("rb")
    port = send(file)
    assert port.names == ["respond", "send_file", "finish"]
    assert port.headers == [(b"content-length", b"%d" % len(DATA))]
    assert port.sent == DATA
    assert port.complete
    assert file.closed


def test_from_where_the_file_stands(path: Path) -> None:
    file = path.open("rb")
    file.read(1000)  # the buffer has read further than that
    port = send(file)
    assert port.headers == [(b"content-length", b"%d" % (len(DATA) - 1000))]
    assert port.sent == DATA[1000:]


def test_a_file_that_stands_past_its_end_is_empty(path: Path) -> None:
    file = path.open("rb")
    file.seek(len(DATA) + 5)
    port = send(file)
    assert (port.headers, port.sent, port.complete) == ([(b"content-length", b"0")], b"", True)


def test_the_content_length_of_the_application_counts(path: Path) -> None:
    port = send(path.open("rb"), [("Content-Length", "1000")])
    assert port.headers == [(b"Content-Length", b"1000")]
    assert port.sent == DATA[:1000]


def test_a_content_length_beyond_the_file_is_left_to_the_port_to_find(path: Path) -> None:
    port = send(path.open("rb"), [("Content-Length", str(len(DATA) + 1))])
    assert port.headers == [(b"Content-Length", b"%d" % (len(DATA) + 1))]
    assert port.sent == DATA


def test_a_content_length_that_is_none_is_an_error(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with path.open("rb") as file:  # start_response raises, so that the runner never sees the file
        assert send(file, [("Content-Length", "some")]).status == 500
    assert len(caplog.records) == 1


def test_a_file_after_write_is_iterated(path: Path) -> None:
    port = send(path.open("rb"), before=lambda write: write(b"first "))
    assert "send_file" not in port.names
    assert port.sent == b"first " + DATA


def test_a_port_that_cannot_send_files_gets_the_blocks(path: Path) -> None:
    file = path.open("rb")
    port = send(file, port=FakePort(sends_files=False))
    assert port.names == ["respond"] + ["write"] * (len(DATA) // BLOCK_MIN) + ["finish"]
    assert port.headers == [(b"content-length", b"%d" % len(DATA))]
    assert port.sent == DATA
    assert file.closed


def test_a_head_request_does_not_read_the_file(path: Path) -> None:
    file = path.open("rb")
    port = send(file, port=FakePort(make_request(b"HEAD"), sends_files=False))
    assert port.calls == [("respond", 200, b"OK", [(b"content-length", b"%d" % len(DATA))], b"", True)]
    assert file.closed


def test_a_file_in_memory_is_iterated() -> None:
    file = io.BytesIO(DATA)
    port = send(file)
    assert "send_file" not in port.names
    assert port.sent == DATA
    assert file.closed


def test_a_file_that_knows_only_read_is_iterated() -> None:
    class Minimal:
        def __init__(self) -> None:
            self.left = [b"a", b"b"]

        def read(self, size: int) -> bytes:
            return self.left.pop() if self.left else b""

    assert not hasattr(FileWrapper(Minimal()), "close")
    assert send(Minimal()).sent == b"ba"


def test_a_pipe_is_iterated() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    file = os.fdopen(reader, "rb")
    port = send(file)
    assert "send_file" not in port.names
    assert port.sent == b"through a pipe"
    assert file.closed


def test_a_file_that_gives_text_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    port = send(io.StringIO("text"))
    assert port.status == 500
    assert "must give bytes, not str" in str(caplog.records[0].exc_info)


def test_a_temporary_file() -> None:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  closed by the runner
    file.write(DATA)
    file.seek(10)
    assert send(file).sent == DATA[10:]
    assert file.closed


@pytest.mark.parametrize("opened", [gzip.open, bz2.open, lzma.open], ids=["gzip", "bz2", "lzma"])
def test_what_the_application_reads_is_what_is_sent(opened: Any, tmp_path: Path) -> None:
    with opened(tmp_path / "packed", "wb") as file:
        file.write(DATA)
    assert send(opened(tmp_path / "packed", "rb")).sent == DATA


@pytest.mark.parametrize("sends_files", [True, False])
@pytest.mark.parametrize("error", [None, OSError("cannot close")])
def test_the_file_is_closed_once(
    path: Path, sends_files: bool, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = Closing(path.open("rb"), error)
    port = send(file, port=FakePort(sends_files=sends_files))
    assert file.closed == 1
    assert (port.sent, port.complete, port.cut) == (DATA, True, False)
    assert len(caplog.records) == (1 if error else 0)


@pytest.mark.parametrize("leave_after", [0, 1])
def test_the_file_is_closed_once_when_the_client_leaves(path: Path, leave_after: int) -> None:
    file = Closing(path.open("rb"))
    port = FakePort(sends_files=False)
    port.leave_after = leave_after
    send(file, port=port)
    assert file.closed == 1
    assert not port.complete


def test_a_wrapped_file_may_be_sent_as_a_part_of_something_else(path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        with path.open("rb") as file:
            yield from environ["wsgi.file_wrapper"](file)

    port = FakePort()
    WsgiRunner(app, multithread=True, multiprocess=False).run(port)
    assert port.sent == DATA
