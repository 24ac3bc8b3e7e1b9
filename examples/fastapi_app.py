"""A FastAPI app: models, a background task, streams and an upload.

bridgeserve --app-dir examples fastapi_app:app
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, Field

PIECE = 65536  # octets


class Item(BaseModel):
    """What is for sale."""

    name: str
    price: Annotated[float, Field(gt=0)]
    tags: list[str] = []


items: dict[int, Item] = {}
notices: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    """Fill the shop before the first request; the state goes to every request."""
    items[1] = Item(name="lamp", price=19.5)
    yield {"shop": "the corner shop"}
    items.clear()


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def index(request: Request) -> dict[str, object]:
    """What the lifespan left, and the client's port."""
    return {"shop": request.state.shop, "port": request.client.port if request.client else None}


@app.get("/old")
async def old() -> RedirectResponse:
    """Where the page was once."""
    return RedirectResponse("/")


@app.get("/items/{key}")
def read_item(key: int) -> Item:
    """One item, or 404; a plain function, so FastAPI calls it in a thread."""
    if key not in items:
        raise HTTPException(status_code=404, detail="Item not found")
    return items[key]


@app.put("/items/{key}")
async def write_item(key: int, item: Item) -> Item:
    """Store an item that pydantic has checked."""
    items[key] = item
    return item


def write_notice(text: str) -> None:
    """Runs after the response has gone."""
    notices.append(text)


@app.post("/notify/{name}", status_code=202)
async def notify(name: str, background_tasks: BackgroundTasks) -> dict[str, str]:
    """Answer now, write the notice afterwards."""
    background_tasks.add_task(write_notice, f"notice for {name}")
    return {"message": "accepted"}


@app.get("/notices")
async def read_notices() -> list[str]:
    """All notices."""
    return notices


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, object]:
    """Take a file from a form."""
    digest = hashlib.sha256()
    size = 0
    while piece := await file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest()}


@app.put("/digest")
async def take(request: Request) -> dict[str, object]:
    """Read the body as it arrives."""
    digest = hashlib.sha256()
    size = 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


@app.get("/download/{pieces}")
async def download(pieces: int) -> StreamingResponse:
    """Stream so many pieces of 64 KiB."""

    async def generate() -> AsyncIterator[bytes]:
        for number in range(pieces):
            yield number.to_bytes(8) * (PIECE // 8)

    return StreamingResponse(generate(), media_type="application/octet-stream")


@app.get("/lines")
async def lines() -> StreamingResponse:
    """Stream text, a line at a time."""

    async def generate() -> AsyncIterator[str]:
        for number in range(5):
            yield f"line {number}\n"

    return StreamingResponse(generate(), media_type="text/plain")


@app.get("/broken")
async def broken() -> None:
    """An error that nobody handles."""
    raise RuntimeError("a detail that no client may see")
