"""The gate: a request head is split, checked and refused here, before any reader has a say.

Whatever two readers could read differently is refused: bare CR or LF, obs-fold, control octets,
white space before a colon, Content-Length beside Transfer-Encoding, two Content-Lengths, two
Hosts, a Host that is not one, odd targets. The status is in the `WireError`.

The work on the common head is done by bytes methods that run in C: one `split`, one `translate` that
must leave nothing but the line ends (no control octet, bare CR or bare LF), and per line a lookup of
the whole line, or one `partition`, a lookup of the name's spelling and one `strip`.
"""

from __future__ import annotations

import re

from bridgeserve.groups import Limits
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.fields import (
    CLAIM,
    CLAIMS,
    CODING,
    CONNECTION,
    EXPECT,
    GOOD_HOST,
    HOST,
    HOST_FIELD,
    KEEP_ALIVE,
    LENGTH,
    ORDINARY,
    ORDINARY_LINES,
    ORDINARY_NAMES,
    SPECIAL,
    SPECIAL_LINES,
    TOKEN,
    read_field,
)

# Every octet a line may hold: HTAB, SP..~ and obs-text (RFC 9110 section 5.5, RFC 9112 section 2.2).
ALLOWED = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
# Of these, what a target may hold: VCHAR but no fragment (RFC 9112 section 3.2).
TARGET = bytes(octet for octet in range(0x21, 0x7F) if octet != 0x23)
DIGITS = re.compile(rb"[0-9]{1,18}")  # RFC 9110 section 8.6; 18 digits stay below 2**63
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)(/[^?]*)?(?:\?(.*))?")  # RFC 9112 section 3.2.2
OTHER_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")

KNOWN_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"})
_USUAL = frozenset({GOOD_HOST, GOOD_HOST + KEEP_ALIVE})
_CONNECTION = {b"keep-alive": (True, False), b"close": (False, False), b"upgrade": (True, True)}


def head_limit(limits: Limits) -> int:
    """Octets that a head may hold: the request line and eight of the largest fields, at least 64 KiB."""
    return limits.request_line + max(8 * limits.field_size, 65536)


def read_head(head: bytes, limits: Limits) -> Request:
    """Read one head, without the empty line that ends it.

    :param head: request line and fields, separated by CRLF.
    :returns: the request, with `complete` false when a body is announced.
    :raises WireError: 400, 405, 413, 414, 417, 431, 501 or 505.
    """
    lines = head.split(b"\r\n")
    line = lines.pop(0)
    count = len(lines)
    # The CRLFs that have split it, and nothing else, must be left over: a bare CR or LF is one too many.
    if head.translate(None, ALLOWED) != b"\r\n" * count:
        raise WireError(400, "control octet, bare CR or bare LF in the head")
    if len(line) > limits.request_line:
        raise WireError(414, "request line too long")
    if count > limits.fields:
        raise WireError(431, "too many fields")
    request = request_line(line)
    field_size = limits.field_size
    if len(head) > field_size and (len(head) > head_limit(limits) or max(map(len, lines), default=0) > field_size):
        raise WireError(431, "field or head too large")
    request.raw = head
    append = request.headers.append
    ordinary = ORDINARY_LINES.get
    names = ORDINARY_NAMES.get
    meaning = 0
    for line in lines:
        field = ordinary(line)
        if field is None:
            spelt, colon, value = line.partition(b":")
            name = names(spelt)
            if name is not None and colon:
                field = (name, value.strip(b" \t"))
            else:
                field, means = SPECIAL_LINES.get(line) or read_field(line)
                meaning += means
        append(field)
    if meaning >= CLAIMS:
        request.claims = True
        meaning &= CLAIMS - 1
    # One Host, nothing else of consequence: no body, and the connection goes on.
    if meaning not in _USUAL or request.version == "1.0" or request.target[0] != 0x2F:
        request.usual = False
        _semantics(request, limits)
    return request


def request_line(line: bytes) -> Request:
    """RFC 9112 section 3: method SP request-target SP HTTP-version, single spaces."""
    if line.endswith(b" HTTP/1.1"):
        text = "1.1"
        method, _, target = line[:-9].partition(b" ")  # a second space has no place in a target, see below
    else:
        parts = line.split(b" ")
        if len(parts) != 3:
            raise WireError(400, "bad request line")
        method, target, version = parts
        text = _other_version(version)
    if method not in KNOWN_METHODS:
        _other_method(method)
    # Obs-text, HTAB, a space, a fragment, nothing at all.
    if target.translate(None, TARGET) or not target:
        raise WireError(400, "bad request target")
    request = Request(method, target, text, [])
    if target[:1] == b"/":
        if b"?" in target:
            request.path, _, request.query = target.partition(b"?")
    elif target != b"*" or method != b"OPTIONS":
        _absolute(request)
    return request


def _other_method(method: bytes) -> None:
    """RFC 9110 section 9.1: any token may be a method; CONNECT (9.3.6) is none of an origin server's."""
    if method == b"CONNECT":
        raise WireError(405, "CONNECT is for proxies")
    if not TOKEN.fullmatch(method):
        raise WireError(400, "bad method")


def _other_version(version: bytes) -> str:
    """A higher minor version is served as 1.1 (RFC 9110 section 2.5); another major one is not."""
    if version == b"HTTP/1.0":
        return "1.0"
    match = OTHER_VERSION.fullmatch(version)
    if match is None:
        raise WireError(400, "bad HTTP version")
    if match[1] != b"1":
        raise WireError(505, "HTTP version not supported")
    return "1.1"


def _absolute(request: Request) -> None:
    """absolute-form: the authority is checked here and takes the Host's place in `_semantics`."""
    match = ABSOLUTE.fullmatch(request.target)
    if match is None or not match[1] or not HOST.fullmatch(match[1]):
        raise WireError(400, "bad request target")
    request.claims = request.target[:5].lower() == b"https"
    request.path = match[2] or b"/"
    request.query = match[3] or b""


def _semantics(request: Request, limits: Limits) -> None:
    """Host, body framing and connection options (RFC 9112 sections 3.2, 6 and 9.3)."""
    host: bytes | None = None
    length: bytes | None = None
    coding: bytes | None = None
    options = b""
    for name, value in request.headers:
        kind = SPECIAL.get(name, ORDINARY)
        if kind <= CLAIM:
            continue
        if kind == HOST_FIELD:
            if host is not None:
                raise WireError(400, "repeated Host")
            host = value
        elif kind == CONNECTION:
            options = value if not options else options + b"," + value
        elif kind == LENGTH:
            if length is not None or not DIGITS.fullmatch(value):
                raise WireError(400, "bad or repeated Content-Length")
            length = value
        elif kind == CODING:
            if coding is not None:
                raise WireError(400, "repeated Transfer-Encoding")
            coding = value
        elif kind == EXPECT:
            request.expect_continue |= _waits(value) and request.version == "1.1"
        else:
            request.upgrade = request.version == "1.1"
    if host is None and request.version == "1.1":
        raise WireError(400, "missing Host")
    if coding is not None:
        _coding(request, coding, length)
    elif length is not None:
        _length(request, int(length), limits)
    if options or request.upgrade or request.version == "1.0":
        _options(request, options)
    if request.target[:1] not in (b"/", b"*"):
        override_host(request)
    if request.complete:
        request.expect_continue = False  # nothing to wait for


def _waits(expectations: bytes) -> bool:
    """RFC 9110 section 10.1.1: a list, in which empty elements count for nothing (section 5.6.1.2)."""
    members = {member.strip(b" \t").lower() for member in expectations.split(b",")} - {b""}
    if members - {b"100-continue"}:
        raise WireError(417, "unknown expectation")
    return bool(members)


def _coding(request: Request, coding: bytes, length: bytes | None) -> None:
    """RFC 9112 sections 6.1 and 6.3: chunked alone, never beside a length, never in HTTP/1.0."""
    if length is not None:
        raise WireError(400, "Content-Length beside Transfer-Encoding")
    if request.version == "1.0":
        raise WireError(400, "Transfer-Encoding in HTTP/1.0")
    if coding.lower() != b"chunked":
        *others, last = (part.strip(b" \t").lower() for part in coding.split(b","))
        if last != b"chunked" or b"chunked" in others or b"" in others:
            raise WireError(400, "the body ends nowhere: chunked is not the last Transfer-Encoding, and once")
        raise WireError(501, "unknown Transfer-Encoding")
    request.chunked = True
    request.complete = False


def _length(request: Request, length: int, limits: Limits) -> None:
    if limits.body is not None and length > limits.body:
        raise WireError(413, "body above the limit")
    request.content_length = length
    request.complete = length == 0


def _options(request: Request, value: bytes) -> None:
    """RFC 9112 section 9.3: close wins; HTTP/1.0 persists only when asked."""
    known = _CONNECTION.get(value)  # the spellings that nearly all clients use
    if known is not None and request.version == "1.1":
        request.keep_alive = known[0]
        request.upgrade = request.upgrade and known[1]
        return
    options = {option.strip(b" \t").lower() for option in value.split(b",")}
    if request.version == "1.0":
        request.keep_alive = b"keep-alive" in options and b"close" not in options
    else:
        request.keep_alive = b"close" not in options
    if b"upgrade" not in options:
        request.upgrade = False


def override_host(request: Request) -> None:
    """RFC 9112 section 3.2.2: the target's authority replaces whatever Host said."""
    match = ABSOLUTE.fullmatch(request.target)
    if match is not None:
        replace_host(request, match[1])


def replace_host(request: Request, host: bytes) -> None:
    """Let the request say that it is for another host than its Host field does."""
    request.headers = [(b"host", host), *(field for field in request.headers if field[0] != b"host")]
