"""A Django project in one file: its ORM on SQLite, a form of JSON, and an uploaded file.

bridgeserve --app-dir examples django_app:application

EXAMPLE_DATABASE names the database file; without it, a new one in a temporary folder is used.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile
from collections.abc import Iterator

import django
from django.conf import settings

PIECE = 65536  # octets


def database_path() -> str:
    """The file of the database."""
    path = os.environ.get("EXAMPLE_DATABASE")
    if path:
        return path
    folder = tempfile.TemporaryDirectory(prefix="django-example-")
    atexit.register(folder.cleanup)
    return os.path.join(folder.name, "db.sqlite3")


settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database_path()}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"django": {"handlers": ["console"], "level": "ERROR"}},
    },
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("EXAMPLE_SECRET_KEY", "only for the example"),
    USE_TZ=True,
)
django.setup()

# Models and views can be imported only after the settings are there.
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.shortcuts import get_object_or_404, redirect  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.http import require_GET, require_http_methods, require_POST  # noqa: E402


class Note(models.Model):
    """A line of text with its time."""

    text = models.CharField(max_length=200)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "example"


class Upload(models.Model):
    """What is remembered of an uploaded file."""

    name = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()

    class Meta:
        app_label = "example"


def create_tables() -> None:
    """Create the tables that are not there yet; a project of several files has migrations for it."""
    known = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in (Note, Upload):
            if model._meta.db_table not in known:
                editor.create_model(model)
    connection.close()


@require_http_methods(["GET", "POST"])
def notes(request: HttpRequest) -> HttpResponse:
    """List the notes, or add one from a JSON body."""
    if request.method == "POST":
        note = Note.objects.create(text=json.loads(request.body)["text"])
        return redirect("note", note.pk)
    rows = Note.objects.order_by("pk").values("id", "text")
    return JsonResponse({"notes": list(rows)})


@require_GET
def one_note(request: HttpRequest, key: int) -> JsonResponse:
    """One note, or 404."""
    note = get_object_or_404(Note, pk=key)
    return JsonResponse({"id": note.pk, "text": note.text, "port": request.META["REMOTE_PORT"]})


@require_POST
def upload(request: HttpRequest) -> JsonResponse:
    """Store the name and the size of an uploaded file."""
    file = request.FILES["file"]
    size = sum(len(piece) for piece in file.chunks())
    stored = Upload.objects.create(name=file.name, size=size)
    return JsonResponse({"id": stored.pk, "name": stored.name, "size": stored.size}, status=201)


@require_GET
def uploads(request: HttpRequest) -> JsonResponse:
    """All uploads, as the database has them."""
    return JsonResponse({"uploads": list(Upload.objects.order_by("pk").values("id", "name", "size"))})


@require_http_methods(["PUT"])
def take(request: HttpRequest) -> JsonResponse:
    """Read the body as it is, piece by piece."""
    size = 0
    while piece := request.read(PIECE):
        size += len(piece)
    return JsonResponse({"size": size})


@require_GET
def download(request: HttpRequest, pieces: int) -> StreamingHttpResponse:
    """Stream so many pieces of 64 KiB."""

    def generate() -> Iterator[bytes]:
        for number in range(pieces):
            yield number.to_bytes(8) * (PIECE // 8)

    return StreamingHttpResponse(generate(), content_type="application/octet-stream")


@require_GET
def broken(request: HttpRequest) -> HttpResponse:
    """An error that nobody handles."""
    raise RuntimeError("a detail that no client may see")


urlpatterns = [
    path("notes", notes, name="notes"),
    path("notes/<int:key>", one_note, name="note"),
    path("upload", upload),
    path("uploads", uploads),
    path("digest", take),
    path("download/<int:pieces>", download),
    path("broken", broken),
]

create_tables()
application = get_wsgi_application()
