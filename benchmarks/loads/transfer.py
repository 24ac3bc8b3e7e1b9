"""Large bodies in both directions: CPU time of the server per MiB, over one connection."""

from __future__ import annotations

import socket

from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.loads.target import Meter, Target
from benchmarks.messages import Answer, Incoming, Template, connect, expected, parse_head, template

MIB = 2**20
FILE_MIB = 10


def _figures(meter: Meter, mib: float) -> Figures:
    return {"cpu_us_mb": meter.cpu_ns / mib / 1000, "mb_s": mib / (meter.wall_ns / 1e9), "busy": meter.busy}


def fetch(connection: socket.socket, request: bytes, size: int) -> None:
    """Ask and read the whole answer, without keeping it. Raises BenchmarkError for a wrong size or status."""
    buffer = bytearray(MIB)
    try:
        connection.sendall(request)
        head, data = None, b""
        while head is None:
            more = connection.recv(65536)
            if not more:
                raise BenchmarkError(f"closed after {data[:80]!r}")
            data += more
            head = parse_head(data)
        if head.status != 200 or head.length != size:
            raise BenchmarkError(f"status {head.status}, {head.length} octets and not {size}")
        left = size - (len(data) - head.size)
        while left > 0:
            count = connection.recv_into(buffer)
            if not count:
                raise BenchmarkError(f"closed with {left} of {size} octets open")
            left -= count
    except OSError as error:
        raise BenchmarkError(f"the download ended: {error}") from None
    if left:
        raise BenchmarkError("more octets than announced")


def _down(target: Target, request: Template, size: int, wanted: Answer, times: int) -> Figures:
    with connect(target.running.port) as connection:
        connection.sendall(request.one())
        target.references.check(target.workload.name, Incoming(connection).read(), wanted)
    numbered = request.numbered()
    with Meter(target.running.pid) as meter:
        for _ in range(times):
            with connect(target.running.port) as connection:
                fetch(connection, next(numbered), size)
    return _figures(meter, times * size / MIB)


def download(target: Target) -> Figures:
    """A stream that the app makes."""
    mib = target.plan.megabytes
    request = template(f"/stream?mb={mib}")
    count = content.pieces(f"mb={mib}")
    return _down(target, request, mib * MIB, expected(content.PIECE, times=count), 2)


def file(target: Target) -> Figures:
    """A file from the disk's cache, as often as the stream is long."""
    wanted = expected(content.PIECE, times=FILE_MIB * MIB // len(content.PIECE))
    return _down(target, target.template, FILE_MIB * MIB, wanted, max(target.plan.megabytes // FILE_MIB, 1) * 2)


def send_upload(port: int, mib: int, chunked: bool) -> Answer:
    """PUT so many MiB in pieces of 64 KiB; the answer. Raises BenchmarkError."""
    count = mib * MIB // len(content.PIECE)
    if chunked:
        request = template("/upload", "PUT", more=(b"Transfer-Encoding: chunked",))
        piece, last = b"%x\r\n%b\r\n" % (len(content.PIECE), content.PIECE), b"0\r\n\r\n"
    else:
        request = template("/upload", "PUT", announce=mib * MIB)
        piece, last = content.PIECE, b""
    with connect(port) as connection:
        try:
            connection.sendall(request.one())
            for _ in range(count):
                connection.sendall(piece)
            connection.sendall(last)
        except OSError as error:
            raise BenchmarkError(f"the upload was not taken: {error}") from None
        return Incoming(connection).read()


def upload(target: Target) -> Figures:
    """A body that the app reads and counts; the workload's name says how it is framed."""
    chunked = target.workload.name.endswith("chunked")
    mib = target.plan.megabytes

    def once(size: int) -> None:
        wanted = expected(content.counted(size * MIB))
        target.references.check(
            f"{target.workload.name} {size}", send_upload(target.running.port, size, chunked), wanted
        )

    once(1)
    once(mib)
    with Meter(target.running.pid) as meter:
        for _ in range(2):
            once(mib)
    return _figures(meter, 2 * mib)
