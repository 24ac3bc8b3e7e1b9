"""The app of tests/e2e/test_asgi_frameworks.py with Django, and Channels for the WebSocket."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import django
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(DEBUG=False, SECRET_KEY="-", ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, MIDDLEWARE=[])
django.setup()
notices: list[str] = []


class Echo(AsyncWebsocketConsumer):
    """Echo; "bye" closes."""

    async def connect(self) -> None:
        if parse_qs(self.scope["query_string"]).get(b"key") == [b"wrong"]:
            await self.close()
            return
        await self.accept("chat" if "chat" in self.scope["subprotocols"] else None)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "bye":
            await self.close(4001, "as you say")
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code: int) -> None:
        notices.append(f"left with {code}")


async def events(request: HttpRequest) -> StreamingHttpResponse:
    """Server-sent events."""

    async def tell() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"

    return StreamingHttpResponse(tell(), content_type="text/event-stream")


async def upload(request: HttpRequest) -> JsonResponse:
    """Read a body in pieces; Django has put it into a file of its own."""
    digest, size = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        size += len(piece)
    return JsonResponse({"size": size, "digest": digest.hexdigest()})


def file(request: HttpRequest) -> FileResponse:
    """This file."""
    return FileResponse(open(__file__, "rb"))


async def notify(request: HttpRequest) -> HttpResponse:
    """Answer from a thread."""
    await sync_to_async(notices.append)("notified")
    return HttpResponse(status=202)


async def tell_notices(request: HttpRequest) -> JsonResponse:
    """What happened."""
    return JsonResponse(notices, safe=False)


urlpatterns = [
    path("events", events),
    path("upload", upload),
    path("file", file),
    path("notify", notify),
    path("notices", tell_notices),
]
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AllowedHostsOriginValidator(URLRouter([path("ws", Echo.as_asgi())])),
    }
)
