"""HTTP/1.1 by RFC 9110 and RFC 9112: each case in each mode, for each kind of app and reader, and on both loops."""

from __future__ import annotations

import pytest

from conformance.case import Case
from conformance.check import check
from conformance.conftest import Servers
from conformance.http1.tables import TOPICS
from conformance.servers import ALL, PLAIN, Combination

CASES = [pytest.param(case, id=f"{topic}: {case.name}") for topic, cases in TOPICS.items() for case in cases]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("combination", [*ALL, *PLAIN], ids=lambda combination: combination.name)
def test_http1(servers: Servers, combination: Combination, case: Case) -> None:
    check(*servers(f"mirror_{combination.kind}:application", combination), case)
