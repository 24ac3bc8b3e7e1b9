"""Two accounts of the same requests: what the clients have seen, and what the server says in its logs."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

LEFT = "left"  # the client went away on purpose
CUT = "cut"  # the answer ended before its end, or never began
Outcome = int | str  # a status of a whole answer, or one of these
_REFUSED = re.compile(r"refused with (\d+): ")
_ID = re.compile(r"id=(\d+)")


@dataclass
class Clients:
    """By request: its kind and how it ended."""

    seen: dict[int, tuple[str, Outcome]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)  # outcomes that the kind does not permit
    _number: int = 0

    def number(self) -> int:
        """The id of a new request."""
        self._number += 1
        return self._number

    def note(self, request: int, kind: str, outcome: Outcome, permitted: tuple[Outcome, ...]) -> None:
        """A request has ended."""
        self.seen[request] = (kind, outcome)
        if outcome not in permitted:
            self.strange.append(f"{kind}: {outcome}, not one of {permitted}")

    def by_outcome(self) -> Counter[Outcome]:
        """How many ended how."""
        return Counter(outcome for _, outcome in self.seen.values())

    def by_kind(self) -> Counter[tuple[str, Outcome]]:
        """How many of which kind ended how."""
        return Counter(self.seen.values())


@dataclass
class Server:
    """Filled from the lines of its logs, as they come."""

    records: dict[int, tuple[int, bool]] = field(default_factory=dict)  # status, cut
    refused: Counter[int] = field(default_factory=Counter)  # by status
    faults: list[str] = field(default_factory=list)

    def access(self, line: str) -> None:
        """A line of the access log."""
        record = json.loads(line)
        found = _ID.search(record["query"] or "")
        if found is None:
            self.faults.append(f"a record of a request that nobody has sent: {line}")
            return
        request = int(found[1])
        if request in self.records:
            self.faults.append(f"request {request} has two records")
        self.records[request] = (record["status"], record["cut"])

    def log(self, line: str) -> None:
        """A line of the log."""
        if found := _REFUSED.search(line):
            self.refused[int(found[1])] += 1
        elif "were dropped" in line or "task of the server failed" in line or "Exception in" in line:
            self.faults.append(line)


def disagreements(clients: Clients, server: Server) -> list[str]:
    """What the two accounts do not agree upon; nothing when each request is accounted for."""
    found = [*clients.strange, *server.faults]
    refused: Counter[int] = Counter()
    for request, (kind, outcome) in clients.seen.items():
        record = server.records.get(request)
        if outcome == LEFT:
            if record is not None and record[1] and record[0] in (400, 408, 413):
                refused[record[0]] += 1
        elif outcome == CUT:
            if record is None or not record[1]:
                found.append(f"request {request} ({kind}) was cut for its client, and {record} for the server")
        elif record is None or record[1]:
            assert isinstance(outcome, int)
            refused[outcome] += 1  # a refusal before the request was one, or in the middle of its body
            if record is not None and record[0] != outcome:
                found.append(f"request {request} ({kind}): {outcome} for its client, {record} for the server")
        elif record[0] != outcome:
            found.append(f"request {request} ({kind}): {outcome} for its client, {record[0]} for the server")
    if refused != server.refused:
        found.append(f"refused by the clients' count {dict(refused)}, by the server's {dict(server.refused)}")
    unknown = server.records.keys() - clients.seen.keys()
    if unknown:
        found.append(f"{len(unknown)} records of requests that no client has sent")
    return found
