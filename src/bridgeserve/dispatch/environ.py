"""The WSGI environ of a request (PEP 3333 "environ Variables"), built from a prepared base."""

from __future__ import annotations

import logging
import threading
from typing import Any
from urllib.parse import unquote_to_bytes

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.dispatch.files import FileWrapper
from bridgeserve.dispatch.port import Port
from bridgeserve.wire.gate import KNOWN_METHODS

METHODS = {method: method.decode("ascii") for method in KNOWN_METHODS}
PROTOCOLS = {"1.1": "HTTP/1.1", "1.0": "HTTP/1.0"}

# Fields that have no HTTP_ key: the two that CGI names otherwise, and Proxy, whose key some HTTP clients of
# applications read as their own setting.
_OTHER_KEYS = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH", b"proxy": ""}
# From a lower-case field name to its key; "" for a field that is left out. Bounded: clients may invent names.
_KEYS: dict[bytes, str] = {}
_KEYS_MAX = 2048
_KEY_KEPT = 64


def _key(name: bytes) -> str:
    """The key of a field that the memo does not know.

    A name with `_` would share its key with the one spelt with `-`, which a proxy may have set or
    removed: it is left out.
    """
    key = _OTHER_KEYS.get(name)
    if key is None:
        key = "" if b"_" in name else "HTTP_" + name.decode("ascii").upper().replace("-", "_")
    if len(_KEYS) < _KEYS_MAX and len(name) <= _KEY_KEPT:
        _KEYS[name] = key
    return key


class ErrorStream:
    """wsgi.errors: lines for the error log. PEP 3333 asks for write, writelines and flush.

    `print` writes its arguments one by one, so the beginning of a line waits for the rest of it, in each
    thread for itself. The runner flushes at the end of a request, so what waits is bounded by the threads.
    """

    __slots__ = ("_log", "begun")

    LINE_MAX = 8192  # characters that wait

    def __init__(self) -> None:
        self._log = logging.getLogger("bridgeserve.error")
        self.begun: dict[int, str] = {}  # from a thread's number to the line that it has begun

    def write(self, text: str) -> int:
        """Log each line that `text` completes."""
        thread = threading.get_ident()
        whole, newline, rest = (self.begun.pop(thread, "") + text).rpartition("\n")
        if rest:
            self.begun[thread] = rest
        if newline:
            self._emit(whole)
        if len(rest) > self.LINE_MAX:
            self.flush()
        return len(text)

    def _emit(self, text: str) -> None:
        for line in text.splitlines():
            if line:
                self._log.error("%s", line)

    def writelines(self, lines: list[str]) -> None:
        """Log lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Log the line that this thread has begun."""
        self._emit(self.begun.pop(threading.get_ident(), ""))


class Environs:
    """Makes environs.

    :param root_path: SCRIPT_NAME; PATH_INFO is what follows it where the path lies under it.
    :param multithread: whether other threads of this process may call the application at the same time.
    :param multiprocess: whether other processes may.
    """

    __slots__ = ("_base", "_root", "errors")

    def __init__(self, root_path: str, multithread: bool, multiprocess: bool) -> None:
        # The octets of UTF-8 as latin-1, like those of the path that it is compared with (PEP 3333 "Unicode Issues").
        self._root = root_path.rstrip("/").encode().decode("latin-1")
        self.errors = ErrorStream()
        self._base: dict[str, Any] = {
            "SCRIPT_NAME": self._root,
            "SERVER_SOFTWARE": "bridgeserve",
            "wsgi.version": (1, 0),
            "wsgi.errors": self.errors,
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def make(self, port: Port) -> dict[str, Any]:
        """The environ of one request. All text is latin-1 (PEP 3333 "Unicode Issues")."""
        request = port.request
        endpoint = port.endpoint
        raw = request.path
        path = raw.decode("latin-1") if b"%" not in raw else unquote_to_bytes(raw).decode("latin-1")
        root = self._root if endpoint.root is None else endpoint.root
        if root and (path == root or path.startswith(root + "/")):
            path = path[len(root) :]
        environ = self._base.copy()
        environ["REQUEST_METHOD"] = METHODS.get(request.method) or request.method.decode("ascii")
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = request.query.decode("latin-1")
        environ["RAW_URI"] = environ["REQUEST_URI"] = request.target.decode("latin-1")
        environ["SERVER_PROTOCOL"] = PROTOCOLS[request.version]
        environ["wsgi.input"] = port.body()
        environ["bridgeserve.disconnected"] = port.disconnected
        environ.update(endpoint.cgi or _addresses(endpoint))
        known = _KEYS.get
        for name, value in request.headers:
            key = known(name)
            if key is None:
                key = _key(name)
            if key in environ:
                # Repeated fields are one list (RFC 9110 section 5.3); cookies have their own separator.
                separator = "; " if key == "HTTP_COOKIE" else ","
                environ[key] += separator + value.decode("latin-1")
            elif key:
                environ[key] = value.decode("latin-1")
        if request.chunked and request.content_length is not None:
            # The body was collected: CGI's CONTENT_LENGTH is its size, and many frameworks read nothing without it.
            environ["CONTENT_LENGTH"] = str(request.content_length)
            del environ["HTTP_TRANSFER_ENCODING"]
        return environ


def _addresses(endpoint: Endpoint) -> dict[str, str]:
    """What the environ says of the connection; kept with the endpoint, for all requests on it say the same.

    HTTPS is CGI's habit and no part of PEP 3333; some applications ask for it instead of `wsgi.url_scheme`.
    """
    cgi = {"REMOTE_ADDR": "", "wsgi.url_scheme": endpoint.scheme}  # no address: a unix socket
    if endpoint.client is not None:
        cgi["REMOTE_ADDR"] = endpoint.client[0]
        if endpoint.client[1]:
            cgi["REMOTE_PORT"] = str(endpoint.client[1])
    if endpoint.scheme == "https":
        cgi["HTTPS"] = "on"
    if endpoint.root is not None:
        cgi["SCRIPT_NAME"] = endpoint.root
    if endpoint.ssl is not None:
        cgi |= endpoint.ssl
    if endpoint.server is not None and endpoint.server[1] is not None:
        cgi["SERVER_NAME"] = endpoint.server[0]
        cgi["SERVER_PORT"] = str(endpoint.server[1])
    else:
        # PEP 3333: both may never be empty. A unix socket has neither: what the client asked for is said.
        cgi["SERVER_NAME"], cgi["SERVER_PORT"] = "localhost", "80"
    endpoint.cgi = cgi
    return cgi
