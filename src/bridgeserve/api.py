"""What a program calls: `Server`, `serve`, `run`. The package hands these names out (see `bridgeserve`)."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.abc import TaskStatus

from bridgeserve.net.listeners import Address
from bridgeserve.serve.main import main_loop
from bridgeserve.serve.process import hearing_again
from bridgeserve.serve.server import Server as _Server
from bridgeserve.serve.supervisor import Launch, supervise
from bridgeserve.sources import from_keywords, from_options


class Server(_Server):
    """Serve `app` inside a running asyncio loop, as an async context manager. Signals are left alone.

    :param app: an application object, or its name such as "module:attribute".
    :param options: the options of the command line, with underscores.
    :raises ConfigError: for an option that does not exist or a value that is not allowed.
    """

    def __init__(self, app: object, **options: Any) -> None:
        super().__init__(app, from_options(**options))


def run(app: object, **options: Any) -> int:
    """Serve `app` until a signal says stop; returns the exit code (0, 1, 3 or 4).

    A name is served by workers, as on the command line; an object in this process, which HUP cannot reload.
    """
    sourced = from_keywords(options)
    if not isinstance(app, str):
        return main_loop(app, sourced.settings, sourced.binds_given)
    launch = Launch(app=app, settings=sourced.settings, binds_given=sourced.binds_given)
    with hearing_again():
        return supervise(launch, lambda: launch)


async def serve(
    app: object, *, task_status: TaskStatus[list[Address]] = anyio.TASK_STATUS_IGNORED, **options: Any
) -> None:
    """Serve `app` until cancelled, then stop gracefully; `task_status` gets the bound addresses once ready."""
    async with Server(app, **options) as server:
        task_status.started(server.addresses)
        await anyio.sleep_forever()
