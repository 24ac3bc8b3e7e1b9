"""What the engine knows of a connection, as octets: a child builds its environ from the raw head and from these.

Made once for an endpoint and read once: nearly all requests of a connection bring the same octets.
"""

from __future__ import annotations

import json

from bridgeserve.dispatch.base import Endpoint

_NOTHING = "-"  # no root path is this one
_KNOWN: dict[bytes, Endpoint] = {}
_KNOWN_MAX = 256


def pack_endpoint(endpoint: Endpoint) -> bytes:
    """The octets; kept with the endpoint. No part can hold a NUL: addresses, a path, JSON, and what was checked."""
    client = ("", "") if endpoint.client is None else (endpoint.client[0], str(endpoint.client[1]))
    name, port = endpoint.server or ("", None)
    parts = (
        endpoint.scheme,
        *client,
        name,
        "" if port is None else str(port),
        _NOTHING if endpoint.root is None else endpoint.root,
        (endpoint.host or b"").decode("latin-1"),
        json.dumps(endpoint.ssl) if endpoint.ssl else "",
    )
    endpoint.facts = "\0".join(parts).encode("utf-8", "surrogateescape")
    return endpoint.facts


def read_endpoint(facts: bytes) -> Endpoint:
    """What `pack_endpoint` has written. One that was read lately is given again, with what was made of it."""
    known = _KNOWN.get(facts)
    if known is not None:
        return known
    scheme, host, port, name, number, root, asked, variables = facts.decode("utf-8", "surrogateescape").split("\0")
    endpoint = Endpoint(
        scheme, (host, int(port)) if port else None, (name, int(number) if number else None) if name else None
    )
    endpoint.root = None if root == _NOTHING else root
    endpoint.host = asked.encode("latin-1") or None
    endpoint.ssl = json.loads(variables) if variables else None
    if len(_KNOWN) >= _KNOWN_MAX:
        _KNOWN.clear()
    _KNOWN[facts] = endpoint
    return endpoint
