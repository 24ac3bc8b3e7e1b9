"""Django: a view that renders a template, with the middleware that sets Content-Length; WSGI and ASGI."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import path

from benchmarks.apps import content

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use",
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    USE_I18N=False,
    LOGGING_CONFIG=None,
)
django.setup()
_TEMPLATE = Engine().from_string(content.TEMPLATE)


def _page(request: HttpRequest, page: int) -> HttpResponse:
    title = f"Page {page}, {request.GET.get('detail', 'short')}"
    return HttpResponse(_TEMPLATE.render(Context({"title": title, "items": content.items()})))


def items(request: HttpRequest, page: int) -> HttpResponse:
    """A page of items, for WSGI."""
    return _page(request, page)


async def items_async(request: HttpRequest, page: int) -> HttpResponse:
    """The same for ASGI: a view that is no coroutine would be sent to a thread by Django."""
    return _page(request, page)


urlpatterns = [path("items/<int:page>", items), path("async/<int:page>", items_async)]
wsgi_app = get_wsgi_application()
asgi_app = get_asgi_application()
