"""FastAPI: a view that checks its parameters and answers JSON by a model."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.apps import content

app = FastAPI()


class Item(BaseModel):
    """One row."""

    id: int
    name: str
    price: float


class Page(BaseModel):
    """What is answered."""

    title: str
    items: list[Item]


@app.get("/items/{page}")
async def items(page: int, detail: str = "short") -> Page:
    """A page of items."""
    return Page(title=f"Page {page}, {detail}", items=[Item(**item) for item in content.items()])
