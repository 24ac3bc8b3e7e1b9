"""`--check`: the conversation of `serve.conversation` around an application that was loaded."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from bridgeserve.dispatch.lifespan import Lifespan, LifespanFailed
from bridgeserve.serve.application import Prepared, StartupError
from bridgeserve.serve.conversation import Report, converse_asgi, converse_wsgi
from bridgeserve.settings import Settings


def converse(prepared: Prepared, settings: Settings) -> Report:
    """Drive the application once.

    :raises StartupError: its lifespan start-up failed, as it would when it is served.
    """
    report = Report()
    app: Any = prepared.app
    if prepared.kind == "wsgi":
        converse_wsgi(app, report)
    else:
        asyncio.run(_asgi(app, settings, report))
    return report


async def _asgi(app: Any, settings: Settings, report: Report) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # what an application says there is no part of the report
    lifespan = Lifespan(app, settings.lifespan, settings.timeout_graceful)
    try:
        async with lifespan:
            await converse_asgi(app, lifespan.state, report)
    except LifespanFailed as failure:
        raise StartupError(f"the application's lifespan start-up failed: {failure}") from failure.__cause__
