"""A WSGI app of one page (PEP 3333), without a framework. It says what serves it.

bridgeserve --app-dir examples demo:application --mode threads
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>bridgeserve</title>
<h1>It works</h1>
<p>This page comes from a WSGI app, served by <strong>{server}</strong>.</p>
<ul>
<li>Request: <code>{request}</code></li>
<li>More than one thread may call the app: {multithread}</li>
<li>More than one process may call the app: {multiprocess}</li>
</ul>
</html>
"""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every path with the page."""
    path = environ.get("PATH_INFO") or "/"
    facts = {
        "server": environ.get("SERVER_SOFTWARE", "a server without a name"),
        "request": f"{environ['REQUEST_METHOD']} {path} {environ['SERVER_PROTOCOL']}",
        "multithread": "yes" if environ["wsgi.multithread"] else "no",
        "multiprocess": "yes" if environ["wsgi.multiprocess"] else "no",
    }
    body = PAGE.format_map({name: escape(text) for name, text in facts.items()}).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
