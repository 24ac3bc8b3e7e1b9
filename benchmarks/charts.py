"""SVG charts of a run: bars of a workload's primary figure with their range, and points for latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES, Cells, Results, median
from benchmarks.report import primary, ranked

OURS, OTHERS, FLOOR = "#d1495b", "#8d99ae", "#cfd4dc"
_PERCENTILES = {"p50_ms": "o", "p99_ms": "s", "p999_ms": "^"}


def draw(results: Results, folder: Path) -> list[Path]:
    """One or two pictures for each workload that has figures; their paths. ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    # The same run gives the same files: no random ids, no date; text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "bridgeserve", "svg.fonttype": "none"})
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for workload, cells in results.items():
        names = ranked(workload, cells)
        if not names:
            continue
        written.append(_bars(workload, cells, names, folder / f"{workload}.svg"))
        if any(cells[name].values("p99_ms") for name in names):
            written.append(_latency(workload, cells, names, folder / f"{workload}-latency.svg"))
    return written


def _colour(name: str) -> str:
    if name == "floor":
        return FLOOR
    return OURS if name.startswith("bridgeserve") else OTHERS


def _figure(count: int) -> tuple[Any, Any]:
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(8.0, 1.1 + 0.28 * count), layout="constrained")


def _save(figure: Any, axes: Any, path: Path) -> Path:
    from matplotlib import pyplot

    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return path


def _bars(workload: str, cells: Cells, names: list[str], path: Path) -> Path:
    key = primary(workload)
    values = [cells[name].values(key) for name in names]
    middle = [median(value) for value in values]
    low = [found - min(value) for found, value in zip(middle, values, strict=True)]
    high = [max(value) - found for found, value in zip(middle, values, strict=True)]
    figure, axes = _figure(len(names))
    bars = axes.barh(names, middle, xerr=[low, high], color=[_colour(name) for name in names], ecolor="#444")
    axes.bar_label(bars, fmt=f"%.{FIGURES[key].digits}f", padding=4, fontsize=8)
    axes.set_xlabel(f"{FIGURES[key].title}, {'less' if FIGURES[key].less else 'more'} is better")
    axes.set_title(workload, loc="left")
    axes.margins(x=0.12)
    return _save(figure, axes, path)


def _latency(workload: str, cells: Cells, names: list[str], path: Path) -> Path:
    figure, axes = _figure(len(names))
    for key, marker in _PERCENTILES.items():
        shown = [name for name in names if cells[name].values(key)]
        points = [median(cells[name].values(key)) for name in shown]
        colours = [_colour(name) for name in shown]
        axes.scatter(points, shown, marker=marker, c=colours, label=FIGURES[key].title.removesuffix(" ms"))
    axes.set_xscale("log")
    axes.set_xlabel("latency in ms from the intended time, less is better")
    axes.set_title(f"{workload}: latency", loc="left")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
    return _save(figure, axes, path)
