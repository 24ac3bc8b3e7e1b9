"""ASGI lifespan: start-up before the listeners open, shutdown after the last exchange."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Self

from bridgeserve.dispatch.asgi import AsgiApp, Message
from bridgeserve.dispatch.base import from_outside
from bridgeserve.dispatch.tasks import cancelled

_log = logging.getLogger("bridgeserve.error")


class LifespanFailed(Exception):
    """The application refused to start; its message, and its exception as the cause."""


class Lifespan:
    """An async context manager around the application's lifespan call.

    :param mode: "auto" (an application that does not know lifespan is served without), "on" (it must), "off".
    """

    def __init__(self, app: AsgiApp, mode: str, shutdown_timeout: float) -> None:
        self._app = app
        self._mode = mode
        self._shutdown_timeout = shutdown_timeout
        self._events: asyncio.Queue[Message] = asyncio.Queue(2)
        self._started: asyncio.Future[None]
        self._stopped: asyncio.Future[None]
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] | None = None

    async def __aenter__(self) -> Self:
        """Run the start-up; raises LifespanFailed."""
        if self._mode == "off":
            return self
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._stopped = loop.create_future()
        self.state = {}
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._run(), name="bridgeserve-lifespan")
        try:
            await asyncio.wait((self._task, self._started), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()  # nobody will leave what was not entered
            raise
        if not self._started.done():
            self._unsupported()
        else:
            try:
                self._started.result()
            except LifespanFailed as failure:
                await asyncio.wait((self._task,), timeout=self._shutdown_timeout)
                if self._task.done() and not self._task.cancelled() and self._task.exception() is not None:
                    raise failure from self._task.exception()
                self._task.cancel()
                raise
        return self

    def _unsupported(self) -> None:
        """The call ended before it said a word: not supported, or broken (ASGI specification, Lifespan)."""
        assert self._task is not None
        error = self._task.exception()
        self._task = None
        self.state = None
        if isinstance(error, LifespanFailed):
            raise error
        if self._mode == "on":
            raise LifespanFailed("the application does not support lifespan") from error
        if error is not None:
            _log.debug("the application raised at lifespan start-up and is served without it: %r", error)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._events.get, self._send)
        except Exception:
            raise
        except BaseException as error:
            # SystemExit and KeyboardInterrupt would end the loop from within a task; a CancelledError that nobody
            # asked for would look like a stop of ours.
            if cancelled(error) or from_outside(error):
                raise
            raise LifespanFailed(f"the application raised {type(error).__name__}") from error

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self._started.done():
            self._started.set_result(None)
        elif kind == "lifespan.startup.failed" and not self._started.done():
            self._started.set_exception(LifespanFailed(message.get("message") or "lifespan start-up failed"))
        elif kind == "lifespan.shutdown.complete" and self._started.done() and not self._stopped.done():
            self._stopped.set_result(None)
        elif kind == "lifespan.shutdown.failed" and self._started.done() and not self._stopped.done():
            _log.error("lifespan shutdown failed: %s", message.get("message", ""))
            self._stopped.set_result(None)
        else:
            raise RuntimeError(f"unexpected lifespan message {kind!r}")

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Run the shutdown, no longer than its timeout."""
        if self._task is None:
            return
        if not self._task.done():
            self._events.put_nowait({"type": "lifespan.shutdown"})
            ends = (self._task, self._stopped)
            await asyncio.wait(ends, timeout=self._shutdown_timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._stopped.done() and not self._task.done():
            # It has said its last word. Some wait for more messages then: that is no failure, but has no end.
            await asyncio.wait((self._task,), timeout=1.0)
        if not self._task.done():
            if not self._stopped.done():
                _log.error("lifespan shutdown took longer than %g s and is cancelled", self._shutdown_timeout)
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)
        elif not self._task.cancelled() and (error := self._task.exception()) is not None:
            _log.error("the application raised during its lifespan", exc_info=error)
