"""`--check`: the conversation of `serve.conversation` around an application that was loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import Any

from bridgeserve.dispatch.lifespan import Lifespan, LifespanFailed
from bridgeserve.serve import conversation
from bridgeserve.serve.application import Prepared, StartupError
from bridgeserve.serve.conversation import Report, converse_asgi, converse_wsgi
from bridgeserve.settings import Settings


def converse(prepared: Prepared, settings: Settings) -> Report:
    """Drive the application once.

    :raises StartupError: its lifespan start-up failed or takes too long, as it would when it is served.
    """
    app: Any = prepared.app
    if prepared.kind == "wsgi":
        return _wsgi(app)
    report = Report()
    asyncio.run(_asgi(app, settings, report))
    return report


def _wsgi(app: Any) -> Report:
    """In a thread, which is left behind when it is not done after PATIENCE: nothing can end it."""
    report = Report()
    thread = threading.Thread(target=converse_wsgi, args=(app, report), name="bridgeserve-check", daemon=True)
    thread.start()
    thread.join(conversation.PATIENCE)
    if not thread.is_alive():
        return report
    late = Report()
    late.told.append(f"GET / was not done after {conversation.PATIENCE:g} s")
    return late


async def _asgi(app: Any, settings: Settings, report: Report) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # what an application says there is no part of the report
    lifespan = Lifespan(app, settings.lifespan, settings.timeout_graceful)
    limit = settings.timeout_start
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(limit):
                    await stack.enter_async_context(lifespan)
            except TimeoutError:
                raise LifespanFailed(f"it was not done within --timeout-start ({limit:g} s)") from None
            await converse_asgi(app, lifespan.state, report)
    except LifespanFailed as failure:
        raise StartupError(f"the application's lifespan start-up failed: {failure}") from failure.__cause__
