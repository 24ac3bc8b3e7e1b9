"""The verdict on a case: what came against what was expected, as a list of differences."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.case import Answer, Case, Outcome, Seen
from conformance.client import Got, Observed

Record = dict[str, Any]


class Journal:
    """The file into which the mirror apps write each request that they have read whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        path.touch()

    def all(self) -> list[Record]:
        """All records but those of probes."""
        records = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        return [record for record in records if record["path"] != "/probe"]

    def news(self, port: int | None) -> list[Record]:
        """The records since the last call that came from our port, or (None) from any."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        records = [json.loads(line) for line in text.splitlines()]
        return [record for record in records if port in (record["port"], None) and record["path"] != "/probe"]


def differences(outcome: Outcome, observed: Observed, records: list[Record]) -> list[str]:
    """What came and was not expected; empty: it is the outcome."""
    found = _answers(outcome, observed)
    if len(records) != len(outcome.seen):
        found.append(f"the app saw {len(records)} requests, not {len(outcome.seen)}: {records}")
    for number, (seen, record) in enumerate(zip(outcome.seen, records, strict=False)):
        found += [f"request {number}: {line}" for line in _seen(seen, record)]
    if not found:
        found += _in_order(observed, records)
    if observed.end.startswith("garbage"):
        found.append(observed.end)
    elif outcome.stays is not None and (observed.end == "open") is not outcome.stays:
        found.append(f"the connection is {observed.end}, not {'open' if outcome.stays else 'closed'}")
    elif observed.end == "silent" and not outcome.waits and not (observed.answers and observed.answers[-1].closes):
        found.append("no answer, and the connection is open")
    return found


def _answers(outcome: Outcome, observed: Observed) -> list[str]:
    statuses = [answer.status for answer in observed.answers]
    if statuses != [answer.status for answer in outcome.answers]:
        return [f"answers {statuses}, not {[answer.status for answer in outcome.answers]}"]
    found = []
    for number, (answer, got) in enumerate(zip(outcome.answers, observed.answers, strict=True)):
        found += [f"answer {number}: {line}" for line in _answer(answer, got)]
    if observed.answers and outcome.cut is observed.answers[-1].whole:
        found.append(f"the last answer is {'whole' if outcome.cut else 'cut'}")
    return found


def _answer(answer: Answer, got: Got) -> list[str]:
    found = []
    if answer.framing is not None and got.framing != answer.framing:
        found.append(f"framing {got.framing}, not {answer.framing}")
    if answer.body is not None and got.body != answer.body:
        found.append(f"body {got.body[:300]!r}, not {answer.body[:300]!r}")
    if answer.reason is not None and got.reason != answer.reason:
        found.append(f"reason {got.reason!r}, not {answer.reason!r}")
    for name, value in answer.fields.items():
        given = got.values(name)
        if name == "connection":
            given = [option.lower() for option in given]
        if not given if value is None else given != [value]:
            found.append(f"{name}: {given}, not {value!r}")
    found += [f"{name} is there: {got.values(name)}" for name in answer.without if got.values(name)]
    return found


def _seen(seen: Seen, record: Record) -> list[str]:
    found = []
    for name in ("method", "path", "raw", "query", "version", "body"):
        wanted = getattr(seen, name)
        if wanted is not None and record[name] != wanted:
            found.append(f"{name} {record[name]!r}, not {wanted!r}")
    fields: Mapping[str, str] = record["fields"]
    for name, value in seen.fields.items():
        if re.sub(", *", ",", fields.get(name, "\0")) != re.sub(", *", ",", "\0" if value is None else value):
            found.append(f"{name}: {fields.get(name)!r}, not {value!r}")
    return found


def _in_order(observed: Observed, records: list[Record]) -> list[str]:
    """Answers of the mirror come in the order of its requests."""
    told = [
        json.loads(got.body)["path"]
        for got in observed.answers
        if "application/json" in got.values("content-type") and got.body
    ]
    known = [record["path"] for record in records]
    return [] if told == [path for path in known if path in told] else [f"answers {told} for requests {known}"]


def announced(case: Case, observed: Observed, records: list[Record]) -> bool:
    """True where a server kept to the text up to a close that it announced (RFC 9112 section 9.6)."""
    answers = observed.answers
    kept = [got for got in answers if got.status >= 200]
    if not kept or len(kept) > len(case.expect.answers) or observed.end not in ("closed", "reset", "silent"):
        return False
    if not (kept[-1].closes and kept[-1].whole):
        return False
    count = len(kept)
    interim = len(answers) - count
    part = Outcome(case.expect.answers[: count + interim], case.expect.seen[:count], stays=None)
    return differences(part, observed, records) == []


def passes(case: Case, observed: Observed, records: list[Record]) -> bool:
    """True when a peer did what the text permits."""
    if any(not differences(outcome, observed, records) for outcome in (case.expect, *case.allow)):
        return True
    return bool(case.expect.stays) and announced(case, observed, records)
