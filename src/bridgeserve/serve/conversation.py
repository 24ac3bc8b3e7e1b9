"""A conversation with an application for `--check`: what it does against its specification.

WSGI has its validator in the standard library (`wsgiref.validate`, PEP 3333); `AsgiValidator` is the twin for ASGI 3.
It is stricter than serving is: what is served all the same, such as a header name in upper case, is told here. One GET
of / and, for ASGI, the lifespan and one WebSocket at / are tried. What an application answers, and whether it raises,
is its own affair and only told.
"""

from __future__ import annotations

import asyncio
import io
import traceback
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from bridgeserve.dispatch import extensions, websocket
from bridgeserve.dispatch.asgi import VERSIONS, AsgiApp, Message
from bridgeserve.dispatch.base import ClientDisconnected

PATIENCE = 10.0  # seconds for each conversation
ENOUGH = 1 << 20  # octets of a body that are looked at; it may have no end
_HEADERS = [(b"host", b"localhost"), (b"user-agent", b"bridgeserve-check"), (b"accept", b"*/*")]
_KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    extensions.START: {"status": (int,), "headers": (object,), "trailers": (bool,)},
    extensions.BODY: {"body": (bytes, bytearray, memoryview), "more_body": (bool,)},
    websocket.ACCEPT: {"subprotocol": (str, type(None)), "headers": (object,)},
    websocket.SEND: {"bytes": (bytes, bytearray, memoryview, type(None)), "text": (str, type(None))},
    websocket.CLOSE: {"code": (int,), "reason": (str, type(None))},
    websocket.DENY: {"status": (int,), "headers": (object,)},
    websocket.DENY_BODY: {"body": (bytes, bytearray, memoryview), "more_body": (bool,)},
}
_ENDS = (extensions.BODY, extensions.PATH, extensions.FILE)


class Report:
    """`faults`: what the specification forbids, each once. `harmless`: the same where it is served nevertheless, as
    Django's spelling of header names. `told`: what happened.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.harmless: list[str] = []
        self.told: list[str] = []

    def fault(self, words: str, *, harmless: bool = False) -> None:
        """Note a fault."""
        where = self.harmless if harmless else self.faults
        if words not in where:
            where.append(words)


class AsgiValidator:
    """Wraps an ASGI application, and reports what it does that the specification forbids.

    The messages go on to the server's `send` as they are: whatever is refused there is raised there.
    """

    def __init__(self, app: AsgiApp, report: Report) -> None:
        self._app = app
        self._report = report
        self._trailers = False  # were promised

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        kind = scope["type"]
        state = "not started" if kind == "http" else "CONNECTING"

        async def checked(message: Message) -> None:
            nonlocal state
            if kind == "lifespan":
                await send(message)
                return
            self._message(kind, message)
            state = self._step(kind, state, message)
            await send(message)

        result = await self._app(scope, receive, checked)
        if result is not None:
            self._report.fault(f"{kind}: it returned {type(result).__name__}, and must return None")

    def _step(self, kind: str, state: str, message: Message) -> str:
        """The state after a message; a message that is out of order is a fault."""
        word = message.get("type") if isinstance(message, dict) else None
        more = bool(message.get("more_body")) if isinstance(message, dict) else False
        if kind == "websocket":
            then = websocket.TABLE[state].get(str(word))
            if then is None:
                self._report.fault(f"websocket: {word!r} is out of order: the connection is {state.lower()}")
                return state
            return state if word == websocket.DENY_BODY and more else then
        if state == "complete":
            self._report.fault(f"http: {word!r} after the end of the response is ignored", harmless=True)
            return state
        if word not in extensions.TABLE[state]:
            self._report.fault(f"http: {word!r} is out of order: {extensions.unexpected(state, word)}")
            return state
        if word in (extensions.HINT, extensions.DEBUG):
            return state
        if word == extensions.START:
            self._trailers = bool(message.get("trailers"))
            return "started"
        if word == extensions.TRAILERS:
            return state if message.get("more_trailers") else "complete"
        return "in its body" if more else "before its trailers" if self._trailers else "complete"

    def _message(self, kind: str, message: Message) -> None:
        if not isinstance(message, dict):
            self._report.fault(f"{kind}: a message must be a dict, not {type(message).__name__}")
            return
        word = message.get("type")
        for key, types in _KEYS.get(str(word), {}).items():
            if key == "status" and key not in message:
                self._report.fault(f"{kind}: {word!r} has no status")
            elif key == "headers":
                self._headers(kind, str(word), message.get("headers") or ())
            elif key in message and not isinstance(message[key], types):
                names = " or ".join(wanted.__name__ for wanted in types)
                self._report.fault(f"{kind}: {key} of {word!r} must be {names}, not {type(message[key]).__name__}")
        if word == websocket.SEND and (message.get("bytes") is None) == (message.get("text") is None):
            self._report.fault(f"{kind}: {word!r} must have either text or bytes")

    def _headers(self, kind: str, word: str, headers: Any) -> None:
        if not isinstance(headers, list | tuple):
            return  # any iterable will do, and it can be read once only
        for pair in headers:
            if (
                not isinstance(pair, list | tuple)
                or len(pair) != 2
                or not all(isinstance(half, bytes) for half in pair)
            ):
                self._report.fault(f"{kind}: a header of {word!r} must be a pair of bytes, not {pair!r}")
            elif pair[0] != pair[0].lower():
                words = f"{kind}: the name of a header must be in lower case, not {pair[0]!r}"
                self._report.fault(words, harmless=True)
            elif pair[0].startswith(b":"):
                self._report.fault(f"{kind}: a pseudo header has no place in a response: {pair[0]!r}")


class _Peer:
    """The server's side of one conversation: what the application receives, and what it has sent."""

    def __init__(self, first: Iterable[Message], last: Message) -> None:
        self._first = list(first)
        self._last = last
        self.sent: list[Message] = []
        self.octets = 0
        self._complete = asyncio.Event()

    async def receive(self) -> Message:
        """The first messages; the last one when the conversation is over."""
        if self._first:
            return self._first.pop(0)
        if self._last["type"] == "http.disconnect":
            await self._complete.wait()
        return self._last

    async def send(self, message: Message) -> None:
        """Take a message; a body that is long enough ends as if the client had left."""
        if not isinstance(message, dict):
            raise TypeError("a message must be a dict")
        self.sent.append(message)
        self.octets += len(message.get("body") or b"")
        if message["type"] in _ENDS and not message.get("more_body", False):
            self._complete.set()
        if self.octets > ENOUGH:
            raise ClientDisconnected("that is enough")


async def _call(app: AsgiApp, scope: dict[str, Any], peer: _Peer, report: Report) -> BaseException | None:
    """One call, ended after PATIENCE; what it raised."""
    scope = {"asgi": VERSIONS, "http_version": "1.1", **scope}
    scope |= {"root_path": "", "path": "/", "raw_path": b"/", "query_string": b"", "headers": list(_HEADERS)}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    try:
        async with asyncio.timeout(PATIENCE):
            await AsgiValidator(app, report)(scope, peer.receive, peer.send)
    except (Exception, SystemExit) as error:  # whatever an application raises: it is told, and no fault of form
        return error
    return None


async def converse_asgi(app: AsgiApp, state: dict[str, Any] | None, report: Report) -> None:
    """A GET of /, and a WebSocket at /. The lifespan runs around it."""
    more = {} if state is None else {"state": state.copy()}
    peer = _Peer([{"type": "http.request", "body": b"", "more_body": False}], {"type": "http.disconnect"})
    scope = {"type": "http", "method": "GET", "scheme": "http", "extensions": extensions.SCOPE.copy(), **more}
    error = await _call(app, scope, peer, report)
    starts = [message for message in peer.sent if message.get("type") == extensions.START]
    if error is not None and not isinstance(error, ClientDisconnected):
        report.told.append(f"GET / {_words(error)}")
    elif not starts:
        report.fault("http: it returned without an answer")
    else:
        report.told.append(f"GET / was answered with {starts[0].get('status')}")
        if error is None and peer.sent[-1].get("more_body", False):
            report.fault("http: it returned without completing its response")
    peer = _Peer([{"type": "websocket.connect"}], {"type": "websocket.disconnect", "code": 1001, "reason": ""})
    denial: dict[str, Any] = {"websocket.http.response": {}}
    scope = {"type": "websocket", "scheme": "ws", "subprotocols": [], "extensions": denial, **more}
    error = await _call(app, scope, peer, report)
    kinds = {message.get("type") for message in peer.sent}
    if error is not None:
        report.told.append(f"a WebSocket at / {_words(error)}")
    elif not kinds:
        report.fault("websocket: it returned without an answer to the handshake")
    else:
        report.told.append(f"a WebSocket at / was {'accepted' if websocket.ACCEPT in kinds else 'refused'}")


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"was not done after {PATIENCE:g} s"
    return f"raised {type(error).__name__}"


def converse_wsgi(app: Callable[..., Any], report: Report) -> None:
    """A GET of /, by the standard library's validator."""
    environ: dict[str, Any] = {"wsgi.errors": io.StringIO(), "wsgi.input": io.BytesIO(), "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    octets = 0
    try:
        result = validator(app)(environ, start_response)
        try:
            for piece in result:
                octets += len(piece)
                if octets > ENOUGH:
                    break
        finally:
            result.close()  # type: ignore[attr-defined]  # the validator has it
    except (Exception, SystemExit) as error:  # whatever an application raises, see _call
        if _of_the_validator(error):
            report.fault(f"wsgi: {error}")
        else:
            report.told.append(f"GET / {_words(error)}")
    else:
        if statuses:
            report.told.append(f"GET / was answered with {statuses[-1]}")
        else:
            report.fault("wsgi: it returned without a call of start_response")


def _of_the_validator(error: BaseException) -> bool:
    """True for what `wsgiref.validate` raised, and not the application."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_globals.get("__name__") == "wsgiref.validate"
