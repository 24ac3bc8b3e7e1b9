"""Flask: a view that renders a template."""

from __future__ import annotations

from flask import Flask, render_template, request
from jinja2 import DictLoader

from benchmarks.apps import content

app = Flask(__name__)
# By a loader and not from a string: only the former is compiled once.
app.jinja_loader = DictLoader({"page.html": content.TEMPLATE})


@app.get("/items/<int:page>")
def items(page: int) -> str:
    """A page of items. The query is read, as views do."""
    title = f"Page {page}, {request.args.get('detail', 'short')}"
    return render_template("page.html", title=title, items=content.items())
