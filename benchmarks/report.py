"""A run as data for JSON, and as Markdown: a table for each workload, what failed, and the targets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.figures import FIGURES, Cell, Cells, Results, median, ratios, spread
from benchmarks.plan import Plan
from benchmarks.servers import SERVERS
from benchmarks.targets import verdicts
from benchmarks.workloads import WORKLOADS

# The figure that a workload's table is sorted by and its chart shows.
PRIMARY = {"download": "cpu_us_mb", "upload": "cpu_us_mb", "file": "cpu_us_mb"}
PRIMARY |= {"mixed": "p99_ms", "idle": "kib", "ws-idle": "kib", "start": "start_ms"}
PAGE_MARKS = ("<!-- figures -->", "<!-- /figures -->")


@dataclass
class Run:
    """A run with all that belongs to it."""

    machine: dict[str, Any]
    versions: dict[str, str | None]
    commit: str
    plan: dict[str, Any]
    seed: int
    results: Results

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "commit": self.commit,
            "plan": self.plan,
            "seed": self.seed,
            "results": {
                workload: {name: _cell_data(cell) for name, cell in cells.items()}
                for workload, cells in self.results.items()
            },
            "targets": [
                {**asdict(found.target), "ratios": found.ratios, "verdict": found.text.strip("*")}
                for found in verdicts(self.results)
            ],
        }


def _cell_data(cell: Cell) -> dict[str, Any]:
    medians = {name: round(median(cell.values(name)), 4) for name in FIGURES if cell.values(name)}
    rounds = [{name: round(value, 4) for name, value in one.items()} for one in cell.rounds]
    return {"median": medians, "rounds": rounds, "error": cell.error}


def new_run(machine: dict[str, Any], versions: dict[str, str | None], commit: str, plan: Plan, seed: int) -> Run:
    """A run without results yet."""
    return Run(machine, versions, commit, asdict(plan), seed, {})


def load(paths: Sequence[Path]) -> Run:
    """A run from JSON files, the workloads of later ones in place of earlier ones. Raises BenchmarkError."""
    found: Run | None = None
    for path in paths:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            results = {
                workload: {name: Cell(cell["rounds"], cell["error"]) for name, cell in cells.items()}
                for workload, cells in data.pop("results").items()
            }
            data.pop("targets")
            earlier = found.results if found else {}
            found = Run(**data, results={**earlier, **results})
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"{path} holds no run: {error!r}") from None
    if found is None:
        raise BenchmarkError("no file")
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers, set to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def primary(workload: str) -> str:
    """The figure that counts most there."""
    return PRIMARY.get(WORKLOADS[workload].kind, "cpu_us")


def ranked(workload: str, cells: Cells) -> list[str]:
    """The servers that were measured, the best first."""
    figure = primary(workload)
    found = [name for name, cell in cells.items() if cell.rounds and not cell.error and cell.values(figure)]
    return sorted(found, key=lambda name: median(cells[name].values(figure)), reverse=not FIGURES[figure].less)


def workload_table(workload: str, cells: Cells, load: str = "client") -> str:
    """All figures of a workload, median and range over the rounds; for `hello` the ratio to the floor too."""
    names = ranked(workload, cells)
    columns = [figure for figure in FIGURES if any(cells[name].values(figure) for name in names)]
    columns.sort(key=lambda figure: figure != primary(workload))
    floor = "floor" in names
    header = ["server", *(FIGURES[figure].title for figure in columns), *(["times the floor"] if floor else [])]
    rows = []
    for name in names:
        values = [cells[name].values(figure) for figure in columns]
        row = [spread(value, FIGURES[key].digits) if value else "-" for key, value in zip(columns, values, strict=True)]
        if floor:
            # The budgets were set for the Python client: under wrk the floor takes many requests at a time.
            budget = SERVERS[name].budget if load == "client" else None
            row.append(_floor_ratio(cells, name, primary(workload), budget))
        rows.append([f"**{name}**" if name.startswith("bridgeserve") else _label(name), *row])
    return table(header, rows) if rows else "Nothing was measured."


def _label(name: str) -> str:
    return f"{name} (a connection per request)" if SERVERS[name].closes else name


def _floor_ratio(cells: Cells, name: str, figure: str, budget: float | None) -> str:
    # ratios() divides the peer by the base; here the base is the floor.
    found = ratios(cells, figure, [name], "floor")
    return "-" if not found else f"{median(found):.2f}" + (f" (at most {budget})" if budget else "")


def failures(cells: Cells) -> list[str]:
    """A line for each server that failed; of what it said when it did not start, the last line."""
    return [f"- {name}: {_short(cell.error)}" for name, cell in cells.items() if cell.error]


def _short(error: str) -> str:
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    told = lines[0]
    if told.startswith("did not start"):
        told = f"{told} ({lines[-1]})" if len(lines) > 1 else told
    return told[:300].replace("|", "\\|")


def targets_table(results: Results) -> str:
    """Ratios of the peers to bridgeserve against what was aimed at."""
    rows = []
    for found in verdicts(results):
        target = found.target
        what = f"{target.workload}, {FIGURES[target.figure].title}"
        ratio = spread(found.ratios, 2) if found.ratios else "-"
        rows.append([target.ours, " / ".join(target.peers), what, ratio, f"{target.least:g}", found.text])
    return table(["bridgeserve", "beside", "figure", "peer ÷ ours", "at least", ""], rows)


def described(run: Run) -> str:
    """Machine, versions and commit in a few lines."""
    about, plan = run.machine, run.plan
    installed = ", ".join(f"{name} {found}" for name, found in run.versions.items() if found)
    absent = ", ".join(name for name, found in run.versions.items() if not found)
    lines = [
        f"{about['processor'] or about['architecture']}, {about['cores']} cores, {about['system']}, {about['python']}.",
        f"Commit {run.commit or 'unknown'}, {about['time']}.",
        f"{plan['rounds']} rounds, seed {run.seed}, load by {plan['load']} for {plan['seconds']:g} s, "
        f"transfers of {plan['megabytes']} MiB, {plan['idle']:,} idle connections.",
        f"Versions: {installed}.",
    ]
    return "  \n".join([*lines, *([f"Not installed: {absent}."] if absent else [])])


def markdown(run: Run, charts: str = "") -> str:
    """The whole report. `charts`: the folder of the pictures as seen from the page, "" for none."""
    parts = [described(run)]
    for workload, cells in run.results.items():
        parts += [f"### {workload}", f"{WORKLOADS[workload].what[:1].upper()}{WORKLOADS[workload].what[1:]}."]
        if charts and ranked(workload, cells):
            parts.append(f"![{workload}]({charts}/{workload}.svg)")
        parts.append(workload_table(workload, cells, run.plan["load"]))
        if failed := failures(cells):
            parts.append("Not measured:\n\n" + "\n".join(failed))
    parts += ["### Targets", targets_table(run.results)]
    return "\n\n".join(parts) + "\n"


def put_into_page(page: str, text: str, marks: tuple[str, str] = PAGE_MARKS) -> str:
    """The page with the text between its marks. Raises BenchmarkError for a page without them."""
    first, last = marks
    if page.count(first) != 1 or page.count(last) != 1:
        raise BenchmarkError(f"the page has to hold {first} and {last} once each")
    return re.sub(f"{first}.*?{last}", lambda _: f"{first}\n\n{text.strip()}\n\n{last}", page, flags=re.S)
