"""The command: `python -m benchmarks run|quick|list|report|flame|overload`."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks import flame as flames
from benchmarks import overload
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Results, has_histogram
from benchmarks.loads import wrk
from benchmarks.machine import commit, machine, versions
from benchmarks.measure import choose, measure, steps
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.report import Run, markdown, new_run, put_into_page
from benchmarks.report import load as load_run
from benchmarks.servers import SERVERS
from benchmarks.targets import quick_choice
from benchmarks.workloads import WORKLOADS

SEEDS = 2**32


@click.group()
def main() -> None:
    """Measure bridgeserve beside other servers."""


def tell(text: str) -> None:
    """Remarks go to stderr: stdout is the report."""
    click.echo(text, err=True)


def picked(words: str, names: Iterable[str], what: str) -> list[str]:
    """Names by a list of patterns with commas between, in the order of the table; "-" in front leaves out."""
    known = list(names)
    chosen: dict[str, None] = {}
    for word in filter(None, (word.strip() for word in words.split(","))):
        pattern = word.removeprefix("-")
        found = fnmatch.filter(known, "*" if pattern == "all" else pattern)
        if not found:
            raise click.BadParameter(f"no {what} {pattern!r}; there are {', '.join(known)}")
        if word.startswith("-"):
            chosen = dict.fromkeys(name for name in chosen or known if name not in found)
        else:
            chosen.update(dict.fromkeys(found))
    return [name for name in known if name in chosen]


def outputs(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say where results go."""
    for option in (
        click.option(
            "--json", "json_file", type=click.Path(path_type=Path), help="Write everything that was measured."
        ),
        click.option("--markdown", "markdown_file", type=click.Path(path_type=Path), help="Write the report."),
        click.option("--charts", type=click.Path(path_type=Path), metavar="DIR", help="Write SVG charts into it."),
        click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put the report between its marks."),
    ):
        function = option(function)
    return function


def write(run: Run, json_file: Path | None, markdown_file: Path | None, charts: Path | None, page: Path | None) -> None:
    """Write what was asked for."""
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(run.data(), indent=1) + "\n", encoding="utf-8")
    if charts is not None:
        from benchmarks.charts import draw

        draw(run.results, charts)
    for path in filter(None, (markdown_file, page)):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = _seen_from(path, charts) if charts is not None else ""
        text = markdown(run, folder)
        if path == page:
            text = put_into_page(path.read_text(encoding="utf-8"), text)
        path.write_text(text, encoding="utf-8")


def _seen_from(page: Path, folder: Path) -> str:
    return Path(os.path.relpath(folder.resolve(), page.resolve().parent)).as_posix()


def execute(choice: dict[str, list[str]], plan: Plan, seed: int | None, json_file: Path | None) -> Run:
    """Measure with a progress bar. The JSON is written after each workload, so that an interrupted run is not lost."""
    if plan.load == "auto":
        plan = dataclasses.replace(plan, load="wrk" if wrk.installed() else "client")
    if not wrk.installed():
        tell(wrk.HOW_TO_GET_IT)
    if not has_histogram():
        tell("hdrhistogram is not installed: percentiles are taken from the sorted latencies.")
    run = new_run(machine(), versions(), commit(), plan, random.randrange(SEEDS) if seed is None else seed)
    if run.machine["cores"] < 2:
        tell("There is one core only: server and load share it.")
    shown: dict[str, Any] = {"file": sys.stderr, "show_pos": True, "item_show_func": lambda text: text or ""}
    with click.progressbar(length=steps(choice, plan), **shown) as bar:

        def keep(results: Results) -> None:
            run.results = results
            write(run, json_file, None, None, None)

        measure(choice, plan, run.seed, lambda text: bar.update(1, text), keep)
    return run


@main.command("run")
@click.option("--servers", default="all", show_default=True, help="Names or patterns, with commas; -NAME leaves out.")
@click.option("--workloads", default="all", show_default=True, help="The same for workloads.")
@click.option("--rounds", type=click.IntRange(1, 100), help=f"Rounds.  [default: {FULL.rounds}]")
@click.option("--seconds", type=click.FloatRange(0.1, 120), help=f"Of each load.  [default: {FULL.seconds:g}]")
@click.option("--megabytes", type=click.IntRange(1, 1000), help=f"Of a transfer.  [default: {FULL.megabytes}]")
@click.option("--idle", type=click.IntRange(1, 20000), help=f"Idle connections.  [default: {FULL.idle}]")
@click.option("--quick", is_flag=True, help="The sizes of the quick profile.")
@click.option("--seed", type=int, help="Of the order of the servers.")
@click.option("--load", type=click.Choice(["auto", "wrk", "client"]), default="auto", help="For loads without pause.")
@outputs
def run_command(
    servers: str,
    workloads: str,
    rounds: int | None,
    seconds: float | None,
    megabytes: int | None,
    idle: int | None,
    quick: bool,
    seed: int | None,
    load: str,
    **where: Path | None,
) -> None:
    """Measure, and print the report on stdout."""
    given = {"rounds": rounds, "seconds": seconds, "megabytes": megabytes, "idle": idle}
    sizes = {name: value for name, value in given.items() if value is not None}
    plan = dataclasses.replace(QUICK if quick else FULL, load=load, **sizes)
    choice = choose(picked(servers, SERVERS, "server"), picked(workloads, WORKLOADS, "workload"))
    finish(execute(choice, plan, seed, where["json_file"]), where)


@main.command("quick")
@click.option("--seed", type=int, help="Of the order of the servers.")
@outputs
def quick_command(seed: int | None, **where: Path | None) -> None:
    """Measure what the targets are about, in less than three minutes."""
    started = time.monotonic()
    run = execute(quick_choice(), dataclasses.replace(QUICK, load="auto"), seed, where["json_file"])
    finish(run, where)
    tell(f"{time.monotonic() - started:.0f} s. A quick run is a hint; a busy machine moves it.")


def finish(run: Run, where: dict[str, Path | None]) -> None:
    """Write and print. Raises SystemExit(1) when nothing at all could be measured."""
    write(run, **where)
    click.echo(markdown(run), nl=False)
    if not any(cell.rounds for cells in run.results.values() for cell in cells.values()):
        raise SystemExit(1)


@main.command("list")
def list_command() -> None:
    """Show servers, what they lack, and workloads."""
    for server in SERVERS.values():
        lacks = server.missing()
        state = f"not installed: {', '.join(lacks)}" if lacks else server.version()
        click.echo(f"{server.name:26} {server.interface:5} {state}")
    click.echo()
    for workload in WORKLOADS.values():
        click.echo(f"{workload.name:26} {workload.what}")
    click.echo()
    click.echo("wrk is installed." if wrk.installed() else wrk.HOW_TO_GET_IT)


@main.command("report")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@outputs
def report_command(files: tuple[Path, ...], **where: Path | None) -> None:
    """Make the report again from JSON; of several files, later ones replace workloads of earlier ones."""
    run = load_run(files)
    write(run, **where)
    click.echo(markdown(run), nl=False)


@main.command("flame")
@click.option("--mode", type=click.Choice(list(flames.MODES)), required=True)
@click.option("--workload", type=click.Choice(list(WORKLOADS)), default="hello", show_default=True)
@click.option("--seconds", type=click.IntRange(1, 120), default=10, show_default=True)
@click.option("--native", is_flag=True, help="Show C functions too.")
@click.option("--out", type=click.Path(path_type=Path), help="[default: benchmarks/results/flame-MODE.svg]")
def flame_command(mode: str, workload: str, seconds: int, native: bool, out: Path | None) -> None:
    """Write a flame graph of a mode under load."""
    path = out or Path("benchmarks", "results", f"flame-{mode}.svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    flames.record(mode, workload, seconds, native, path)
    click.echo(path)


@main.command("overload")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 120), default=10, show_default=True, help="Of each load.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put the table between its marks.")
def overload_command(rounds: int, seconds: float, page: Path | None) -> None:
    """Send three times what our modes can do, and show what became of it."""
    found = {}
    for mode in overload.MODES:
        tell(mode)
        found[mode] = overload.rounds(mode, rounds, seconds)
    text = overload.table(found)
    click.echo(text)
    if page is not None:
        marked = put_into_page(page.read_text(encoding="utf-8"), text, overload.PAGE_MARKS)
        page.write_text(marked, encoding="utf-8")


def command() -> None:
    """Run the command; our own errors are one message and exit code 1."""
    try:
        main(prog_name="python -m benchmarks")
    except BenchmarkError as error:
        tell(str(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    command()
