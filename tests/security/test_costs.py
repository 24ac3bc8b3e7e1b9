"""What hostile octets cost: four times as many cost about four times as much, however they are shaped and cut.

Quadratic work would cost sixteen times as much. CPU time of this thread is counted: a busy machine does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bridgeserve.groups import Limits
from wire.drive import new_session, told

SIZE = 10_000
TIMES = 4
FACTOR = 10.0
FLOOR = 0.01  # seconds that are noise
WIDE = Limits(request_line=1 << 20, field_size=1 << 20, fields=100_000)
GET = b"GET /a HTTP/1.1\r\nHost: t\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"

Shape = Callable[[int], bytes]
SHAPES: dict[str, Shape] = {
    "spaces inside a value": lambda n: GET + b"X: a" + b" " * n + b"b\r\n\r\n",
    "spaces and no end": lambda n: GET + b"X: a" + b" " * n,
    "tabs and a bad octet": lambda n: GET + b"X:" + b"\t" * n + b"\x00\r\n\r\n",
    "spaces between values": lambda n: GET + b"X:" + b" a" * (n // 2) + b"\x7f\r\n\r\n",
    "a long name": lambda n: GET + b"x" * n + b": a\r\n\r\n",
    "a long name without a colon": lambda n: GET + b"x" * n + b"\r\n\r\n",
    "a list of options": lambda n: GET + b"Connection: " + b"," * n + b"close\r\n\r\n",
    "a list of spaces": lambda n: GET + b"Connection: " + b" ," * (n // 2) + b"\r\n\r\n",
    "a list of codings": lambda n: GET + b"Transfer-Encoding: " + b"a," * (n // 2) + b"chunked\r\n\r\n",
    "a host of labels": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"a." * (n // 2) + b"/\r\n\r\n",
    "a host of percent signs": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"%41" * (n // 3) + b"%\r\n\r\n",
    "a host of colons": lambda n: b"GET / HTTP/1.1\r\nHost: [" + b":" * n + b"\r\n\r\n",
    "a long path": lambda n: b"GET /" + b"%41" * (n // 3) + b"% HTTP/1.1\r\nHost: t\r\n\r\n",
    "many question marks": lambda n: b"GET /" + b"?" * n + b"\x01 HTTP/1.1\r\nHost: t\r\n\r\n",
    "an authority": lambda n: b"GET http://" + b"a@" * (n // 2) + b"/ HTTP/1.1\r\nHost: t\r\n\r\n",
    "spaces in the request line": lambda n: b"GET " + b" " * n + b"/ HTTP/1.1\r\nHost: t\r\n\r\n",
    "many fields": lambda n: GET + b"x:\r\n" * (n // 4) + b"\r\n",
    "many hosts": lambda n: b"GET / HTTP/1.1\r\n" + b"Host: t\r\n" * (n // 9) + b"\r\n",
    "many empty lines": lambda n: b"\r\n" * (n // 2),
    "many requests": lambda n: (GET + b"\r\n") * (n // 25),
    "chunks of one octet": lambda n: CHUNKED + b"1\r\nx\r\n" * (n // 5) + b"0\r\n\r\n",
    "sizes of zeros": lambda n: CHUNKED + b"00000000000001\r\nx\r\n" * (n // 10) + b"0\r\n\r\n",
    "extensions": lambda n: CHUNKED + b'1;a="' + b'\\"' * (n // 2),
    "trailers": lambda n: CHUNKED + b"0\r\n" + b"x: y\r\n" * (n // 6) + b"\r\n",
    "a length of zeros": lambda n: GET + b"Content-Length: " + b"0" * n + b"5\r\n\r\nhello",
    "a length of nines": lambda n: GET + b"Content-Length: " + b"9" * n + b"\r\n\r\n",
}


def cost(data: bytes, reader: str, piece: int) -> float:
    """Seconds of CPU for one session to read octets in pieces: the least of three."""
    pieces = [data[start : start + piece] for start in range(0, len(data), piece)]
    least = float("inf")
    for _ in range(3):
        session = new_session(reader, WIDE)
        begin = time.thread_time()
        for part in pieces:
            told(session, part)
        least = min(least, time.thread_time() - begin)
    return least


@pytest.mark.parametrize("reader", ["auto", "h11"])
@pytest.mark.parametrize("pieces", ["whole", "500 pieces"])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_four_times_as_many_octets_cost_no_more_than_ten_times(shape: str, pieces: str, reader: str) -> None:
    """500 pieces in both cases, so what is read again for each piece is not hidden, and not counted twice."""
    small, large = SHAPES[shape](SIZE), SHAPES[shape](SIZE * TIMES)
    parts = 1 if pieces == "whole" else 500
    few = cost(small, reader, -(-len(small) // parts))
    many = cost(large, reader, -(-len(large) // parts))
    assert many <= FACTOR * max(few, FLOOR), f"{few:.4f} s, then {many:.4f} s"
