"""All tables of HTTP/1.1 by topic, in the order of the page."""

from __future__ import annotations

from conformance.case import Case
from conformance.http1 import (
    chunks,
    closing,
    coding,
    connection,
    expect,
    fields,
    host,
    length,
    methods,
    pipelining,
    request_line,
    responses,
    targets,
    trailers,
    versions,
)

TOPICS: dict[str, list[Case]] = {
    "Request line": request_line.CASES,
    "Targets": targets.CASES,
    "Methods": methods.CASES,
    "Host": host.CASES,
    "Versions": versions.CASES,
    "Fields": fields.CASES,
    "Content-Length": length.CASES,
    "Transfer-Encoding": coding.CASES,
    "Chunks": chunks.CASES,
    "Trailers": trailers.CASES,
    "Expect": expect.CASES,
    "Connection": connection.CASES,
    "Pipelining": pipelining.CASES,
    "Closing": closing.CASES,
    "Responses": responses.CASES,
}
