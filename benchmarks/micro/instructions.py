"""Count the instructions of a request in the wire under valgrind: `python -m benchmarks.micro.instructions`.

A figure that a busy machine does not move, the same to the per mille in every run with the same Python: the hash seed
is fixed, and so are the counts. Each part runs twice with different numbers of turns, and the difference is taken, so
that the start of the interpreter drops out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from benchmarks.errors import BenchmarkError
from benchmarks.micro.cases import CASES, COUNTED
from benchmarks.processes import ROOT
from benchmarks.report import table

TURNS = (1024, 3072)
SECONDS = 300
HOW_TO_GET_IT = "valgrind is not installed: apt-get install valgrind"


def parse(text: str) -> int:
    """The instructions in callgrind's last words. Raises BenchmarkError."""
    match = re.search(r"^==\d+== Collected : (\d+)", text, re.M)
    if match is None:
        raise BenchmarkError(f"callgrind gave no count: {text[-300:].strip()}")
    return int(match[1])


def environment() -> dict[str, str]:
    """The same in each run: what else is in ours would change hashes and the size of the stack."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return {"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def collected(case: str, turns: int) -> int:
    """Instructions of a whole process that does a part so many times. Raises BenchmarkError."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "benchmarks.micro.instructions", "turn", case, str(turns)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{case} did not end in {SECONDS} s under valgrind") from None
    if done.returncode:
        raise BenchmarkError(f"{case} failed under valgrind: {done.stderr[-500:].strip()}")
    return parse(done.stderr)


def per_turn(few: int, many: int, turns: tuple[int, int] = TURNS) -> float:
    """Instructions of one turn from the counts of two runs."""
    return (many - few) / (turns[1] - turns[0])


def counted(case: str) -> float:
    """Instructions of a part."""
    few, many = (collected(case, turns) for turns in TURNS)
    return per_turn(few, many)


@click.group(invoke_without_command=True)
@click.option("--cases", default=",".join(COUNTED), show_default=True, help="Names with commas.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the counts.")
@click.option("--compare", type=click.Path(path_type=Path, exists=True), help="Counts of another run, for the change.")
@click.pass_context
def main(context: click.Context, cases: str, json_file: Path | None, compare: Path | None) -> None:
    """Print instructions per request for each part."""
    if context.invoked_subcommand is not None:
        return
    if shutil.which("valgrind") is None:
        raise click.ClickException(HOW_TO_GET_IT)
    names = cases.split(",")
    if unknown := set(names) - set(COUNTED):
        raise click.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(COUNTED)}")
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        found = dict(zip(names, pool.map(counted, names), strict=True))
    earlier = json.loads(compare.read_text()) if compare is not None else {}
    rows = [[name, f"{value:,.0f}", _change(value, earlier.get(name))] for name, value in found.items()]
    click.echo(table(["part", "instructions", "change"], rows))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _change(value: float, earlier: float | None) -> str:
    return "-" if not earlier else f"{(value / earlier - 1) * 1000:+.1f} ‰"


@main.command("turn", hidden=True)
@click.argument("case", type=click.Choice(COUNTED))
@click.argument("turns", type=click.IntRange(1, 1_000_000))
def turn_command(case: str, turns: int) -> None:
    """(under valgrind) Do a part so many times."""
    CASES[case](turns)


if __name__ == "__main__":
    try:
        main(prog_name="python -m benchmarks.micro.instructions")
    except BenchmarkError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
