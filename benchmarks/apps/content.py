"""What the apps of both interfaces answer, and the work that they do for it: the same octets, the same loops."""

from __future__ import annotations

import json
import os
from typing import Any

JSON = "application/json"
OCTETS = "application/octet-stream"

BODY = b'{"id": 42, "name": "a small answer", "ok": true}'
PIECE = bytes(range(256)) * 256  # 64 KiB
FILE_VARIABLE = "BENCHMARK_FILE"  # names the file of the workload `file` to the server's process

SLOW_PATH = "/slow"
SLOW_SECONDS = 1.0
WAIT_SECONDS = 0.05
NAP_SECONDS = 0.02
# About 5 ms on a server core of the early 2020s. A fixed amount of work: a loop that watches the clock would do
# less of it the more threads take turns.
CPU_LOOPS = 55_000

ORDER = {
    "customer": {"id": 90210, "name": "Example Ltd", "city": "Graz", "vat": "ATU00000000"},
    "lines": [
        {"sku": f"SKU-{number:05}", "text": f"Part number {number}, galvanised", "count": number, "price": 3.5 * number}
        for number in range(1, 25)
    ],
}
ORDER_BODY = json.dumps(ORDER).encode()


def total(body: bytes) -> bytes:
    """The answer to an order: its lines with their sums, about as long as the order."""
    order = json.loads(body)
    lines = [{**line, "price": line["count"] * line["price"]} for line in order["lines"]]
    return json.dumps({"customer": order["customer"], "lines": lines}).encode()


def counted(size: int) -> bytes:
    """The answer to an upload of so many octets."""
    return json.dumps({"size": size}).encode()


def compute() -> bytes:
    """Some milliseconds of plain Python."""
    state = 1
    for _ in range(CPU_LOOPS):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
    return b"%010d" % state


def megabytes(query: str | bytes) -> int:
    """The number in a query `mb=N`, at most 1,000."""
    text = query.decode() if isinstance(query, bytes) else query
    return min(int(text.partition("=")[2]), 1000)


def pieces(query: str | bytes) -> int:
    """How many pieces make so many MiB."""
    return megabytes(query) * 2**20 // len(PIECE)


def file_name() -> str:
    """The file to send; KeyError where the harness did not name one."""
    return os.environ[FILE_VARIABLE]


def items(count: int = 20) -> list[dict[str, Any]]:
    """Rows for a template or for JSON."""
    return [{"id": number, "name": f"Item <{number}>", "price": number * 1.25} for number in range(count)]


TEMPLATE = """<!doctype html>
<html><head><title>{{ title }}</title></head><body>
<h1>{{ title }}</h1>
<table>{% for item in items %}
<tr><td>{{ item.id }}</td><td>{{ item.name }}</td><td>{{ item.price }}</td></tr>{% endfor %}
</table></body></html>
"""
