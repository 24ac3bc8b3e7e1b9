"""The tables themselves: enough cases, each with its own name and the place of its text."""

from __future__ import annotations

import re
from collections import Counter

from conformance.http1.tables import TOPICS

SECTION = re.compile(r"(?:9110|9112|9113|9293|3986|6265|6585) (?:appendix [A-Z](?:\.\d+)*|\d+(?:\.\d+)*)")


def test_there_are_enough_cases() -> None:
    assert sum(map(len, TOPICS.values())) >= 200


def test_names_are_unique_within_a_topic() -> None:
    for topic, cases in TOPICS.items():
        assert [name for name, count in Counter(case.name for case in cases).items() if count > 1] == [], topic


def test_every_case_cites_its_text() -> None:
    for cases in TOPICS.values():
        for case in cases:
            assert SECTION.fullmatch(case.section), case
            assert case.why, case
