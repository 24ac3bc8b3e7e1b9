"""A background task that ends only when a later request lets it."""

from __future__ import annotations

import asyncio

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
release = asyncio.Event()
state = {"done": False}


async def task() -> None:
    await release.wait()
    state["done"] = True


@app.post("/begin")
async def begin(background_tasks: BackgroundTasks) -> dict[str, str]:
    background_tasks.add_task(task)
    return {"message": "begun"}


@app.post("/release")
async def let_go() -> None:
    release.set()


@app.get("/state")
async def read_state() -> dict[str, bool]:
    return state
