"""Servers that have no `python -m` of their own, or whose command lacks a setting that the comparison needs.

`python -m benchmarks.launch NAME module:attribute PORT THREADS`
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

HOST = "127.0.0.1"


def bjoern(app: Any, port: int, threads: int) -> None:
    """One loop in C; the app is called on it."""
    import bjoern as server

    server.run(app, HOST, port, listen_backlog=2048)


def cheroot(app: Any, port: int, threads: int) -> None:
    """Its command cannot set how many idle connections it keeps: 10."""
    from cheroot import wsgi

    server = wsgi.Server((HOST, port), app, numthreads=threads, max=threads, request_queue_size=2048, timeout=75)
    server.keep_alive_conn_limit = 8000
    try:
        server.start()
    finally:
        server.stop()


def waitress(app: Any, port: int, threads: int) -> None:
    """Without its warnings: a line to stderr for nearly each request that waits for a thread costs more than some."""
    import logging

    from waitress import serve

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # select(2), its default, ends at 1,024 descriptors.
    serve(app, host=HOST, port=port, threads=threads, connection_limit=8000, asyncore_use_poll=True)


def werkzeug(app: Any, port: int, threads: int) -> None:
    """The server for development, a thread for each connection; without its log."""
    import logging

    from werkzeug.serving import run_simple

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple(HOST, port, app, threaded=True)


def uwsgi(app: Any, port: int, threads: int) -> None:
    """uWSGI takes the process over, with the arguments that stand behind ours."""
    import pyuwsgi

    pyuwsgi.run(sys.argv[5:])


NAMES = {"bjoern": bjoern, "cheroot": cheroot, "waitress": waitress, "werkzeug": werkzeug, "uwsgi": uwsgi}


def main() -> None:
    """Load the app and serve it until the process is ended."""
    name, place, port, threads = sys.argv[1:5]
    module, _, attribute = place.partition(":")
    app = None if name == "uwsgi" else getattr(importlib.import_module(module), attribute)
    NAMES[name](app, int(port), int(threads))


if __name__ == "__main__":
    main()
