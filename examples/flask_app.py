"""A Flask app: sessions, a redirect, errors, uploaded files and streams.

bridgeserve --app-dir examples flask_app:app

EXAMPLE_FOLDER names the folder of the uploads; without it, a new temporary one is used.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, abort, redirect, request, send_from_directory, session, url_for
from werkzeug.utils import secure_filename
from werkzeug.wrappers import Response as AnyResponse

PIECE = 65536  # octets


def upload_folder() -> str:
    """The folder of the uploads."""
    path = os.environ.get("EXAMPLE_FOLDER")
    if path:
        return path
    folder = tempfile.TemporaryDirectory(prefix="flask-example-")
    atexit.register(folder.cleanup)
    return folder.name


app = Flask(__name__)
app.secret_key = os.environ.get("EXAMPLE_SECRET_KEY", "only for the example")
app.config["UPLOAD_FOLDER"] = upload_folder()


@app.get("/")
def index() -> str:
    """Who is logged in, as the session cookie says."""
    if "username" in session:
        return f"Logged in as {session['username']}\n"
    return "You are not logged in\n"


@app.post("/login")
def login() -> AnyResponse:
    """Remember the name of the form in the session."""
    session["username"] = request.form["username"]
    return redirect(url_for("index"))


@app.post("/logout")
def logout() -> AnyResponse:
    """Forget the name."""
    session.pop("username", None)
    return redirect(url_for("index"))


@app.get("/hello/<name>")
def hello(name: str) -> dict[str, object]:
    """A JSON answer from a path, a query and the client's address."""
    return {
        "name": name,
        "greeting": request.args.get("greeting", "Hello"),
        "port": request.environ["REMOTE_PORT"],
        "multithread": request.is_multithread,
    }


@app.get("/missing")
def missing() -> str:
    """404 by way of Flask's error handler."""
    abort(404)


@app.errorhandler(404)
def not_found(error: Exception) -> tuple[str, int]:
    """The page for everything that is not there."""
    return "Nothing here\n", 404


@app.get("/broken")
def broken() -> str:
    """An error that nobody handles."""
    raise RuntimeError("a detail that no client may see")


@app.post("/upload")
def upload() -> dict[str, object]:
    """Keep a file from a form."""
    file = request.files["file"]
    name = secure_filename(file.filename or "")
    if not name:
        abort(400)
    path = Path(app.config["UPLOAD_FOLDER"]) / name
    file.save(path)
    return {"name": name, "size": path.stat().st_size, "url": url_for("uploaded", name=name)}


@app.get("/uploads/<name>")
def uploaded(name: str) -> Response:
    """Send a file back, with ranges and conditions; the server sends it without reading it."""
    return send_from_directory(app.config["UPLOAD_FOLDER"], name)


@app.put("/digest")
def take() -> dict[str, object]:
    """Read the body as it is, piece by piece."""
    digest = hashlib.sha256()
    size = 0
    while piece := request.stream.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


@app.get("/download/<int:pieces>")
def download(pieces: int) -> Response:
    """Stream so many pieces of 64 KiB."""
    return Response(
        (number.to_bytes(8) * (PIECE // 8) for number in range(pieces)), mimetype="application/octet-stream"
    )


@app.get("/lines")
def lines() -> Response:
    """Stream text, a line at a time."""

    def generate() -> Iterator[str]:
        for number in range(5):
            yield f"line {number}\n"

    return Response(generate(), mimetype="text/plain")
