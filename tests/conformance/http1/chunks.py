"""Chunks and trailers: RFC 9112 section 7.1."""

from __future__ import annotations

from conformance.case import BAD, END, WAITS, Case, Outcome, Seen, refused, served

HEAD = b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZE = "chunk-size = 1*HEXDIG"
EXTENSION = 'chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )'
BWS = "a recipient MUST parse for such bad white space and remove it (RFC 9110 section 5.6.3)"
LINE_END = "a chunk ends with CRLF; section 2.2 forgives a bare LF for the lines of the head only"
DATA = "chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF"
IGNORE = "a recipient MUST ignore unrecognized chunk extensions"
# The refusal may come after the head was answered or the app was called: no whole request reached it.
NOT_WHOLE: tuple[Outcome, ...] = (*BAD, refused(500))
# Where the reading of an invalid line cannot move the end of the body, a recipient MAY recover (RFC 9110 section 2.4).
READ_ALL_THE_SAME = served(Seen(body="hello"), stays=None)
FORGIVEN = (*NOT_WHOLE, READ_ALL_THE_SAME)


def good(name: str, body: bytes, seen: str, why: str, section: str = "9112 7.1") -> Case:
    """A chunked body that is one."""
    return Case(name, section, why, HEAD + body, served(Seen(path="/a", body=seen)))


def bad(name: str, body: bytes, why: str, section: str = "9112 7.1", allow: tuple[Outcome, ...] = NOT_WHOLE) -> Case:
    """A chunked body that is none."""
    return Case(name, section, why, HEAD + body, refused(400), allow)


def size(name: str, line: bytes, *more: Outcome) -> Case:
    """A size that is none, of a chunk of five octets."""
    return bad(name, line + b"\r\nhello\r\n0\r\n\r\n", SIZE, allow=(*NOT_WHOLE, *more))


CASES = [
    good("no chunk", b"0\r\n\r\n", "", 'last-chunk = 1*("0") [ chunk-ext ] CRLF'),
    good("two chunks", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", DATA),
    good(
        "hex digits of either case", b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", SIZE
    ),
    good("leading zeros", b"0005\r\nhello\r\n000\r\n\r\n", "hello", SIZE),
    good("data that looks like framing", b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n", "chunk-data = 1*OCTET"),
    good("an extension", b"5;a\r\nhello\r\n0\r\n\r\n", "hello", IGNORE, "9112 7.1.1"),
    good("an extension with a value", b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n", "hello", IGNORE, "9112 7.1.1"),
    good("two extensions", b"5;a=b;c\r\nhello\r\n0\r\n\r\n", "hello", IGNORE, "9112 7.1.1"),
    good("a quoted value", b'5;a="b c"\r\nhello\r\n0\r\n\r\n', "hello", "chunk-ext-val = token / quoted-string"),
    good("a quoted semicolon", b'5;a=";b"\r\nhello\r\n0\r\n\r\n', "hello", "chunk-ext-val = token / quoted-string"),
    good("a quoted pair", b'5;a="b\\"c"\r\nhello\r\n0\r\n\r\n', "hello", "quoted-pair (RFC 9110 section 5.6.4)"),
    good("white space around the semicolon", b"5 ; a\r\nhello\r\n0\r\n\r\n", "hello", BWS, "9112 7.1.1"),
    good("white space around the equals sign", b"5;a = b\r\nhello\r\n0\r\n\r\n", "hello", BWS, "9112 7.1.1"),
    good("HTAB as bad white space", b"5\t;\ta\t=\tb\r\nhello\r\n0\r\n\r\n", "hello", BWS, "9112 7.1.1"),
    Case(
        "chunks in small pieces",
        "9112 7.1",
        "packets do not frame",
        (HEAD, b"5", b"\r", b"\nhe", b"llo\r", b"\n0\r\n", b"\r\n"),
        served(Seen(body="hello")),
    ),
    Case(
        "a request behind the last chunk",
        "9112 7.1",
        "the empty line after the trailer section ends the body",
        HEAD + b"5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", body="hello"), Seen(path="/b", body="")),
    ),
    Case(
        "many chunks",
        "9112 7.1",
        "a chunked body is a series of chunks",
        HEAD + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n",
        served(Seen(body="x" * 2000)),
    ),
    size("a plus sign", b"+5"),
    size("a minus sign", b"-5"),
    size("the prefix 0x", b"0x5"),
    size("an underscore", b"0_5"),
    size("a size that is no hex number", b"5g"),
    size("an empty size", b""),
    size("a space in front", b" 5"),
    size("a space behind", b"5 ", READ_ALL_THE_SAME),
    size("HTAB behind", b"5\t", READ_ALL_THE_SAME),
    size("a comma", b"5,"),
    size("a point", b"5.0"),
    size("a NUL behind", b"5\x00"),
    size("a size above 64 bits that wraps to 5", b"10000000000000005", WAITS),
    size("a size above 32 bits that wraps to 5", b"f00000000000000000005", WAITS),
    bad(
        "a size above 63 bits",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "recipients MUST prevent overflows",
        allow=(*NOT_WHOLE, WAITS),
    ),
    bad(
        "a semicolon without a name",
        b"5;\r\nhello\r\n0\r\n\r\n",
        EXTENSION,
        "9112 7.1.1",
        (*NOT_WHOLE, READ_ALL_THE_SAME),
    ),
    bad(
        "an equals sign without a value",
        b"5;a=\r\nhello\r\n0\r\n\r\n",
        EXTENSION,
        "9112 7.1.1",
        (*NOT_WHOLE, READ_ALL_THE_SAME),
    ),
    bad(
        "a quote that does not end",
        b'5;a="b\r\nhello\r\n0\r\n\r\n',
        EXTENSION,
        "9112 7.1.1",
        (*NOT_WHOLE, READ_ALL_THE_SAME),
    ),
    bad(
        "a bare CR in an extension",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        "a bare CR is invalid or SP (section 2.2)",
        allow=FORGIVEN,
    ),
    bad("a NUL in an extension", b"5;a=\x00\r\nhello\r\n0\r\n\r\n", EXTENSION, "9112 7.1.1", FORGIVEN),
    bad(
        "extensions without end",
        HEAD[:0] + b"5;" + b"a" * 200_000 + b"\r\nhello\r\n0\r\n\r\n",
        "a server ought to limit the total length of chunk extensions",
        "9112 7.1.1",
        (*NOT_WHOLE, refused(413), refused(431)),
    ),
    bad("a bare LF after the size", b"5\nhello\r\n0\r\n\r\n", LINE_END),
    bad("a bare LF after the data", b"5\r\nhello\n0\r\n\r\n", LINE_END),
    bad("a bare LF after the last chunk", b"5\r\nhello\r\n0\n\r\n", LINE_END),
    bad(
        "a bare LF at the end",
        b"5\r\nhello\r\n0\r\n\n\r\n",
        "a recipient MAY recognize a single LF as the line end of fields; readers differ",
        allow=(
            *FORGIVEN,
            Outcome((*served(Seen()).answers, *refused(400).answers), (Seen(body="hello"),), stays=False),
        ),
    ),
    bad("a bare CR after the size", b"5\rhello\r\n0\r\n\r\n", LINE_END),
    bad("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n", DATA),
    bad("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n", DATA),
    bad("data without its CRLF", b"5\r\nhello0\r\n\r\n", DATA),
    Case(
        "the client stops inside a chunk",
        "9112 8",
        "a chunked message is incomplete if the zero-sized chunk has not been received",
        (HEAD + b"5\r\nhel", END),
        refused(400),
        (*NOT_WHOLE, refused(408)),
    ),
    Case(
        "the client stops before the last chunk",
        "9112 8",
        "a chunked message is incomplete if the zero-sized chunk has not been received",
        (HEAD + b"5\r\nhello\r\n", END),
        refused(400),
        (*NOT_WHOLE, refused(408)),
    ),
]
