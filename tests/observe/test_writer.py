"""The buffer in front of a log: readers that stop or go away, full disks, files that are rotated, forks."""

from __future__ import annotations

import gc
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridgeserve.observe import output as outputs
from bridgeserve.observe import writer as writers
from bridgeserve.observe.logs import JsonFormatter, LogHandler, TextFormatter, reopen
from bridgeserve.observe.output import DescriptorOutput, open_output, standard_output
from bridgeserve.observe.writer import Writer, reopen_all


def until(question: Callable[[], bool], seconds: float = 10.0) -> None:
    """Look again and again until the answer is yes."""
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end
        select.select((), (), (), 0.005)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that is small and whose ends may be closed by the test."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture
def made() -> Iterator[list[Writer[str]]]:
    """Writers that are closed at the end."""
    found: list[Writer[str]] = []
    yield found
    for each in found:
        each.close(0.1)


def writer(made: list[Writer[str]], output: outputs.Output) -> Writer[str]:
    log = Writer(output, str, "test log")
    log.start()
    made.append(log)
    return log


def fill(descriptor: int) -> int:
    """Fill a pipe to its brim; how many octets that took."""
    os.set_blocking(descriptor, False)
    size = 0
    try:
        while True:
            size += os.write(descriptor, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(descriptor, True)
        return size


def read_exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_is_told(
    pipe: tuple[int, int],
    made: list[Writer[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(writers, "TEXT_MAX", 1000)
    reader, end = pipe
    filled = fill(end)
    log = writer(made, DescriptorOutput(None, end))
    for number in range(300):
        log(f"line {number:04}")  # ten octets with its end
    until(lambda: log.dropped == 200)
    until(lambda: len(caplog.messages) == 1)
    assert "test log: 200 lines were dropped: descriptor" in caplog.messages[0]
    assert "is not read fast enough" in caplog.messages[0]
    read_exactly(reader, filled)
    assert read_exactly(reader, 1000) == b"".join(b"line %04d\n" % number for number in range(100))
    log("later")
    assert read_exactly(reader, 6) == b"later\n"


def test_drops_are_told_once_a_second_at_most(
    pipe: tuple[int, int], made: list[Writer[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writers, "TEXT_MAX", 1)
    monkeypatch.setattr(writers, "PAUSE", 3600.0)
    fill(pipe[1])
    log = writer(made, DescriptorOutput(None, pipe[1]))
    log("waits")
    for count in range(1, 6):
        log("lost")
        until(lambda: log.dropped == count)  # noqa: B023
    until(lambda: len(caplog.messages) == 1)
    log.close(0.05)
    told = [int(message.split()[2]) for message in caplog.messages]
    assert len(told) == 2
    assert sum(told) == 6  # the one that waited is lost at the end


def test_lines_are_written_whole_and_no_longer_than_a_pipe_takes_at_once(
    pipe: tuple[int, int], made: list[Writer[str]]
) -> None:
    output = DescriptorOutput(None, pipe[1])
    text = b"a" * 3000 + b"\n" + b"b" * 3000 + b"\n"
    assert output.write(text, 0) == 3001
    assert output.write(b"c" * 5000 + b"\n", 0) == outputs.PIECE


@pytest.mark.parametrize("flavour", ["pipe", "descriptor"])
def test_a_reader_that_has_gone_is_told_once(
    flavour: str, pipe: tuple[int, int], made: list[Writer[str]], caplog: pytest.LogCaptureFixture
) -> None:
    log = writer(made, DescriptorOutput(None, pipe[1]))
    os.close(pipe[0])
    if flavour == "descriptor":
        os.close(pipe[1])
    for number in range(20):
        log(str(number))
        until(lambda: log.dropped == number + 1)  # noqa: B023
    until(lambda: len(caplog.messages) == 1)
    assert "is closed" in caplog.messages[0]
    log.close()
    assert len(caplog.messages) == 2
    assert sum(int(message.split()[2]) for message in caplog.messages) == 20


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_keeps_a_bounded_rest_and_is_told(
    made: list[Writer[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(writers, "PAUSE", 0.01)
    monkeypatch.setattr(writers, "TEXT_MAX", 10)
    link = tmp_path / "log"
    link.symlink_to("/dev/full")
    log = writer(made, DescriptorOutput(str(link)))
    for number in range(30):
        log(f"{number:04}")
    until(lambda: log.dropped == 28)
    until(lambda: bool(caplog.messages))
    assert "cannot be written: No space left on device" in caplog.messages[0]
    link.unlink()  # there is room again
    log.reopen()
    until(lambda: link.exists() and link.read_text() == "0000\n0001\n")
    log("more")
    until(lambda: link.read_text() == "0000\n0001\nmore\n")


def test_reopening_goes_on_in_a_new_file_with_nothing_lost(made: list[Writer[str]], tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = writer(made, open_output(str(path), None))
    written = 0
    for turn in range(3):
        for _ in range(100):
            log(f"{written:04}")
            written += 1
        log.flush(10)
        path.rename(tmp_path / f"old{turn}")
        reopen_all()
        until(path.exists)
    log("last")
    log.close()
    text = "".join((tmp_path / f"old{turn}").read_text() for turn in range(3)) + path.read_text()
    assert text.split() == [*(f"{number:04}" for number in range(written)), "last"]


def test_a_file_that_cannot_be_opened_again_stays_the_old_one(
    made: list[Writer[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "log"
    log = writer(made, open_output(str(path), None))
    (tmp_path / "folder").rename(tmp_path / "moved")
    log.reopen()
    until(lambda: bool(caplog.messages))
    assert "cannot be opened again: No such file or directory" in caplog.messages[0]
    log("still")
    log.close()
    assert (tmp_path / "moved" / "log").read_text() == "still\n"


def test_a_fifo_without_a_reader_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        open_output(str(tmp_path / "fifo"), None)


def test_a_child_of_a_fork_has_a_thread_of_its_own_and_none_of_our_lines(
    pipe: tuple[int, int], made: list[Writer[str]]
) -> None:
    log = writer(made, DescriptorOutput(None, pipe[1]))
    filled = fill(pipe[1])
    log("of the parent")
    until(lambda: bool(log._unsent))
    pid = os.fork()
    if pid == 0:
        log("of the child")
        log.flush(10)
        os._exit(0)
    read_exactly(pipe[0], filled)
    assert sorted(read_exactly(pipe[0], 27).splitlines()) == [b"of the child", b"of the parent"]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_no_stream_at_all_is_the_null_device() -> None:
    output = standard_output(None)
    assert output.write(b"x\n", 0) == 2
    output.close()


# The log of ours.


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("test.writer")
    found.propagate = False
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)
        handler.close()


def test_a_line_is_out_before_the_call_returns(pipe: tuple[int, int], logger: logging.Logger) -> None:
    logger.addHandler(LogHandler(DescriptorOutput(None, pipe[1]), TextFormatter()))
    before = threading.active_count()
    logger.warning("last words")
    assert b"last words\n" in os.read(pipe[0], 4096)
    assert threading.active_count() == before


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_log_that_nobody_reads_holds_nobody_up_and_says_so_later(
    pipe: tuple[int, int], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, formatter: logging.Formatter
) -> None:
    monkeypatch.setattr(writers, "TEXT_MAX", 100)
    filled = fill(pipe[1])
    handler = LogHandler(DescriptorOutput(None, pipe[1]), formatter)
    logger.addHandler(handler)
    began = time.monotonic()
    for number in range(500):
        logger.warning("line %d", number)
    assert time.monotonic() - began < 5.0
    until(lambda: handler.dropped > 0)
    read_exactly(pipe[0], filled)
    said = b""
    while b"lines of this log were dropped" not in said:
        said += os.read(pipe[0], 4096)
    assert b"line 0" in said.splitlines()[0]
    assert b"is not read fast enough" in said


def test_an_end_does_not_wait_long_for_a_log_that_nobody_reads(
    pipe: tuple[int, int], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridgeserve.observe.logs.FLUSH", 0.05)
    fill(pipe[1])
    handler = LogHandler(DescriptorOutput(None, pipe[1]), TextFormatter())
    logger.addHandler(handler)
    logger.warning("x")
    began = time.monotonic()
    handler.flush()
    handler.close()
    assert time.monotonic() - began < 5.0


def test_a_log_file_gets_what_is_left_at_the_end(tmp_path: Path, logger: logging.Logger) -> None:
    handler = LogHandler(open_output(str(tmp_path / "log"), sys.stderr), TextFormatter())
    logger.addHandler(handler)
    for number in range(1000):
        logger.warning("line %d", number)
    handler.close()
    assert (tmp_path / "log").read_text().count("\n") == 1000


def test_reopening_is_for_the_files_of_the_app_too(tmp_path: Path, logger: logging.Logger) -> None:
    path = tmp_path / "app.log"
    logger.addHandler(logging.FileHandler(path, mode="w"))
    logger.warning("one")
    path.rename(tmp_path / "old")
    reopen()
    logger.warning("two")
    assert (tmp_path / "old").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_somebody_who_looks_at_all_objects_does_not_end_a_log(
    made: list[Writer[str]], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As profilers of memory do, in the middle of a write."""
    held: list[object] = []

    def write(descriptor: int, data: bytes) -> int:
        held.extend(each for each in gc.get_objects() if type(each) is memoryview)  # no lazy object is asked
        return real(descriptor, data)

    real = os.write
    monkeypatch.setattr(os, "write", write)
    log = writer(made, DescriptorOutput(None, pipe[1]))
    for _ in range(3):
        log("a line")
        assert read_exactly(pipe[0], 7) == b"a line\n"
    assert held
