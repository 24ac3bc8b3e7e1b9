"""docs/conformance.md: the table of scores, and every case in which bridgeserve stands against the majority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.case import Case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
TOP = Path(__file__).resolve().parent / "page-top.md"
WEBSOCKET = Path(__file__).resolve().parent / "page-websocket.md"  # written by tests/autobahn/run.py
Name = tuple[str, str, bool]  # the server, its version, whether it is bridgeserve


@dataclass(frozen=True)
class Result:
    """One case on one server.

    :param passed: the text permits it; `exact`: it is what bridgeserve is meant to do.
    :param seen: requests that reached the app.
    """

    case: Case
    passed: bool
    exact: bool
    statuses: tuple[int, ...]
    end: str
    seen: int

    @property
    def told(self) -> str:
        """Such as "200 and 400"; what a reader of the page wants to know."""
        finals = [str(status) for status in self.statuses]
        if self.end.startswith("garbage"):
            return "no HTTP"
        if not finals:
            return "silence" if self.end == "silent" else "a close"
        return " and ".join(finals) if len(finals) <= 3 else f"{len(finals)} answers"

    @property
    def does(self) -> str:
        """What two servers must share to be of one mind: served, refused, or nothing said, and what the app saw."""
        if self.end.startswith("garbage"):
            return "garbage"
        kind = ["served" if status < 400 else "refused" for status in self.statuses if status >= 200]
        return f"{kind} {self.seen}" if kind else "no answer"


def cite(section: str) -> str:
    """ "9112 3.2" as RFC 9112 3.2."""
    number, _, rest = section.partition(" ")
    return f"RFC {number} {rest}"


def write_page(results: Mapping[Name, Mapping[str, list[Result]]]) -> None:
    """Write the page."""
    PAGE.write_text(
        "\n".join([TOP.read_text(encoding="utf-8"), *_scores(results), *_against(results), *_faults(results), ""]),
        encoding="utf-8",
    )
    put_websocket()


def put_websocket() -> None:
    """Put the section on WebSocket at the end of the page, in the place of the one that is there."""
    page = PAGE.read_text(encoding="utf-8").partition("\n## WebSocket\n")[0]
    PAGE.write_text(page.rstrip("\n") + "\n\n" + WEBSOCKET.read_text(encoding="utf-8"), encoding="utf-8")


def _scores(results: Mapping[Name, Mapping[str, list[Result]]]) -> list[str]:
    topics = list(next(iter(results.values())))
    sizes = {topic: len(next(iter(results.values()))[topic]) for topic in topics}
    lines = ["## Scores", "", "Cases that are passed, by topic; in the first row how many there are.", ""]
    lines.append(f"| server | all | {' | '.join(topics)} |")
    lines.append("|---|" + "---|" * (len(topics) + 1))
    lines.append(f"| *cases* | *{sum(sizes.values())}* | {' | '.join(f'*{sizes[topic]}*' for topic in topics)} |")
    for (name, version, ours), own in results.items():
        counts = [sum(result.passed for result in own[topic]) for topic in topics]
        total = sum(counts)
        title = f"**{name}**" if ours else f"{name} {version}"
        shown = f"**{total}**" if total == sum(sizes.values()) else str(total)
        lines.append(f"| {title} | {shown} | {' | '.join(map(str, counts))} |")
    return [*lines, ""]


def _against(results: Mapping[Name, Mapping[str, list[Result]]]) -> list[str]:
    """Cases in which more than half of the peers are of another mind than bridgeserve, all of one mind or not."""
    peers = [own for (_, _, ours), own in results.items() if not ours]
    first = next((own for (_, _, ours), own in results.items() if ours), None)
    lines = ["## Against the majority", ""]
    if first is None or not peers:
        return [*lines, "Nothing was compared.", ""]
    lines += [
        "Every case in which more than half of the peers do something else, and the text that decides.",
        "A text with MUST or SHOULD binds; one with MAY leaves the choice, and then the strict reading is taken.",
        "",
        "| topic | case | bridgeserve | peers | the text |",
        "|---|---|---|---|---|",
    ]
    for topic, own in first.items():
        for place, mine in enumerate(own):
            others = [peer[topic][place] for peer in peers]
            differ = [other for other in others if other.does != mine.does]
            if len(differ) * 2 <= len(others):
                continue
            told = Counter(other.told for other in differ).most_common(3)
            shown = ", ".join(f"{word} ({count})" for word, count in told)
            why = mine.case.why.replace("|", "\\|")
            lines.append(f"| {topic} | {mine.case.name} | {mine.told} | {shown} | {cite(mine.case.section)}: {why} |")
    return [*lines, ""]


def _faults(results: Mapping[Name, Mapping[str, list[Result]]]) -> list[str]:
    lines = ["## What bridgeserve does not pass", ""]
    found = [
        f"- {name}: {topic}, {result.case.name}: {result.told}; {cite(result.case.section)}: {result.case.why}"
        for (name, _, ours), own in results.items()
        if ours
        for topic, cases in own.items()
        for result in cases
        if not result.passed
    ]
    return [*lines, *(found or ["Nothing that is known."]), ""]
