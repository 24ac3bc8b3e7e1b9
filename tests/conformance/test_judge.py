"""The judge itself: what it must find, and what it must let pass."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.case import BAD, WAITS, Answer, Case, Outcome, Seen, answered, refused, served
from conformance.client import Got, Observed
from conformance.judge import differences, passes


def got(status: int = 200, *fields: tuple[str, str], minor: int = 1, whole: bool = True, body: bytes = b"") -> Got:
    """An answer."""
    return Got(minor, status, "", list(fields), "length", body, whole)


def record(path: str = "/a", **more: Any) -> dict[str, Any]:
    """What the app wrote down."""
    known = {"method": "GET", "raw": path, "query": "", "version": "1.1", "body": "", "fields": {}, "port": 1}
    return {**known, "path": path, **more}


CLOSE = ("connection", "close")
ONE = served(Seen(path="/a"))


@pytest.mark.parametrize(
    ("outcome", "observed", "records", "found"),
    [
        (ONE, Observed([got()], "open"), [record()], 0),
        (ONE, Observed([got()], "closed"), [record()], 1),
        (ONE, Observed([got(204)], "open"), [record()], 1),
        (ONE, Observed([got()], "open"), [record("/b")], 1),
        (ONE, Observed([got()], "open"), [], 1),
        (ONE, Observed([got()], "open"), [record(), record()], 1),
        (ONE, Observed([got(whole=False)], "closed"), [record()], 2),
        (ONE, Observed([got()], "garbage: x"), [record()], 1),
        (ONE, Observed([], "silent"), [], 3),
        (refused(400), Observed([got(400)], "closed"), [], 0),
        (refused(400), Observed([got(400)], "reset"), [], 0),
        (refused(400), Observed([got(400)], "open"), [], 1),
        (refused(400), Observed([got(400), got()], "closed"), [record()], 2),
        (WAITS, Observed([], "silent"), [], 0),
        (WAITS, Observed([], "silent"), [record()], 1),
        (served(Seen(fields={"x": "a,b"})), Observed([got()], "open"), [record(fields={"x": "a, b"})], 0),
        (served(Seen(fields={"x": None})), Observed([got()], "open"), [record(fields={"x": ""})], 1),
        (answered(Answer(200, without=("te",))), Observed([got(200, ("te", "x"))], "open"), [], 1),
        (answered(Answer(200, fields={"te": None})), Observed([got(200)], "open"), [], 1),
        (answered(Answer(200, fields={"te": "x"})), Observed([got(200, ("te", "x"), ("te", "x"))], "open"), [], 1),
        (answered(Answer(200, body=b"a")), Observed([got(body=b"b")], "open"), [], 1),
        (answered(Answer(200, framing="chunked")), Observed([got()], "open"), [], 1),
        (Outcome((Answer(200),), cut=True), Observed([got()], "closed"), [], 1),
    ],
)
def test_differences(outcome: Outcome, observed: Observed, records: list[dict[str, Any]], found: int) -> None:
    assert len(differences(outcome, observed, records)) == found


def test_answers_of_the_mirror_come_in_its_order() -> None:
    json = ("content-type", "application/json")
    answers = [got(200, json, body=b'{"path": "/b"}'), got(200, json, body=b'{"path": "/a"}')]
    assert differences(served(Seen(), Seen()), Observed(answers, "open"), [record("/a"), record("/b")])
    assert not differences(served(Seen(), Seen()), Observed(answers, "open"), [record("/b"), record("/a")])


@pytest.mark.parametrize(
    ("observed", "records", "passed"),
    [
        (Observed([got(), got()], "open"), [record(), record()], True),
        (Observed([got(200, CLOSE)], "closed"), [record()], True),
        (Observed([got(200, minor=0)], "closed"), [record()], True),
        (Observed([got(200)], "closed"), [record()], False),
        (Observed([got(200, CLOSE)], "closed"), [record(), record()], False),
        (Observed([got(200, CLOSE, whole=False)], "closed"), [record()], False),
        (Observed([got(400)], "open"), [], True),
        (Observed([], "closed"), [], True),
        (Observed([], "silent"), [], False),
    ],
)
def test_a_peer_may_do_what_the_text_permits(observed: Observed, records: list[dict[str, Any]], passed: bool) -> None:
    """Two requests that bridgeserve serves; a refusal is allowed too, and so is an announced close."""
    case = Case("", "", "", b"", served(Seen(), Seen()), BAD)
    assert passes(case, observed, records) is passed
