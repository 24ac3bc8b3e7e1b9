"""HTTP/1.1 by RFC 9110 and RFC 9112: each case in each mode, for each kind of app, with each reader."""

from __future__ import annotations

import pytest

from conformance.case import END, Case
from conformance.check import check
from conformance.conftest import Servers
from conformance.http1.tables import TOPICS
from conformance.servers import ALL, Combination

CASES = [pytest.param(case, id=f"{topic}: {case.name}") for topic, cases in TOPICS.items() for case in cases]


# Known and not mended: modes in which a request that waits for its turn, however shortly, is dropped when its client
# ends its side of the connection, for this looks like a client that has left (dispatch/waiting.py).
DROP_AT_HALF_CLOSE = ("threads", "processes")


@pytest.fixture(autouse=True)
def known(request: pytest.FixtureRequest, combination: Combination, case: Case) -> None:
    """A case that is known to fail may; whether it does is a race."""
    if combination.mode in DROP_AT_HALF_CLOSE and END in case.steps:
        reason = "a request that waits for its turn is dropped at a half-close"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=False))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("combination", ALL, ids=lambda combination: combination.name)
def test_http1(servers: Servers, combination: Combination, case: Case) -> None:
    check(*servers(f"mirror_{combination.kind}:application", combination), case)
